#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 240
# Blue's segment replaced by red's: blue's instances hang on red's network, under addresses of their
# See demo_sabotage.py.
exec /usr/bin/python3 "$(dirname "$0")/demo_sabotage.py"
