#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 180
# long-timeout: 3000
# See vmm_hostile.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/vmm_hostile.py" "$@"
