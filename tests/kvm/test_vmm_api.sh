#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 60
# insula-vmm's API: see vmm_api.py.
cd "$(dirname "$0")" || exit 1
[ -r /dev/kvm ] || { echo "/dev/kvm is missing: modprobe kvm-amd or kvm-intel"; exit 77; }
build=$(realpath "${INSULA_BUILD:-../../build}")
exec /usr/bin/python3 vmm_api.py "$build/vmm/insula-vmm" "$build/tests/kvm/guest/insula-test-guest"
