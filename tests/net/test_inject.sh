#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 240
# long-timeout: 14400
# See inject.py, which runs in a sandbox. INSULA_SEED repeats a sample.
set -euo pipefail
here=$(dirname "$0")
library=$(realpath "${INSULA_BUILD:-$here/../../build}")/tests/net/libfault.so
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/inject.py" "$library" \
	"${INSULA_SEED:-}"
