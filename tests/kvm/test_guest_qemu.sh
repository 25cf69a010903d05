#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 120
# The test guest drives QEMU's own virtio devices: see guest_qemu.py.
cd "$(dirname "$0")" || exit 1
exec unshare --net /usr/bin/python3 guest_qemu.py \
	"$(realpath "${INSULA_BUILD:-../../build}")/tests/kvm/guest/insula-test-guest"
