#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 300
# insula-vmm, in the outer machine: see vmm_linux.py and linux_guest.py. Two minutes that the others
# leave no room for: without --long, ../kvm/test_vmm_net.sh carries frames through the same rings,
# and test_vmm_boot.sh boots the same kernel.
set -euo pipefail
cd "$(dirname "$0")"
[ -n "${INSULA_TEST_LONG:-}" ] || { echo "takes two minutes: dev test e2e --long"; exit 77; }
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
kernel=$(../lib/guest_kernel.sh guest) || { echo "$kernel"; exit 77; }
exec /usr/bin/python3 vmm_linux.py "$kernel"
