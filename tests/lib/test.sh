#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev test: installs what is missing, builds (plain, ASan+UBSan, TSan, fuzzers: what the kinds asked
# for need) and runs the tests, kind by kind. See tests/README.md for what a test may rely on.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD
# shellcheck source=tests/lib/runner.sh
. tests/lib/runner.sh

all_kinds=(unit replay fuzz net hostile kvm e2e)
export INSULA_TEST_LONG=
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

usage()
{
	cat <<-'EOF'
		usage: ./dev test [KIND...] [--long]

		Installs what is missing, builds, runs the tests of each KIND (all without one), and
		ends in one line "N passed, N failed, N skipped". Exit status 1 if a test failed or
		none ran.
		  unit     pure functions, parsers, tables, plan/apply     needs nothing
		  replay   pcap in, pcap out, through the real pipeline    needs nothing
		  fuzz     every parser, some seconds on its corpus        needs clang
		  net      real Linux stacks on taps                       needs root
		  hostile  HOSTILE.md against the running switch           needs root
		  kvm      real vCPUs and vrings                           needs /dev/kvm
		  e2e      unmodified Debian guests                        needs QEMU
		  --long   the full counts (more fuzzing, more loops)
		  --only PATTERN   only tests whose name matches the shell pattern
		Output of each test: build/test-logs/. Example: sudo ./dev test unit net
	EOF
}

wanted()
{
	# shellcheck disable=SC2053 # a pattern is meant
	[ -z "$only" ] || [[ $1 == $only ]]
}

# meson_tests SUITE BUILD: name, time limit and command, separated by tabs, a test a line.
meson_tests()
{
	meson introspect --tests "$2" | python3 -c '
import json, sys
for t in json.load(sys.stdin):
    if any(s.split(":")[-1] == sys.argv[1] for s in t["suite"]):
        env = ["env", "-C", t["workdir"] or sys.argv[2]]
        env += [k + "=" + v for k, v in t["env"].items()]
        print("\t".join([t["name"], str(t["timeout"]), *env, *t["cmd"]]))
' "$1" "$2"
}

# run_meson KIND SUITE BUILD [PREFIX...]: the suite's tests as KIND.
run_meson()
{
	local kind=$1 suite=$2 dir=$3 line words name slower=1
	shift 3
	[ "$dir" = build ] || slower=3
	while IFS= read -r line; do
		IFS=$'\t' read -r -a words <<<"$line"
		name=${words[0]}
		if wanted "$name" && [ "$dir:$(has_threads "$name")" != build-tsan: ]; then
			INSULA_BUILD=$PWD/$dir run_tap "$kind $name" $((words[1] * slower)) \
				"$@" "${words[@]:2}"
		fi
	done < <(meson_tests "$suite" "$dir")
}

has_threads()
{
	grep -sl pthread_create "tests/unit/$1.c" || true
}

# The value of a test script's head line "# KEY: VALUE".
head_of()
{
	sed -n "1,20s/^# $2: *//p" "$1" | head -n 1
}

run_script()
{
	local kind=$1 script=$2 dir label limit name run=run_one
	[ -z "$(head_of "$script" beside)" ] || run=run_beside
	name=$(basename "${script%.*}")
	limit=$(head_of "$script" "${INSULA_TEST_LONG:+long-}timeout")
	[ -n "$limit" ] || limit=$(head_of "$script" timeout)
	for dir in $(head_of "$script" build | grep . || echo build); do
		label="$kind $name"
		[ "$dir" = build ] || label="$kind-${dir#build-} $name"
		"$run" "$label" "${limit:-120}" env "INSULA_BUILD=$PWD/$dir" "./$script"
	done
}

# run_scripts KIND FOLDER
run_scripts()
{
	local kind=$1 script name
	for script in "$2"/test_*.sh "$2"/test_*.py; do
		name=$(basename "${script%.*}")
		if [ ! -x "$script" ] || ! wanted "$name"; then
			continue
		elif [[ $kind != unit && $kind != replay ]] && [ "$(id -u)" -ne 0 ]; then
			run_skip "$kind $name" "needs root: sudo ./dev test $kind"
		else
			run_script "$kind" "$script"
		fi
	done
}

kind_unit()
{
	run_scripts unit tests/lib
	run_meson unit unit build
	run_meson unit-asan unit build-asan
	# Under a randomised layout gcc 12's ThreadSanitizer may find no room for its shadow.
	run_meson unit-tsan unit build-tsan setarch -R
}

kind_replay()
{
	run_meson replay replay build
	run_meson replay-asan replay build-asan
	run_scripts replay tests/replay
}

kind_fuzz()
{
	local target name seconds=5
	[ -z "$INSULA_TEST_LONG" ] || seconds=120
	for target in build-fuzz/tests/fuzz/fuzz_*; do
		name=${target##*/}
		if [ -x "$target" ] && [ ! -d "$target" ] && wanted "$name"; then
			run_beside "fuzz $name" $((seconds + 60)) \
				tests/lib/fuzz.sh "$name" "$seconds"
		fi
	done
}

kind_net()
{
	run_scripts net tests/net
}

kind_hostile()
{
	run_meson hostile hostile build
	run_meson hostile-asan hostile build-asan
	run_scripts hostile tests/hostile
}

kind_kvm()
{
	run_meson kvm kvm build
	run_scripts kvm tests/kvm
}

kind_e2e()
{
	run_scripts e2e tests/e2e
}

tests_so_far()
{
	echo $((RUN_PASSED + RUN_FAILED + RUN_SKIPPED + ${#RUN_WAITING[@]}))
}

# The builds the kinds asked for need; a build that fails is a failed test and ends the run.
prepare()
{
	local option options=('') kinds=" $* "
	case $kinds in *" unit "* | *" replay "* | *" hostile "*) options+=(--sanitize) ;; esac
	if grep -qsE '^# build:.*build-asan' tests/*/test_*.??; then
		options+=(--sanitize)
	fi
	case $kinds in *" unit "*) options+=(--tsan) ;; esac
	case $kinds in *" fuzz "*) options+=(--fuzz) ;; esac
	tests/lib/deps.sh test || return
	while read -r option; do
		echo "building${option:+ $option}"
		# shellcheck disable=SC2086 # no option is no word
		tests/lib/build.sh --quiet $option || return
	done < <(printf '%s\n' "${options[@]}" | sort -u)
}

main()
{
	local kind kinds=() before started=$SECONDS
	only=
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			usage
			return 0
			;;
		--long) INSULA_TEST_LONG=1 ;;
		--only)
			only=${2:-*}
			shift
			;;
		unit | replay | fuzz | net | hostile | kvm | e2e) kinds+=("$1") ;;
		*)
			echo "dev test: no kind '$1'; it is one of: ${all_kinds[*]}" >&2
			return 2
			;;
		esac
		shift
	done
	[ ${#kinds[@]} -gt 0 ] || kinds=("${all_kinds[@]}")
	exec 9<tests/lib/test.sh
	flock --nonblock 9 || { echo "waiting for another dev test of this tree" && flock 9; }
	run_begin "$PWD/build/test-logs"
	if ! prepare "${kinds[@]}"; then
		run_fail "build"
		run_end
		return 1
	fi
	mkdir -p "$RUN_LOGS"
	for kind in "${kinds[@]}"; do
		before=$(tests_so_far)
		"kind_$kind"
		if [ "$before" -eq "$(tests_so_far)" ]; then
			run_say none "$kind: there is no such test yet"
		fi
	done
	run_pool
	echo "took $((SECONDS - started)) s"
	run_end
}

main "$@"
