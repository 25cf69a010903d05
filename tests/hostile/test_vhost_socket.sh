#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 120
# build: build build-asan
# HOSTILE.md A, and rings full of noise, against port kind vhost-user: see vhost_socket.py.
cd "$(dirname "$0")" || exit 1
exec /usr/bin/python3 vhost_socket.py \
	"$(realpath "${INSULA_BUILD:-../../build}")/tests/net/vhost_loop"
