#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev format: clang-format over all C of the tree.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

case ${1:-} in
-h | --help)
	echo "usage: ./dev format"
	echo
	echo "Rewrites every .c and .h file as .clang-format wants it. Example: ./dev format"
	exit 0
	;;
esac
tests/lib/deps.sh lint
find vmm vswitch vlan dhcp control tests pcap-fixtures -name '*.[ch]' -print0 2>/dev/null |
	xargs -0 -r clang-format -i
