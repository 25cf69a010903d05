#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 600
# See instances.py and instances_inside.py.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
kernel=$(../lib/guest_kernel.sh guest) || { echo "$kernel"; exit 77; }
exec /usr/bin/python3 instances.py "$kernel"
