#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
# See vmm_interop_ovs.py, which runs in a sandbox. Half a minute, most of it the start of Open
# vSwitch, three times: without --long, test_vmm_interop.sh has the same machines on DPDK's own
# back end.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ -n "${INSULA_TEST_LONG:-}" ] || { echo "takes half a minute: dev test kvm --long"; exit 77; }
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
if [ ! -x /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk ]; then
	echo "Open vSwitch with DPDK is missing: apt-get install openvswitch-switch-dpdk"
	exit 77
fi
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/vmm_interop_ovs.py" "$@"
