#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 120
# See device_room.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$0")
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/device_room.py"
