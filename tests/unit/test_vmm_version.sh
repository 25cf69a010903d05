#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm: --version prints the project's version, anything it does not know is refused.
# Run by meson: test_vmm_version.sh INSULA_VMM VERSION.
set -eu
[ "$("$1" --version)" = "insula-vmm $2" ]
"$1" --help | grep -q '^usage: '
"$1" --help | grep -q '^Example: insula-vmm '
status=0
"$1" --no-such-option 2>/dev/null || status=$?
[ "$status" -eq 2 ]
status=0
"$1" 2>/dev/null || status=$?
[ "$status" -eq 2 ]
