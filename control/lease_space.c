// SPDX-License-Identifier: BSD-3-Clause
// Free addresses of dynamic pools, see lease_internal.h: a bit for each address, and above them one
// for each full word, so that the next free one is found without a look at each lease: the largest
// pool that is full but for one address costs 64 Ki words' bits, a /16 sixteen words. Called by
// lease_pool.c and lease_index.c. Main thread only.
#include <stdlib.h>
#include "control/lease_internal.h"

static int compare(const struct lease_space *a, const struct lease_space *b)
{
	return a->segment < b->segment ? -1 : a->segment > b->segment;
}

RB_GENERATE_INTERNAL(lease_space_tree, lease_space, node, compare, static inline)

static uint32_t words(uint32_t bits)
{
	return bits / 64 + (bits % 64 != 0);
}

static bool test(const uint64_t *map, uint32_t bit)
{
	return map[bit / 64] >> bit % 64 & 1;
}

static bool index_of(const struct lease_space *sp, be32 address, uint32_t *ret_n)
{
	uint32_t n = ntohl(address) - sp->first;

	if (n >= sp->size)
		return false;
	*ret_n = n;
	return true;
}

static void take(struct lease_space *sp, be32 address)
{
	uint32_t n;

	if (!index_of(sp, address, &n))
		return;
	sp->taken[n / 64] |= UINT64_C(1) << n % 64;
	if (sp->taken[n / 64] == UINT64_MAX)
		sp->full[n / 64 / 64] |= UINT64_C(1) << n / 64 % 64;
}

static void space_free(struct lease_space *sp)
{
	free(sp->reserved);
	free(sp->taken);
	free(sp->full);
	free(sp);
}

static struct lease_space *space_new(const struct desired_segment *s)
{
	struct lease_space *sp = calloc(1, sizeof(*sp));
	uint32_t n;

	if (!sp)
		return NULL;
	sp->segment = s->id;
	sp->first = ntohl(s->network->pool_first);
	sp->size = ntohl(s->network->pool_last) - sp->first + 1;
	sp->gateway = s->network->gateway;
	n = words(sp->size);
	sp->reserved = calloc(n, sizeof(uint64_t));
	sp->taken = calloc(n, sizeof(uint64_t));
	sp->full = calloc(words(n), sizeof(uint64_t));
	if (!sp->reserved || !sp->taken || !sp->full) {
		space_free(sp);
		return NULL;
	}
	// The last word's bits behind the pool are nobody's.
	if (sp->size % 64)
		sp->taken[n - 1] = UINT64_MAX << sp->size % 64;
	return sp;
}

static struct lease_space *space_find(struct lease_index *ix, uint32_t segment)
{
	struct lease_space key = { .segment = segment };

	return RB_FIND(lease_space_tree, &ix->spaces, &key);
}

struct lease_space *lease_space_of(struct leases *l, const struct desired_segment *s)
{
	const struct desired *d = l->d->desired;
	struct lease_space *sp = space_find(&l->index, s->id);
	uint32_t n;

	if (sp || !s->network->pool_first)
		return sp;
	sp = space_new(s);
	if (!sp)
		return NULL;
	take(sp, sp->gateway);
	for (unsigned i = 0; i < d->n_ports; i++) {
		const struct desired_port *p = &d->ports[i];
		if (p->kind != DESIRED_NIC || d->segments[p->segment].id != s->id)
			continue;
		sp->n_many += p->nic->clients_many;
		take(sp, p->address);
		if (index_of(sp, p->address, &n))
			sp->reserved[n / 64] |= UINT64_C(1) << n % 64;
	}
	for (struct lease *x = lease_first_of_segment(&l->index, s->id); x;
		x = lease_next_of_segment(x))
		take(sp, x->s.address);
	RB_INSERT(lease_space_tree, &l->index.spaces, sp);
	return sp;
}

void lease_spaces_clear(struct lease_index *ix)
{
	struct lease_space *sp;

	while ((sp = RB_ROOT(&ix->spaces))) {
		RB_REMOVE(lease_space_tree, &ix->spaces, sp);
		space_free(sp);
	}
}

void lease_space_take(struct lease_index *ix, uint32_t segment, be32 address)
{
	struct lease_space *sp = space_find(ix, segment);

	if (sp)
		take(sp, address);
}

void lease_space_give(struct lease_index *ix, uint32_t segment, be32 address)
{
	struct lease_space *sp = space_find(ix, segment);
	uint32_t n;

	if (!sp || !index_of(sp, address, &n) || test(sp->reserved, n) || address == sp->gateway)
		return;
	sp->taken[n / 64] &= ~(UINT64_C(1) << n % 64);
	sp->full[n / 64 / 64] &= ~(UINT64_C(1) << n / 64 % 64);
}

bool lease_space_reserved(const struct lease_space *sp, be32 address)
{
	uint32_t n;

	return index_of(sp, address, &n) && test(sp->reserved, n);
}

// The first zero bit in [from, end), or `end`.
static uint32_t first_zero(const uint64_t *map, uint32_t from, uint32_t end)
{
	while (from < end) {
		uint64_t zeros = ~map[from / 64] >> from % 64;
		if (zeros) {
			from += (uint32_t)__builtin_ctzll(zeros);
			return from < end ? from : end;
		}
		if (end - from <= 64 - from % 64)
			break;
		from += 64 - from % 64;
	}
	return end;
}

// The first free one in [from, size), or `size`.
static uint32_t first_free(const struct lease_space *sp, uint32_t from)
{
	uint32_t n = words(sp->size), word = from / 64;
	uint64_t zeros = ~sp->taken[word] >> from % 64;

	if (zeros)
		return from + (uint32_t)__builtin_ctzll(zeros);
	word = first_zero(sp->full, word + 1, n);
	return word < n ? word * 64 + (uint32_t)__builtin_ctzll(~sp->taken[word]) : sp->size;
}

be32 lease_space_find(const struct lease_space *sp, uint32_t n)
{
	uint32_t found = first_free(sp, n);

	if (found == sp->size)
		found = first_free(sp, 0);
	return found < sp->size ? htonl(sp->first + found) : 0;
}
