#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 180
# Stock QEMU: see linux_guest.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$0")

skip()
{
	echo "$1"
	exit 77
}

command -v qemu-system-x86_64 >/dev/null ||
	skip "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
busybox --list 2>/dev/null | grep -x insmod >/dev/null ||
	skip "busybox with insmod is missing: apt-get install busybox-static"
kernel=$("$here/../lib/guest_kernel.sh") || skip "$kernel"
exec /usr/bin/python3 "$here/../lib/sandbox.py" \
	/usr/bin/python3 "$here/linux_guest.py" "$kernel"
