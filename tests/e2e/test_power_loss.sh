#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 900
# long-timeout: 7200
# See power_loss.py.
set -euo pipefail
cd "$(dirname "$0")"
export INSULA_BUILD=${INSULA_BUILD:-$(realpath ../../build)}
lacks=$(PYTHONPATH=../lib /usr/bin/python3 -c 'import outer; print(outer.lacks())')
[ -z "$lacks" ] || { echo "$lacks"; exit 77; }
kernel=$(../lib/guest_kernel.sh outer) || { echo "$kernel"; exit 77; }
exec /usr/bin/python3 power_loss.py "$INSULA_BUILD/tests/e2e/libno_fsync.so"
