#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 180
# See vhost_guest.py, which runs in a sandbox. Arguments: the tests wanted.
set -euo pipefail
here=$(dirname "$0")
if ! command -v dpdk-testpmd >/dev/null; then
	echo "dpdk-testpmd is missing: apt-get install dpdk-dev"
	exit 77
fi
exec /usr/bin/python3 "$here/../lib/sandbox.py" /usr/bin/python3 "$here/vhost_guest.py" "$@"
