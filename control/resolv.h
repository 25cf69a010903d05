// SPDX-License-Identifier: BSD-3-Clause
// The host's real DNS upstreams, for networks that name none. Never a loopback stub: a guest's
// loopback is its own.
#pragma once

#include "control/policy.h"

// Reads `nameserver` lines of one resolv.conf text: IPv4, not loopback, not 0.0.0.0, no doubles.
// *ret_stub is set if a loopback resolver was among them. Returns how many (≤ POLICY_MAX_DNS).
unsigned resolv_parse(const char *text, size_t size, be32 ret_dns[POLICY_MAX_DNS], bool *ret_stub);

// From `conf` (NULL = /etc/resolv.conf), or, if that names only loopback stubs, from `upstream`
// (NULL = where systemd-resolved and NetworkManager write them down). Returns how many; 0 if the
// host has none.
unsigned resolv_host(const char *conf, const char *upstream, be32 ret_dns[POLICY_MAX_DNS]);
