#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 60
# See vmm_vsock.py.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
exec /usr/bin/python3 "$here/vmm_vsock.py" "$@"
