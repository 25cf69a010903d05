#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 300
# See service.py.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/lib/outer.sh
. ../lib/outer.sh
[ -x /lib/systemd/systemd ] || { echo "systemd is missing: apt-get install systemd"; exit 77; }
exec /usr/bin/python3 service.py
