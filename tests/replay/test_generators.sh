#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every input capture is what its generator makes, to the byte.
set -euo pipefail
cd "$INSULA_ROOT"
exec pcap-fixtures/gen/make.py --check
