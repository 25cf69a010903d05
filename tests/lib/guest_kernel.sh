#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Debian's stock cloud kernel for guests: fetched with apt, unpacked under the build folder, never
# installed. Prints the folder (boot/vmlinuz-*, lib/modules/*); fetched once. Exit status 1 with a
# reason when it cannot be had. Called by the tests of kind e2e.
set -euo pipefail
build=$(realpath "${INSULA_BUILD:-$(dirname "$0")/../../build}")
folder=$build/guest-kernel

name_of()
{
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

fetch()
{
	local name
	name=$(name_of)
	[ -n "$name" ] && apt-get download "$name" >fetch.log 2>&1
}

if [ ! -e "$folder/done" ]; then
	rm -rf "$folder"
	mkdir -p "$folder"
	cd "$folder"
	if ! fetch && ! { apt-get update >fetch.log 2>&1 && fetch; }; then
		echo "no guest kernel: apt-get download linux-image-cloud-amd64's kernel failed"
		exit 1
	fi
	dpkg-deb -x linux-image-*.deb .
	rm linux-image-*.deb
	touch "done"
fi
echo "$folder"
