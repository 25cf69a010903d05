#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev bench: checks its arguments, then measures in a sandbox of its own (outside.py, bench.py).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

usage()
{
	cat <<-'EOT'
		usage: sudo ./dev bench [NAME...] [--quick] [--json FILE]
		       sudo ./dev bench --where [--functions]

		Measures Insula, against peers in the same run where the figure is a ratio. A NAME
		is a figure or a dotted prefix of some; without NAME, all of them.
		  --quick      fewer rounds (3 instead of 5)
		  --list       name the figures
		  --json FILE  {"ratios": {name: {"median", "min", "max"}},
		                "values": {name: number}, "samples": {name: [number]},
		                "host": {...}}
		  --where      the switch's cycles for a frame, by source file or function
		How each is measured, and why that is fair: tests/perf/README.md
		Example: sudo ./dev bench tap.tcp --quick --json out.json
	EOT
}

for arg in "$@"; do
	case $arg in
	-h | --help)
		usage
		exit 0
		;;
	esac
done
measure=$here/bench.py
if [ "${1-}" = --where ]; then
	measure=$here/where.py
	shift
fi
/usr/bin/python3 "$measure" --check "$@"
case " $* " in *" --list "*) exit 0 ;; esac
if [ "$(id -u)" -ne 0 ]; then
	echo "dev bench: needs root for network namespaces: sudo ./dev bench" >&2
	exit 1
fi
exec /usr/bin/python3 "$here/outside.py" /usr/bin/python3 "$measure" "$@"
