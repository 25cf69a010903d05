#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 180
# See vmm_interop.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
if ! command -v dpdk-testpmd >/dev/null; then
	echo "dpdk-testpmd is missing: apt-get install dpdk-dev"
	exit 77
fi
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/vmm_interop.py" "$@"
