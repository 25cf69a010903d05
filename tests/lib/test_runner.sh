#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The runner itself: passed, failed, skipped, timed-out and crashed tests are counted right, an
# interrupted run and a run of nothing are not a success.
set -euo pipefail
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# expect WHAT STATUS LAST_LINE: runs stdin as a user of the runner.
expect()
{
	local what=$1 want_status=$2 want_last=$3 status=0 last
	{
		echo ". tests/lib/runner.sh; run_begin $tmp/logs"
		cat
		echo run_end
	} >"$tmp/user.sh"
	bash "$tmp/user.sh" >"$tmp/out" 2>&1 || status=$?
	last=$(tail -n 1 "$tmp/out")
	if [ "$status" != "$want_status" ] || [ "$last" != "$want_last" ]; then
		echo "$what: status $status, '$last'; expected $want_status, '$want_last'"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}

expect_output()
{
	if ! grep -qE "$1" "$tmp/out"; then
		echo "no line matches: $1"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}

tap()
{
	printf '%s\n' "#!/bin/sh" "cat <<'END'" "$1" END "exit $2" >"$tmp/tap"
	chmod +x "$tmp/tap"
}

expect "nothing ran" 1 "0 passed, 0 failed, 0 skipped" <<<''
expect "a pass" 0 "1 passed, 0 failed, 0 skipped" <<<'run_one a 5 true'
expect "a failure" 1 "1 passed, 1 failed, 0 skipped" <<-'EOF'
	run_one a 5 true
	run_one b 5 sh -c "echo the reason it broke; exit 3"
EOF
expect_output '^FAIL b: exit status 3$'
expect_output '\| the reason it broke$'
expect "a skip" 0 "0 passed, 0 failed, 1 skipped" <<-'EOF'
	run_one a 5 sh -c "echo x; echo needs y; exit 77"
EOF
expect_output '^skip a: needs y$'
expect "a time-out" 1 "0 passed, 1 failed, 0 skipped" <<<'run_one a 1 sleep 100'
expect_output '^FAIL a: timed out after 1 s$'
expect "a time-out that exits 0" 1 "0 passed, 1 failed, 0 skipped" <<-'EOF'
	run_one a 1 bash -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
EOF
expect "a killed test" 1 "0 passed, 1 failed, 0 skipped" <<<'run_one a 5 sh -c "kill -SEGV \$\$"'
expect_output '^FAIL a: killed by signal 11$'
expect "a command that does not exist" 1 "0 passed, 1 failed, 0 skipped" <<<'run_one a 5 ./no-such'
expect "a test that waits for INT" 0 "1 passed, 0 failed, 0 skipped" <<-'EOF'
	run_one a 5 bash -c 'trap "exit 0" INT; kill -INT $$; exit 1'
EOF
expect "no stdin" 0 "1 passed, 0 failed, 0 skipped" <<<'run_one a 5 sh -c "! read x"'
expect "a run that is interrupted" 130 "1 passed, 1 failed, 0 skipped" <<-'EOF'
	run_one a 5 true
	run_one b 5 sh -c 'kill -TERM '$$'; sleep 100'
	run_one c 5 true
EOF

expect "two that wait for each other" 1 "3 passed, 1 failed, 1 skipped" <<-EOF
	run_beside a 5 sh -c 'echo > $tmp/meet; cat $tmp/meet2; exit 0'
	run_beside "b d" 5 sh -c 'cat $tmp/meet; echo > $tmp/meet2; exit 4'
	run_beside c 5 sh -c 'echo needs y; exit 77'
	run_beside d 5 true
	run_one e 5 mkfifo $tmp/meet $tmp/meet2
	run_pool
	run_pool
EOF
expect_output '^FAIL b d: exit status 4$'
expect_output '^skip c: needs y$'
expect "beside, interrupted" 130 "0 passed, 1 failed, 0 skipped" <<-'EOF'
	run_beside a 50 sleep 40
	run_beside b 50 sh -c 'kill -TERM '$$'; sleep 40'
	run_pool
EOF

tap "1..3
noise
ok 1 - one
not ok 2 - two
# 1 != 2
skip: needs three
not ok 3 # SKIP three" 1
expect "cases" 1 "1 passed, 1 failed, 1 skipped" <<<"run_tap t 5 $tmp/tap"
expect_output '^skip t three: needs three$'
expect_output '^FAIL t two$'
tap "1..3
ok 1 - one" 1
expect "cases that never ran" 1 "1 passed, 1 failed, 0 skipped" <<<"run_tap t 5 $tmp/tap"
expect_output '^FAIL t: 1 results of 3 cases, exit status 1$'
tap "1..1
ok 1 - one" 23
expect "a leak found at exit" 1 "1 passed, 1 failed, 0 skipped" <<<"run_tap t 5 $tmp/tap"
tap "1..1
ok 1 - one
1..1
not ok 1 - one" 1
expect "two groups" 1 "1 passed, 1 failed, 0 skipped" <<<"run_tap t 5 $tmp/tap"
tap "1..0" 0
expect "a plan of nothing" 1 "0 passed, 1 failed, 0 skipped" <<<"run_tap t 5 $tmp/tap"
expect "no TAP" 0 "1 passed, 0 failed, 0 skipped" <<<"run_tap t 5 true"
expect "no TAP, failing" 1 "0 passed, 1 failed, 0 skipped" <<<"run_tap t 5 false"
expect "TAP that times out" 1 "0 passed, 1 failed, 0 skipped" <<<"run_tap t 1 sleep 100"

[ "$failures" -eq 0 ]
