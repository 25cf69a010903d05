# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# For tests that need the outer machine (outer.py): what they lack, if they do, else its kernel.
# Sourced by them; sets INSULA_BUILD.
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export INSULA_BUILD=${INSULA_BUILD:-$here/../../build}
lacks=$(PYTHONPATH=$here /usr/bin/python3 -c 'import outer; print(outer.lacks())')
[ -z "$lacks" ] || { echo "$lacks"; exit 77; }
kernel=$("$here/guest_kernel.sh" outer) || { echo "$kernel"; exit 77; }
