#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 120
# build: build build-asan
# See snat.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$0")
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/snat.py"
