#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev lint: everything about the form of the tree, in well under two minutes. Each check prints what
# it found; the exit status is 1 if any found something.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

usage()
{
	cat <<-'EOF'
		usage: ./dev lint

		clang-format, cppcheck, shellcheck, and the house rules of tests/lib/lint_rules.py.
		Exit status 1 if anything is wrong. ./dev format mends layout. Example: ./dev lint
	EOF
}

c_files()
{
	find . \( -name build -o -name 'build-*' \) -prune -o -name '*.[ch]' -printf '%P\n' | sort
}

scripts()
{
	find . \( -name build -o -name 'build-*' -o -name .git \) -prune -o -type f -printf '%P\0' |
		xargs -0 grep -lIEm1 '^#( shellcheck|!.*\b(ba|da)?sh\b)' | sort
}

check_format()
{
	c_files | xargs -r clang-format --dry-run -Werror --ferror-limit=3
}

check_cppcheck()
{
	c_files | grep '\.c$' >"$tmp/c_files"
	cppcheck --quiet -j2 --std=c11 --language=c --enable=warning,portability --inline-suppr \
		--error-exitcode=1 --library=posix --library=tests/lib/cppcheck.cfg \
		--suppressions-list=tests/lib/cppcheck.txt -I. --file-list="$tmp/c_files"
}

check_shellcheck()
{
	scripts | xargs -r shellcheck -x
}

check_rules()
{
	python3 tests/lib/lint_rules.py
}

main()
{
	local check red=0 start
	case ${1:-} in
	-h | --help)
		usage
		return 0
		;;
	esac
	tests/lib/deps.sh lint
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	for check in format cppcheck shellcheck rules; do
		start=$SECONDS
		if "check_$check" >"$tmp/out" 2>&1; then
			echo "ok   $check ($((SECONDS - start)) s)"
		else
			echo "FAIL $check ($((SECONDS - start)) s)"
			red=1
		fi
		head -n 200 "$tmp/out" | sed 's/^/     | /'
	done
	return $red
}

main "$@"
