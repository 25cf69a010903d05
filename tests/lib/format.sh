#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev format: clang-format over all C of the tree, and comments folded to 100 columns.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

case ${1:-} in
-h | --help)
	echo "usage: ./dev format"
	echo
	echo "Rewrites every .c and .h file as .clang-format wants it. Example: ./dev format"
	exit 0
	;;
esac
tests/lib/deps.sh lint
list=$(mktemp)
trap 'rm -f "$list"' EXIT
find . \( -name build -o -name 'build-*' \) -prune -o -name '*.[ch]' -print0 >"$list"
xargs -0 -r -a "$list" clang-format -i
xargs -0 -r -a "$list" tests/lib/fold_comments.py
xargs -0 -r -a "$list" clang-format -i
