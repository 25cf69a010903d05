#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 60
# See vmm_limits.py. It measures time: nothing beside it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
exec /usr/bin/python3 "$here/vmm_limits.py" "$@"
