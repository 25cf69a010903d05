#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# `dev demo`: installs what is missing, builds, and hands over to demo.py. Debian's own python3,
# whatever else is on the PATH.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
	cat <<'END'
usage: sudo ./dev demo [--json FILE] [--keep] [--policy FILE] [--apply FILE] [--build DIR]
       sudo ./dev demo --enter [COMMAND...]
       sudo ./dev demo --stop

Applies tests/demo.yaml to a switch of its own: two tenants with the same addresses, two instances
each, one uplink into a namespace that plays the internet. Prints the leases, who reaches whom
beside what the policy says, TCP throughput beside the kernel bridge's, and transfers through SNAT.
All of it lives in namespaces of its own; links, addresses, routes, nft rules, sysctls, mounts,
processes and /etc/resolv.conf are compared before and after. Exit status 0 only if everything was
as the policy says.

  --json FILE     write what was observed to FILE (shape: tests/demo/README.md)
  --keep          leave it running; print how to look around and how to stop it
  --enter [CMD]   run CMD (default: a shell) inside the demo that --keep left
  --stop          stop the demo that runs, or remove what a killed one left
  --policy FILE   another file than tests/demo.yaml
  --apply FILE    apply FILE, but expect what --policy says (tests use it to see the demo fail)
  --build DIR     use the programs of DIR, as they are (default: build/, built first)

example: sudo ./dev demo --json out.json
END
}

# Whether --json can be written, before minutes of building and probing.
check_json() {
	local why=
	if [ -d "$1" ]; then
		why="is a directory"
	elif [ -e "$1" ]; then
		[ -w "$1" ] || why="is not writable"
	elif [ ! -d "$(dirname "$1")" ]; then
		why="there is no directory $(dirname "$1")"
	elif [ ! -w "$(dirname "$1")" ]; then
		why="the directory is not writable"
	fi
	[ -z "$why" ] || {
		echo "dev demo: --json $1: $why; name a file that can be written" >&2
		exit 2
	}
}

# What --policy and --apply name; what is in it, demo.py says.
check_file() {
	[ -f "$2" ] && [ -r "$2" ] && return
	echo "dev demo: $1 $2: no file that can be read; name one like tests/demo.yaml" >&2
	exit 2
}

build=1 control=0 before=
for word in "$@"; do
	case "$before" in
	--json) check_json "$word" ;;
	--policy | --apply) check_file "$before" "$word" ;;
	esac
	before=$word
	case "$word" in
	-h | --help)
		usage
		exit 0
		;;
	--enter)
		build=0 control=1
		break
		;;
	--stop) build=0 control=1 ;;
	--build | --build=*) build=0 ;;
	--json=*) check_json "${word#*=}" ;;
	--policy=* | --apply=*) check_file "${word%%=*}" "${word#*=}" ;;
	esac
done
if [ "$(id -u)" != 0 ]; then
	echo "the demo needs root: sudo ./dev demo" >&2
	exit 1
fi

# The lock (tests/demo/lock.py says how it works), before the build: that is not to be disturbed
# either.
lock=/run/insula-demo
until [ "$control" = 1 ]; do
	mkdir -p "$lock"
	exec 9<"$lock" || continue
	if ! flock --nonblock 9; then
		echo "a demo is already running: let it end, or sudo ./dev demo --stop" >&2
		exit 1
	fi
	[ ! "$lock" -ef /proc/self/fd/9 ] || break
done
if [ "$build" = 1 ]; then
	trap 'rmdir "$lock"' EXIT # not after the exec below
	"$root/dev" deps demo 9<&-
	/usr/bin/python3 "$root/tests/demo/demo.py" --check "$@" 9<&- # before minutes of building
	[ -x "$root/build/control/insula" ] ||
		echo "building (a minute or two the first time) ..."
	"$root/dev" build --quiet 9<&-
fi
exec /usr/bin/python3 "$root/tests/demo/demo.py" "$@"
