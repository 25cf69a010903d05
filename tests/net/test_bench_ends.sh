#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 180
# dev bench, however it ends: see bench_ends.py.
set -euo pipefail
exec /usr/bin/python3 "$INSULA_ROOT/tests/net/bench_ends.py"
