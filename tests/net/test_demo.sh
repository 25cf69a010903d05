#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 240
# The demo succeeds, and its JSON says what tests/demo.yaml means, worked out here by hand.
# See demo_whole.py.
exec /usr/bin/python3 "$(dirname "$0")/demo_whole.py"
