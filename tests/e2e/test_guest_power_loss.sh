#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 600
# long-timeout: 7200
# See guest_power_loss.py.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
exec /usr/bin/python3 guest_power_loss.py "$INSULA_BUILD/tests/e2e/libno_fsync.so"
