#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# Instructions of each stage for a packet may not grow unseen: see tests/perf/README.md.
set -euo pipefail
exec /usr/bin/python3 "$INSULA_ROOT/tests/perf/instructions.py"
