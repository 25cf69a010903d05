#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 2700
# `insula image build debian-12`, and an instance of it booted to its user data in the outer
# machine: see image_build.py. Packages come from this host's mirror. Minutes, so with --long only:
# tests/unit/test_cli.py has the command, ../kvm/test_image.sh what becomes of an image.
set -euo pipefail
cd "$(dirname "$0")"
[ -n "${INSULA_TEST_LONG:-}" ] || { echo "takes ten minutes: dev test e2e --long"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "needs root: sudo dev test e2e --long"; exit 77; }
for program in mmdebstrap mke2fs qemu-storage-daemon; do
	command -v "$program" >/dev/null ||
		{ echo "$program is missing: sudo ./dev deps test"; exit 77; }
done
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
exec /usr/bin/python3 image_build.py
