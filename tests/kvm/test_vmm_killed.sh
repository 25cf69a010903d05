#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 120
# long-timeout: 7200
# See vmm_killed.py.
set -euo pipefail
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
exec /usr/bin/python3 "$(dirname "$(readlink -f "$0")")/vmm_killed.py" "$@"
