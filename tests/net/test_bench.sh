#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 240
# dev bench: the form of its JSON, by one quick figure; see bench_json.py.
set -euo pipefail
exec /usr/bin/python3 "$INSULA_ROOT/tests/net/bench_json.py"
