#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# timeout: 400
# The demo interrupted, killed, failing at a step, and started twice: it leaves nothing behind, and
# See demo_cleanup.py.
exec /usr/bin/python3 "$(dirname "$0")/demo_cleanup.py"
