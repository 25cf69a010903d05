#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 60
# build: build build-asan
# vhost-user ports of the running switch, in its sandbox: see vhost_switch.py.
cd "$(dirname "$0")" || exit 1
exec /usr/bin/python3 vhost_switch.py \
	"$(realpath "${INSULA_BUILD:-../../build}")/vswitch/insula-switch"
