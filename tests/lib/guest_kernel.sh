#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Debian's stock kernel, the cloud one for guests or, with the argument "outer", the whole one for
# the outer machine: fetched with apt, unpacked under the build folder, never installed. Prints
# the folder (boot/vmlinuz-*, lib/modules/*); fetched once. Exit status 1 with a reason when it
# cannot be had. Called by the tests of kind e2e.
set -euo pipefail
build=$(realpath "${INSULA_BUILD:-$(dirname "$0")/../../build}")
case ${1:-guest} in
guest) package=linux-image-cloud-amd64 ;;
outer) package=linux-image-amd64 ;;
*) exit 2 ;;
esac
folder=$build/${1:-guest}-kernel

name_of()
{
	apt-cache depends "$package" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

fetch()
{
	local name
	name=$(name_of)
	[ -n "$name" ] && apt-get download "$name" >fetch.log 2>&1
}

exec 9>"$build/${1:-guest}-kernel.lock"
flock 9 # several tests may want it at once
if [ ! -e "$folder/done" ]; then
	rm -rf "$folder"
	mkdir -p "$folder"
	cd "$folder"
	if ! fetch && ! { apt-get update >fetch.log 2>&1 && fetch; }; then
		echo "no guest kernel: apt-get download of $package's kernel failed"
		exit 1
	fi
	dpkg-deb -x linux-image-*.deb .
	rm linux-image-*.deb
	depmod -b . "$(basename lib/modules/*)"
	touch "done"
fi
echo "$folder"
