#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm: --version prints the project's version, anything it does not know is refused.
# Run by meson: test_vmm_version.sh INSULA_VMM VERSION MAN_PAGE.
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
# Its manual page, the third argument, has exactly the options of --help.
told=$("$1" --help | grep -o -- '--[a-z-]*' | sort -u)
written=$(sed -n 's/^\.It Fl Fl \([a-z-]*\).*/--\1/p' "$3" | sort -u)
[ "$told" = "$written" ] || {
	echo "$3 and --help differ: $told / $written"
	exit 1
}
