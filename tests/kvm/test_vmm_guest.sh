#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 120
# The test guest in insula-vmm on this host's /dev/kvm: see vmm_guest.py.
cd "$(dirname "$0")" || exit 1
[ -e /dev/kvm ] || { echo "/dev/kvm"; exit 77; }
exec /usr/bin/python3 vmm_guest.py
