// SPDX-License-Identifier: BSD-3-Clause
// Port bitmaps of the NAT table; see nat_ports.h. Called by nat_table.c with its lock held.
#include "vswitch/nat_ports.h"

#include "vswitch/tuple_index.h"

#include <errno.h>

enum { RANDOM_TRIES = 8 };

#define PARITY_WORD(parity) ((parity) == NAT_PARITY_ODD ? 0xaaaaaaaaaaaaaaaau : 0x5555555555555555u)

int nat_ports_open(struct nat_ports *p, uint64_t seed)
{
	*p = (struct nat_ports){};
	p->random_key[0] = tuple_seed_next(&seed);
	p->random_key[1] = tuple_seed_next(&seed);
	p->spaces = lazy_alloc(NAT_SPACE_MAX * sizeof(*p->spaces));
	return p->spaces == NULL ? -ENOMEM : 0;
}

void nat_ports_close(struct nat_ports *p)
{
	lazy_free(p->spaces, NAT_SPACE_MAX * sizeof(*p->spaces));
}

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

// SipHash-2-4 of a counter: whoever sees his own ports learns nothing about the next one's.
static uint64_t random_next(struct nat_ports *p)
{
	uint64_t m = p->random_count++;
	uint64_t v[4] = { p->random_key[0] ^ 0x736f6d6570736575u,
		p->random_key[1] ^ 0x646f72616e646f6du, p->random_key[0] ^ 0x6c7967656e657261u,
		p->random_key[1] ^ 0x7465646279746573u };
	const uint64_t words[2] = { m, (uint64_t)sizeof(m) << 56 };

	for (unsigned i = 0; i < 2; i++) {
		v[3] ^= words[i];
		sip_round(v);
		sip_round(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xff;
	for (unsigned i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint32_t slot_of(const struct nat_ports *p, uint32_t zone, be32 address, uint8_t proto)
{
	uint64_t h = tuple_mix(p->random_key[0] ^ ((uint64_t)zone << 32 | address),
		(p->random_key[1] | 1) + proto);

	return (uint32_t)(h % NAT_SPACE_SLOTS);
}

static void slot_insert(struct nat_ports *p, uint32_t space)
{
	const struct nat_space *s = &p->spaces[space];
	uint32_t i = slot_of(p, s->zone, s->address, s->proto);

	while (p->slots[i] != 0)
		i = (i + 1) % NAT_SPACE_SLOTS;
	p->slots[i] = (uint16_t)(space + 1);
}

// Finds a space that owns nothing, for another address; only when all were used once.
static struct nat_space *space_recycle(struct nat_ports *p)
{
	struct nat_space *found = NULL;

	memset(p->slots, 0, sizeof(p->slots));
	for (uint32_t i = 0; i < NAT_SPACE_MAX; i++) {
		if (p->spaces[i].n_used == 0 && found == NULL)
			found = &p->spaces[i];
		else
			slot_insert(p, i);
	}
	return found;
}

struct nat_space *nat_ports_space(struct nat_ports *p, uint32_t zone, be32 address, uint8_t proto)
{
	uint32_t i = slot_of(p, zone, address, proto);
	struct nat_space *s;

	while (p->slots[i] != 0) {
		s = &p->spaces[p->slots[i] - 1];
		if (s->zone == zone && s->address == address && s->proto == proto)
			return s;
		i = (i + 1) % NAT_SPACE_SLOTS;
	}
	s = p->n_spaces < NAT_SPACE_MAX ? &p->spaces[p->n_spaces++] : space_recycle(p);
	if (s == NULL)
		return NULL;
	s->zone = zone;
	s->address = address;
	s->proto = proto;
	s->first = 1;
	s->last = 0; // no range counted yet
	slot_insert(p, (uint32_t)(s - p->spaces));
	return s;
}

static bool port_used(const struct nat_space *s, uint32_t port)
{
	return (s->used[port / 64] >> (port % 64) & 1) != 0;
}

static bool in_range(const struct nat_space *s, uint32_t port)
{
	return port >= s->first && port <= s->last;
}

// The free ports of word w that lie in the range, as bits.
static uint64_t free_bits(const struct nat_space *s, uint32_t w)
{
	uint64_t bits = ~s->used[w];

	if (w == s->first / 64u)
		bits &= ~0ull << (s->first % 64);
	if (w == s->last / 64u)
		bits &= ~0ull >> (63 - s->last % 64);
	return bits;
}

static void set_range(struct nat_space *s, uint16_t first, uint16_t last)
{
	if (s->first == first && s->last == last)
		return;
	s->first = first;
	s->last = last;
	s->n_free[0] = 0;
	s->n_free[1] = 0;
	for (uint32_t w = first / 64u; w <= last / 64u; w++) {
		uint64_t bits = free_bits(s, w);

		for (unsigned parity = 0; parity < 2; parity++)
			s->n_free[parity] +=
				(uint32_t)__builtin_popcountll(bits & PARITY_WORD(parity));
	}
}

// One is free: n_free says so. A few darts first; then onwards from where the last one hit.
static uint16_t pick(struct nat_ports *p, const struct nat_space *s, uint64_t parity_mask)
{
	uint32_t n = (uint32_t)s->last - s->first + 1, w = 0;
	uint32_t first_w = s->first / 64u, n_w = s->last / 64u - first_w + 1;

	for (unsigned i = 0; i < RANDOM_TRIES; i++) {
		uint32_t port = s->first + (uint32_t)((random_next(p) >> 32) * n >> 32);

		if ((parity_mask >> (port % 64) & 1) != 0 && !port_used(s, port))
			return (uint16_t)port;
		w = port / 64 - first_w;
	}
	for (uint32_t i = 0; i < n_w; i++) {
		uint32_t word = first_w + (w + i) % n_w;
		uint64_t bits = free_bits(s, word) & parity_mask;

		// Any of the word's free ports, not always its lowest.
		for (uint64_t skip = random_next(p) % 64; bits != 0; skip--) {
			if (skip == 0 || (bits & (bits - 1)) == 0)
				return (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(bits));
			bits &= bits - 1;
		}
	}
	return 0;
}

bool nat_ports_mark(struct nat_space *s, uint16_t port)
{
	if (port_used(s, port))
		return false;
	s->used[port / 64] |= 1ull << (port % 64);
	s->n_used++;
	if (in_range(s, port))
		s->n_free[port & 1]--;
	return true;
}

int nat_ports_take(struct nat_ports *p, struct nat_space *s, uint16_t first, uint16_t last,
	enum nat_parity wish, uint16_t *ret_port)
{
	uint64_t mask = ~0ull;
	uint16_t port;

	if (first == 0)
		first = 1; // port 0 is reserved
	if (first > last)
		return -ENOSPC;
	set_range(s, first, last);
	if (s->n_free[0] + s->n_free[1] == 0)
		return -ENOSPC;
	if (wish != NAT_PARITY_ANY && s->n_free[wish] != 0)
		mask = PARITY_WORD(wish);
	port = pick(p, s, mask);
	(void)nat_ports_mark(s, port);
	*ret_port = port;
	return 0;
}

void nat_ports_give_back(struct nat_space *s, uint16_t port)
{
	if (!port_used(s, port))
		return;
	s->used[port / 64] &= ~(1ull << (port % 64));
	s->n_used--;
	if (in_range(s, port))
		s->n_free[port & 1]++;
}
