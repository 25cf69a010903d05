// SPDX-License-Identifier: BSD-3-Clause
// One YAML scalar into one value: numbers, names, addresses. Pure; used by model_yaml.c's table.
// Each returns NULL and sets *ret, or says what is wrong with the text ("is out of range").
#pragma once

#include "vlan/wire.h"

const char *value_number(const char *text, uint32_t min, uint32_t max, uint32_t *ret);
// "A-B" or "A": ret_first <= ret_last.
const char *value_number_range(
	const char *text, uint32_t min, uint32_t max, uint32_t *ret_first, uint32_t *ret_last);
const char *value_ipv4(const char *text, be32 *ret); // an address a host may have
const char *value_ipv4_range(const char *text, be32 *ret_first, be32 *ret_last);
// "a.b.c.d/len", len 8..30. As a subnet: no host bits.
const char *value_cidr(const char *text, bool subnet, be32 *ret, uint8_t *ret_prefix_len);
const char *value_mac(const char *text, struct mac *ret); // unicast
const char *value_name(const char *text, size_t size); // size of the field, terminator included
const char *value_interface(const char *text);
const char *value_netns(const char *text, size_t size);
const char *value_path(const char *text, size_t size);
// An absolute path for the VMM's command line, where a comma ends it.
const char *value_file(const char *text, size_t size);
// Any text that is one: no control characters but tabs and line breaks.
const char *value_lines(const char *text, size_t size);
// "512MiB", "2GiB"; an even number of MiB within the bounds.
const char *value_memory(const char *text, uint32_t min, uint32_t max, uint32_t *ret_mib);
const char *value_text(const char *text, size_t size); // printable ASCII
