#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev build: configures and builds one of the build folders. Installs what is missing first.
# --quiet says only what went wrong.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

usage()
{
	cat <<-'EOF'
		usage: ./dev build [--sanitize|--tsan|--fuzz|--afl|--coverage] [--quiet]

		Builds into build/, or with a sanitizer:
		  --sanitize   build-asan/, AddressSanitizer and UndefinedBehaviorSanitizer
		  --tsan       build-tsan/, ThreadSanitizer: only the unit tests that start threads
		  --fuzz       build-fuzz/, only the fuzz targets, for libFuzzer (clang)
		  --afl        build-afl/, the same for AFL++ (afl-clang-fast)
		  --coverage   build-cov/, the same without a fuzzer, counting lines (clang)
		Example: ./dev build --sanitize
	EOF
}

# What configuring depends on: the options, and which sources there are (meson takes those that
# exist and does not notice a new one).
stamp_of()
{
	{
		echo "$@"
		find vmm vswitch vlan dhcp control tests \( -name '*.[ch]' -o -name meson.build \) |
			sort
	} | sha256sum
}

# configure DIR OPTION...
configure()
{
	local dir=$1 stamp
	stamp=$(stamp_of "$@")
	if [ ! -e "$dir/build.ninja" ]; then
		rm -rf "$dir"
		meson setup "$@" || return
	elif [ "$stamp" != "$(cat "$dir/.sources" 2>/dev/null)" ]; then
		meson setup --reconfigure "$@" || return
	fi
	echo "$stamp" >"$dir/.sources"
}

# What to build in DIR: everything, or only what is run from it.
targets_of()
{
	case $1 in
	build-fuzz | build-afl | build-cov)
		ninja -C "$1" -t targets all | sed -n 's/^\(tests\/fuzz\/fuzz_[^:.]*\):.*/\1/p'
		;;
	build-tsan)
		grep -l pthread_create tests/unit/test_*.c | sed 's/\.c$//' |
			grep -xF -f <(ninja -C "$1" -t targets all | cut -d: -f1)
		;;
	*) echo all ;;
	esac
}

# build KIND DIR OPTION...
build()
{
	local kind=$1 targets
	shift
	"$INSULA_ROOT/tests/lib/deps.sh" "$kind" && configure "$@" || return
	mapfile -t targets < <(targets_of "$1")
	if [ ${#targets[@]} -gt 0 ]; then
		ninja -C "$1" "${targets[@]}"
	fi
}

main()
{
	local arg kind=build dir=build quiet='' options=() log
	for arg in "$@"; do
		case $arg in
		-h | --help)
			usage
			return 0
			;;
		--quiet) quiet=1 ;;
		# What gcc warns of in instrumented code is not always there: build/ is the judge.
		--sanitize)
			dir=build-asan
			options=('-Db_sanitize=address,undefined' -Db_lundef=false -Dwerror=false)
			;;
		--tsan)
			dir=build-tsan
			options=(-Db_sanitize=thread -Db_lundef=false -Dwerror=false)
			;;
		--fuzz)
			dir=build-fuzz
			kind="test"
			options=('-Db_sanitize=address,undefined' -Db_lundef=false -Dfuzzers=true
				-Dwerror=false)
			export CC=clang
			;;
		--afl)
			dir=build-afl
			kind=fuzz
			options=('-Db_sanitize=address,undefined' -Db_lundef=false -Dfuzzers=true
				-Dwerror=false)
			export CC=afl-clang-fast AFL_QUIET=1
			;;
		--coverage)
			dir=build-cov
			kind=fuzz
			options=('-Dc_args=-fprofile-instr-generate -fcoverage-mapping'
				-Dc_link_args=-fprofile-instr-generate -Dwerror=false)
			export CC=clang LLVM_PROFILE_FILE=/dev/null # of what configuring runs
			;;
		*)
			usage >&2
			return 2
			;;
		esac
	done
	if [ -z "$quiet" ]; then
		build "$kind" "$dir" "${options[@]}"
		return
	fi
	log=$(mktemp)
	if ! build "$kind" "$dir" "${options[@]}" >"$log" 2>&1; then
		# The first thing that failed, not what was configured and compiled before it.
		{ sed -n '/^FAILED:/,$p' "$log" | head -60 | grep . || tail -40 "$log"; } >&2
		rm -f "$log"
		echo "build: $dir failed" >&2
		return 1
	fi
	rm -f "$log"
}

main "$@"
