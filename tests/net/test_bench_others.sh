#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 120
# What dev bench takes for others' time: see bench_others.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$0")
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/bench_others.py"
