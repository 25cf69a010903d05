#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev fuzz: runs one libFuzzer target. First every input kept of it (corpus and crashes), then new
# ones for some seconds. The corpus in the tree is only read; what is found goes to build-fuzz/.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

usage()
{
	cat <<-'EOF'
		usage: ./dev fuzz TARGET SECONDS
		       ./dev fuzz --list

		Replays tests/fuzz/corpus/NAME and tests/fuzz/crashes/NAME (TARGET is fuzz_NAME),
		then looks for new inputs. A crashing input is left in build-fuzz/crashes/; keep it
		in tests/fuzz/crashes/NAME when it is mended. Example: ./dev fuzz fuzz_dhcp4 60
	EOF
}

targets()
{
	find build-fuzz/tests/fuzz -maxdepth 1 -type f -perm -u+x -name 'fuzz_*' -printf '%f\n' |
		sort
}

fuzz()
{
	local target=$1 seconds=$2 name=${1#fuzz_} found crashes kept=()
	found=build-fuzz/found/$name
	crashes=build-fuzz/crashes/
	mkdir -p "$found" "$crashes"
	for dir in tests/fuzz/corpus/$name tests/fuzz/crashes/$name; do
		[ ! -d "$dir" ] || kept+=("$dir")
	done
	"build-fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-error_exitcode=1 -timeout_exitcode=1 -print_final_stats=1 \
		-artifact_prefix="$crashes" "$found" "${kept[@]}"
}

main()
{
	case ${1:-} in
	-h | --help)
		usage
		return 0
		;;
	--list)
		tests/lib/build.sh --quiet --fuzz
		targets | grep . || echo "there is no fuzz target yet" >&2
		return 0
		;;
	esac
	if [ $# -ne 2 ] || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
		usage >&2
		return 2
	fi
	if [ ! -x "build-fuzz/tests/fuzz/$1" ]; then
		tests/lib/build.sh --quiet --fuzz
	fi
	if ! targets | grep -qxF "$1"; then
		echo "dev fuzz: no target '$1'; it is one of: $(targets | tr '\n' ' ')" >&2
		return 2
	fi
	fuzz "$1" "$2"
}

main "$@"
