#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 180
# See settings_hugepages.py, which runs in a sandbox.
set -euo pipefail
here=$(dirname "$0")
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/settings_hugepages.py"
