#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 300
# See outer_deaths.py.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
exec /usr/bin/python3 outer_deaths.py
