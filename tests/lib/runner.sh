# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# The test runner, a library for bash. Counts every test once as passed, failed or skipped, prints
# one line for each, keeps its output under $RUN_LOGS and shows it when the test fails.
# Used by test.sh; test_runner.sh proves that it counts right.
#
#   run_begin LOG_FOLDER
#   run_one NAME SECONDS COMMAND...   exit 0 passed; 77 skipped, last line of output says why
#   run_tap NAME SECONDS COMMAND...   the same, but each TAP line counts (cmocka: one per case)
#   run_beside NAME SECONDS COMMAND...   as run_one, but later: by run_pool, beside another one
#   run_pool                          runs what run_beside kept, two at a time, the longest limits
#                                     first
#   run_skip NAME REASON
#   run_end                           the last line; returns 1 if anything failed or nothing ran

run_begin()
{
	RUN_LOGS=$1
	RUN_PASSED=0
	RUN_FAILED=0
	RUN_SKIPPED=0
	RUN_CHILDREN=()
	RUN_WAITING=()
	RUN_FAILURES=()
	mkdir -p "$RUN_LOGS"
	trap 'run_interrupted' INT TERM HUP
}

run_interrupted()
{
	trap '' INT TERM HUP
	if [ ${#RUN_CHILDREN[@]} -gt 0 ]; then
		kill -TERM "${RUN_CHILDREN[@]}" 2>/dev/null || true
		wait "${RUN_CHILDREN[@]}" 2>/dev/null || true
	fi
	echo "interrupted"
	RUN_FAILED=$((RUN_FAILED + 1))
	run_end || true
	exit 130
}

run_say()
{
	printf '%-4s %s\n' "$1" "$2"
}

run_pass()
{
	RUN_PASSED=$((RUN_PASSED + 1))
	run_say pass "$1"
}

run_fail()
{
	RUN_FAILED=$((RUN_FAILED + 1))
	RUN_FAILURES+=("$1")
	run_say FAIL "$1"
}

run_skip()
{
	RUN_SKIPPED=$((RUN_SKIPPED + 1))
	run_say skip "$1: ${2:-it does not say what it lacks}"
}

# run_show LOG: the end of a failed test's output.
run_show()
{
	tail -n "${RUN_SHOW_LINES:-60}" "$1" | tr -d '\000' | sed 's/^/     | /'
	echo "     | all of it: ${1#"$PWD"/}"
}

# run_start LOG SECONDS COMMAND...: in the background; its pid in run_pid. The command gets a
# process group of its own, no stdin, and default signals (bash ignores INT for what it starts with
# &). At the time limit the group gets TERM, and KILL ten seconds later.
run_start()
{
	local log=$1 limit=$2
	shift 2
	timeout --kill-after=10 "$limit" env --default-signal=INT,QUIT,PIPE,HUP,TERM "$@" \
		</dev/null >"$log" 2>&1 9<&- &
	run_pid=$!
}

# run_since MICROSECONDS: sets run_time, the milliseconds since then.
run_since()
{
	run_time=$(((${EPOCHREALTIME/[.,]/} - $1) / 1000))
}

# run_command LOG SECONDS COMMAND...: sets run_status and run_time (ms).
run_command()
{
	local start=${EPOCHREALTIME/[.,]/}
	run_start "$@"
	RUN_CHILDREN=("$run_pid")
	run_status=0
	wait "$run_pid" || run_status=$?
	RUN_CHILDREN=()
	run_since "$start"
}

# run_why SECONDS: why the command of run_command failed; nothing if it did not.
run_why()
{
	if [ "$run_status" -eq 124 ] || [ "$run_time" -ge $(($1 * 1000)) ]; then
		echo "timed out after $1 s"
	elif [ "$run_status" -gt 128 ]; then
		echo "killed by signal $((run_status - 128))"
	elif [ "$run_status" -ne 0 ]; then
		echo "exit status $run_status"
	fi
}

run_log_of()
{
	echo "$RUN_LOGS/${1//[ \/]/_}.log"
}

# run_judge NAME SECONDS: counts the command that set run_status and run_time.
run_judge()
{
	local log why
	log=$(run_log_of "$1")
	why=$(run_why "$2")
	if [ "$run_status" -eq 77 ]; then
		run_skip "$1" "$(tail -n 1 "$log")"
	elif [ -n "$why" ]; then
		run_fail "$1: $why"
		run_show "$log"
	else
		run_pass "$1 ($run_time ms)"
	fi
}

run_one()
{
	local name=$1 limit=$2
	shift 2
	run_command "$(run_log_of "$name")" "$limit" "$@"
	run_judge "$name" "$limit"
}

run_beside()
{
	local IFS=$'\x1f'
	RUN_WAITING+=("$*")
}

run_pool()
{
	local -A names=() limits=() starts=()
	local words pid next=0
	mapfile -t RUN_WAITING < <(printf '%s\n' "${RUN_WAITING[@]}" |
		sort --stable --field-separator=$'\x1f' --key=2,2nr | grep .)
	while [ "$next" -lt ${#RUN_WAITING[@]} ] || [ ${#names[@]} -gt 0 ]; do
		if [ "$next" -lt ${#RUN_WAITING[@]} ] && [ ${#names[@]} -lt 2 ]; then
			IFS=$'\x1f' read -r -a words <<<"${RUN_WAITING[next]}"
			next=$((next + 1))
			run_start "$(run_log_of "${words[0]}")" "${words[@]:1}"
			names[$run_pid]=${words[0]} limits[$run_pid]=${words[1]}
			starts[$run_pid]=${EPOCHREALTIME/[.,]/}
		else
			run_status=0
			wait -n -p pid "${!names[@]}" || run_status=$?
			run_since "${starts[$pid]}"
			run_judge "${names[$pid]}" "${limits[$pid]}"
			unset "names[$pid]"
		fi
		RUN_CHILDREN=("${!names[@]}")
	done
	RUN_WAITING=()
}

# Prints "pass|fail|skip NAME<TAB>REASON" for each TAP result and "plan N" for each plan. cmocka
# says "not ok N # SKIP name" for a skipped case; what it lacks is the last "skip: ..." before.
run_tap_parse()
{
	awk '
	/^1\.\.[0-9]+/ { sub(/^1\.\./, ""); print "plan " $1; next }
	/^skip: / { reason = substr($0, 7); next }
	/^(not )?ok [0-9]+ # SKIP/ {
		sub(/^.*# SKIP */, "")
		print "skip " $1 "\t" reason
		reason = ""
		next
	}
	/^ok [0-9]+ - / { print "pass " $4; reason = ""; next }
	/^not ok [0-9]+ - / { print "fail " $5; reason = ""; next }
	' "$1"
}

run_tap()
{
	local name=$1 limit=$2 log why results planned='' seen=0 failed=0 what rest
	shift 2
	log=$(run_log_of "$name")
	run_command "$log" "$limit" env CMOCKA_MESSAGE_OUTPUT=TAP "$@"
	why=$(run_why "$limit")
	results=$(run_tap_parse "$log")
	if [ "$run_status" -eq 77 ]; then
		run_skip "$name" "$(tail -n 1 "$log")"
		return
	fi
	while read -r what rest; do
		case $what in
		plan) planned=$((${planned:-0} + rest)) ;;
		pass) run_pass "$name $rest" ;;
		fail)
			run_fail "$name $rest"
			failed=$((failed + 1))
			;;
		skip) run_skip "$name ${rest%%$'\t'*}" "${rest#*$'\t'}" ;;
		esac
		[ "$what" = plan ] || [ -z "$what" ] || seen=$((seen + 1))
	done <<<"$results"
	if [ -z "$planned" ] && [ "$seen" -eq 0 ] && [ -z "$why" ]; then
		run_pass "$name ($run_time ms)" # speaks no TAP: its exit status counts
		return
	elif [ -z "$planned" ] && [ "$seen" -eq 0 ]; then
		run_fail "$name: $why"
	elif [ "$seen" -ne "${planned:-0}" ] || [ "$seen" -eq 0 ]; then
		run_fail "$name: $seen results of ${planned:-no} cases${why:+, $why}"
	elif [ -n "$why" ] && { [ "$failed" -eq 0 ] || [ "$run_status" -ne "$failed" ]; }; then
		run_fail "$name: $why after its cases" # cmocka exits with the number of failures
	elif [ "$failed" -eq 0 ]; then
		return
	fi
	run_show "$log"
}

run_end()
{
	local f
	if [ ${#RUN_FAILURES[@]} -gt 0 ]; then
		echo "failed:"
		for f in "${RUN_FAILURES[@]}"; do
			echo "  $f"
		done
	fi
	echo "$RUN_PASSED passed, $RUN_FAILED failed, $RUN_SKIPPED skipped"
	[ "$RUN_FAILED" -eq 0 ] && [ $((RUN_PASSED + RUN_SKIPPED)) -gt 0 ]
}
