#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Tap and packet ports against the kernel, in a network namespace that ends with the test.
# build: build build-asan
# timeout: 60
set -euo pipefail
exec unshare --net "${INSULA_BUILD:-build}/tests/net/port_kinds"
