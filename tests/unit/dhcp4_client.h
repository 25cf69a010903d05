// SPDX-License-Identifier: BSD-3-Clause
// Client messages for the DHCPv4 tests, written byte by byte from RFC 2131 figure 1, without the
// code under test. Lengths and checksums are filled in by client_finish.
#pragma once

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "dhcp/dhcp4.h"

enum {
	CLIENT_MAX = 2048,
	CLIENT_BOOTP = 14 + 20 + 8,
	CLIENT_OPTIONS = CLIENT_BOOTP + 240,
	CLIENT_SNAME = CLIENT_BOOTP + 44,
	CLIENT_FILE = CLIENT_BOOTP + 108,
};

struct client_frame {
	size_t size;
	uint8_t data[CLIENT_MAX];
};

#define CLIENT_MAC ((struct mac){ { 0x02, 0, 0, 0, 0, 0x11 } })

static inline be32 ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return htonl((uint32_t)a << 24 | (uint32_t)b << 16 | (uint32_t)c << 8 | d);
}

static inline void client_u16(struct client_frame *f, size_t at, uint16_t value)
{
	f->data[at] = (uint8_t)(value >> 8);
	f->data[at + 1] = (uint8_t)value;
}

static inline void client_addr(struct client_frame *f, size_t at, be32 addr)
{
	memcpy(f->data + at, &addr, 4);
}

static inline void client_bytes(struct client_frame *f, const void *data, size_t size)
{
	assert(f->size + size <= CLIENT_MAX);
	memcpy(f->data + f->size, data, size);
	f->size += size;
}

static inline void client_option(
	struct client_frame *f, uint8_t code, const void *data, uint8_t size)
{
	client_bytes(f, &code, 1);
	client_bytes(f, &size, 1);
	client_bytes(f, data, size);
}

static inline void client_option_addr(struct client_frame *f, uint8_t code, be32 addr)
{
	client_option(f, code, &addr, 4);
}

// Headers and fixed fields; options (type first, unless 0) are appended by the caller.
static inline struct client_frame client_start(uint8_t type)
{
	struct client_frame f = { .size = CLIENT_OPTIONS };
	struct mac mac = CLIENT_MAC;
	uint8_t *b = f.data + CLIENT_BOOTP;

	memset(f.data, 0xff, 6);
	memcpy(f.data + 6, &mac, 6);
	client_u16(&f, 12, 0x0800);
	f.data[14] = 0x45;
	f.data[22] = 64;
	f.data[23] = 17;
	memset(f.data + 30, 0xff, 4);
	client_u16(&f, 34, 68);
	client_u16(&f, 36, 67);
	b[0] = 1;
	b[1] = 1;
	b[2] = 6;
	memcpy(b + 4, "\xde\xad\xbe\xef", 4);
	memcpy(b + 28, &mac, 6);
	memcpy(b + 236, "\x63\x82\x53\x63", 4);
	if (type != 0)
		client_option(&f, 53, &type, 1);
	return f;
}

// Sets the lengths for what is in the frame.
static inline void client_lengths(struct client_frame *f)
{
	client_u16(f, 16, (uint16_t)(f->size - 14));
	client_u16(f, 38, (uint16_t)(f->size - 34));
}

static inline void client_finish(struct client_frame *f)
{
	client_bytes(f, "\xff", 1);
	client_lengths(f);
}

// Parses a copy in a heap block of exactly `size` bytes, so that ASan sees one byte too many.
static inline enum dhcp4_error client_parse_size(
	const struct client_frame *f, size_t size, struct dhcp4_msg *ret_msg)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	assert(copy != NULL);
	memcpy(copy, f->data, size);
	enum dhcp4_error e = dhcp4_parse(copy + (size > 0 ? 0 : 1), size, ret_msg);
	free(copy);
	return e;
}

static inline enum dhcp4_error client_parse(const struct client_frame *f, struct dhcp4_msg *ret_msg)
{
	return client_parse_size(f, f->size, ret_msg);
}
