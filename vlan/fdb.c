// SPDX-License-Identifier: BSD-3-Clause
// Forwarding database: open addressing over buckets of five slots, two cache lines each, with a
// sequence counter per bucket. Workers look up and learn; control sets and deletes static entries;
// one owner ages. Readers never lock; every writer holds the table's spin lock, for one bucket's
// work at a time. What learning sees on almost every frame (a known address, fresh enough, or a
// port at its limit) is decided without the lock.
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <errno.h>
#include "vlan/fdb.h"

enum {
	BUCKET_SLOTS = 5,
	BUCKET_SIZE = 128,
	PORT_MAX = 65535, // highest port number that may learn
	CAPACITY_MIN = 4,
	CAPACITY_MAX = 1 << 26,
};

#define MAC_MASK 0xffffffffffffull
#define SLOT_USED (1ull << 48)
#define SLOT_STATIC (1ull << 49)
#define REFRESH_MAX_NS 1000000000ull

// All words: written under the lock, read by anyone.
struct fdb_slot {
	_Atomic uint64_t owner; // segment << 32 | port
	_Atomic uint64_t key; // MAC | SLOT_USED | SLOT_STATIC; 0 = free
	_Atomic uint64_t expires_ns; // UINT64_MAX for static entries
};

struct fdb_bucket {
	_Atomic uint32_t seq; // odd while a writer changes the slots
	// How many entries hash to this bucket or an earlier one and were placed after it. A search
	// ends at the first bucket with none: deletion leaves no tombstones.
	_Atomic uint32_t passed;
	struct fdb_slot slots[BUCKET_SLOTS];
};
static_assert(sizeof(struct fdb_bucket) == BUCKET_SIZE, "two cache lines");

struct fdb {
	struct fdb_bucket *buckets; // immutable pointer, aligned to BUCKET_SIZE
	void *memory; // immutable; what calloc returned
	uint32_t bucket_mask; // immutable
	uint32_t capacity; // immutable; most entries, 4/5 of the slots
	uint64_t secret[3]; // immutable
	// Per port; written under the lock. Lies between what readers use and what writers bounce.
	_Atomic uint32_t learned[PORT_MAX + 1];
	_Atomic uint32_t lock;
	_Atomic uint32_t count; // written under the lock
	uint32_t age_cursor; // owned by the caller of fdb_age
};

// What a reader saw of one entry.
struct fdb_entry {
	uint32_t port;
	bool is_static;
	uint64_t expires_ns;
};

// Where an entry is, for a writer.
struct fdb_place {
	uint32_t home; // bucket its key hashes to
	uint32_t bucket;
	unsigned slot;
};

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void fdb_lock(struct fdb *f)
{
	while (atomic_exchange_explicit(&f->lock, 1, memory_order_acquire) != 0) {
		while (atomic_load_explicit(&f->lock, memory_order_relaxed) != 0)
			relax();
	}
}

static void fdb_unlock(struct fdb *f)
{
	atomic_store_explicit(&f->lock, 0, memory_order_release);
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t mac_word(const struct mac *mac)
{
	uint64_t w = 0;

	memcpy(&w, mac, sizeof(*mac));
	return w & MAC_MASK;
}

static uint64_t fold_multiply(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// Expands the caller's seed; the constants are the golden ratio's and Stafford's mixer 13.
static uint64_t next_secret(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) | 1;
}

static uint32_t home_bucket(const struct fdb *f, uint32_t segment, uint64_t mac)
{
	uint64_t h = fold_multiply(mac ^ f->secret[0], segment ^ f->secret[1]);

	h = fold_multiply(h ^ f->secret[2], f->secret[1]);
	return (uint32_t)(h >> 32) & f->bucket_mask;
}

struct fdb *fdb_new(uint32_t capacity, uint64_t seed)
{
	uint32_t rounded = CAPACITY_MIN;

	if (capacity > CAPACITY_MAX)
		return NULL;
	while (rounded < capacity)
		rounded <<= 1;

	struct fdb *f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	uint32_t n_buckets = rounded / (BUCKET_SLOTS - 1);
	// calloc, and alignment by hand: pages of a large table nobody touched stay unbacked.
	f->memory = calloc(n_buckets + 1, sizeof(struct fdb_bucket));
	if (f->memory == NULL) {
		free(f);
		return NULL;
	}
	uintptr_t aligned =
		((uintptr_t)f->memory + BUCKET_SIZE - 1) & ~(uintptr_t)(BUCKET_SIZE - 1);
	f->buckets = (struct fdb_bucket *)aligned;
	f->bucket_mask = n_buckets - 1;
	f->capacity = rounded;
	for (unsigned i = 0; i < 3; i++)
		f->secret[i] = next_secret(&seed);
	return f;
}

void fdb_free(struct fdb *f)
{
	if (f == NULL)
		return;
	free(f->memory);
	free(f);
}

// ---- readers ----

// Looks into one bucket until a look was not disturbed by a writer.
static bool bucket_read(const struct fdb_bucket *b, uint32_t segment, uint64_t mac,
	struct fdb_entry *ret_entry, uint32_t *ret_passed)
{
	for (;;) {
		// Acquire: slot words are loaded after the counter.
		uint32_t seq = atomic_load_explicit(&b->seq, memory_order_acquire);
		bool found = false;

		if (seq & 1) {
			relax();
			continue;
		}
		for (unsigned i = 0; i < BUCKET_SLOTS && !found; i++) {
			const struct fdb_slot *s = &b->slots[i];
			// Acquire, here and below: if a word is a later writer's, its odd counter
			// is seen by the second load of seq.
			uint64_t key = atomic_load_explicit(&s->key, memory_order_acquire);
			if ((key & (MAC_MASK | SLOT_USED)) != (mac | SLOT_USED))
				continue;
			uint64_t owner = atomic_load_explicit(&s->owner, memory_order_acquire);
			if (owner >> 32 != segment)
				continue;
			ret_entry->port = (uint32_t)owner;
			ret_entry->is_static = (key & SLOT_STATIC) != 0;
			ret_entry->expires_ns =
				atomic_load_explicit(&s->expires_ns, memory_order_acquire);
			found = true;
		}
		*ret_passed = atomic_load_explicit(&b->passed, memory_order_acquire);
		if (atomic_load_explicit(&b->seq, memory_order_relaxed) == seq)
			return found;
		relax();
	}
}

// A moment between two buckets may show neither an entry's old nor its new place: then it was
// deleted and added again, and the answer is that of the instant between.
static bool fdb_read(
	const struct fdb *f, uint32_t segment, uint64_t mac, struct fdb_entry *ret_entry)
{
	uint32_t home = home_bucket(f, segment, mac);

	for (uint32_t i = 0; i <= f->bucket_mask; i++) {
		uint32_t passed;
		const struct fdb_bucket *b = &f->buckets[(home + i) & f->bucket_mask];

		if (bucket_read(b, segment, mac, ret_entry, &passed))
			return true;
		if (passed == 0)
			break;
	}
	return false;
}

bool fdb_lookup(const struct fdb *f, uint32_t segment, const struct mac *mac, uint64_t now_ns,
	uint32_t *ret_port)
{
	struct fdb_entry e;

	if (!fdb_read(f, segment, mac_word(mac), &e))
		return false;
	if (!e.is_static && now_ns >= e.expires_ns)
		return false;
	*ret_port = e.port;
	return true;
}

uint32_t fdb_count(const struct fdb *f)
{
	return atomic_load_explicit(&f->count, memory_order_relaxed);
}

// ---- writers; all below hold the lock unless they say otherwise ----

static bool port_at_limit(const struct fdb *f, uint32_t port, uint32_t limit)
{
	return port > PORT_MAX ||
	       atomic_load_explicit(&f->learned[port], memory_order_relaxed) >= limit;
}

static void add(_Atomic uint32_t *counter, uint32_t delta)
{
	// Not a read-modify-write: the lock keeps other writers out.
	uint32_t v = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, v + delta, memory_order_relaxed);
}

static struct fdb_slot *slot_at(struct fdb *f, const struct fdb_place *at)
{
	return &f->buckets[at->bucket].slots[at->slot];
}

// Changes one slot so that a reader sees all of it or nothing; keeps the learned counters right.
static void slot_write(struct fdb *f, const struct fdb_place *at, uint64_t owner, uint64_t key,
	uint64_t expires_ns)
{
	struct fdb_bucket *b = &f->buckets[at->bucket];
	struct fdb_slot *s = &b->slots[at->slot];
	uint32_t seq = atomic_load_explicit(&b->seq, memory_order_relaxed);
	uint64_t old_key = load(&s->key);

	if ((old_key & (SLOT_USED | SLOT_STATIC)) == SLOT_USED)
		add(&f->learned[(uint32_t)load(&s->owner)], UINT32_MAX);
	if ((key & (SLOT_USED | SLOT_STATIC)) == SLOT_USED)
		add(&f->learned[(uint32_t)owner], 1);

	atomic_store_explicit(&b->seq, seq + 1, memory_order_relaxed);
	// Release: whoever sees one of these words sees the odd counter too.
	atomic_store_explicit(&s->key, key, memory_order_release);
	atomic_store_explicit(&s->owner, owner, memory_order_release);
	atomic_store_explicit(&s->expires_ns, expires_ns, memory_order_release);
	atomic_store_explicit(&b->seq, seq + 2, memory_order_release);
}

// Counts an entry that lives `from`..`to` away from home as passing every bucket before its own.
static void count_passing(struct fdb *f, const struct fdb_place *at, uint32_t delta)
{
	for (uint32_t b = at->home; b != at->bucket; b = (b + 1) & f->bucket_mask)
		add(&f->buckets[b].passed, delta);
}

static bool place_find(struct fdb *f, uint32_t segment, uint64_t mac, struct fdb_place *ret_at)
{
	uint32_t home = home_bucket(f, segment, mac);

	for (uint32_t i = 0; i <= f->bucket_mask; i++) {
		uint32_t bucket = (home + i) & f->bucket_mask;

		for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
			const struct fdb_slot *s = &f->buckets[bucket].slots[j];

			if ((load(&s->key) & (MAC_MASK | SLOT_USED)) == (mac | SLOT_USED) &&
				load(&s->owner) >> 32 == segment) {
				*ret_at = (struct fdb_place){ home, bucket, j };
				return true;
			}
		}
		if (atomic_load_explicit(&f->buckets[bucket].passed, memory_order_relaxed) == 0)
			break;
	}
	return false;
}

static int entry_insert(struct fdb *f, uint32_t segment, uint64_t mac, uint32_t port,
	uint64_t flags, uint64_t expires_ns)
{
	struct fdb_place at = { .home = home_bucket(f, segment, mac) };

	if (fdb_count(f) >= f->capacity)
		return -ENOSPC;
	// A fifth of the slots is free, so this ends.
	for (at.bucket = at.home;; at.bucket = (at.bucket + 1) & f->bucket_mask) {
		for (at.slot = 0; at.slot < BUCKET_SLOTS; at.slot++) {
			if (load(&slot_at(f, &at)->key) != 0)
				continue;
			count_passing(f, &at, 1);
			slot_write(f, &at, (uint64_t)segment << 32 | port, mac | SLOT_USED | flags,
				expires_ns);
			add(&f->count, 1);
			return 0;
		}
	}
}

static void entry_remove(struct fdb *f, const struct fdb_place *at)
{
	slot_write(f, at, 0, 0, 0);
	count_passing(f, at, UINT32_MAX);
	add(&f->count, UINT32_MAX);
}

// Where the entry in a used slot would like to be.
static struct fdb_place place_of_slot(struct fdb *f, uint32_t bucket, unsigned slot)
{
	const struct fdb_slot *s = &f->buckets[bucket].slots[slot];
	uint32_t segment = (uint32_t)(load(&s->owner) >> 32);

	return (struct fdb_place){ home_bucket(f, segment, load(&s->key) & MAC_MASK), bucket,
		slot };
}

// Makes room for a static entry at the cost of a learned one: learning must not be able to keep
// the configuration out.
static bool evict_learned(struct fdb *f, uint32_t from)
{
	for (uint32_t i = 0; i <= f->bucket_mask; i++) {
		uint32_t bucket = (from + i) & f->bucket_mask;

		for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
			uint64_t key = load(&f->buckets[bucket].slots[j].key);

			if ((key & (SLOT_USED | SLOT_STATIC)) != SLOT_USED)
				continue;
			struct fdb_place at = place_of_slot(f, bucket, j);
			entry_remove(f, &at);
			return true;
		}
	}
	return false;
}

static int set_static_locked(struct fdb *f, uint32_t segment, uint64_t mac, uint32_t port)
{
	struct fdb_place at;
	uint64_t owner = (uint64_t)segment << 32 | port;

	if (place_find(f, segment, mac, &at)) {
		const struct fdb_slot *s = slot_at(f, &at);

		if ((load(&s->key) & SLOT_STATIC) != 0)
			return load(&s->owner) == owner ? 0 : -EEXIST;
		slot_write(f, &at, owner, mac | SLOT_USED | SLOT_STATIC, UINT64_MAX);
		return 0;
	}
	if (fdb_count(f) >= f->capacity && !evict_learned(f, home_bucket(f, segment, mac)))
		return -ENOSPC;
	return entry_insert(f, segment, mac, port, SLOT_STATIC, UINT64_MAX);
}

int fdb_set_static(struct fdb *f, uint32_t segment, const struct mac *mac, uint32_t port)
{
	fdb_lock(f);
	int r = set_static_locked(f, segment, mac_word(mac), port);
	fdb_unlock(f);
	return r;
}

int fdb_del_static(struct fdb *f, uint32_t segment, const struct mac *mac)
{
	struct fdb_place at;
	int r = -ENOENT;

	fdb_lock(f);
	if (place_find(f, segment, mac_word(mac), &at) &&
		(load(&slot_at(f, &at)->key) & SLOT_STATIC) != 0) {
		entry_remove(f, &at);
		r = 0;
	}
	fdb_unlock(f);
	return r;
}

static enum fdb_learn_result learn_locked(struct fdb *f, uint32_t segment, uint64_t mac,
	uint32_t port, uint32_t limit, uint64_t now_ns, uint64_t expires_ns)
{
	struct fdb_place at;

	if (!place_find(f, segment, mac, &at)) {
		if (port_at_limit(f, port, limit))
			return FDB_LIMIT;
		return entry_insert(f, segment, mac, port, 0, expires_ns) == 0 ? FDB_LEARNED
									       : FDB_FULL;
	}

	const struct fdb_slot *s = slot_at(f, &at);
	uint32_t old_port = (uint32_t)load(&s->owner);
	uint64_t old_expires_ns = load(&s->expires_ns);

	if ((load(&s->key) & SLOT_STATIC) != 0)
		return old_port == port ? FDB_KNOWN : FDB_STATIC;
	if (old_port != port && port_at_limit(f, port, limit))
		return FDB_LIMIT;
	// Another worker's clock may be ahead: never shorten a life on the same port.
	if (old_port == port && old_expires_ns > expires_ns)
		expires_ns = old_expires_ns;
	slot_write(f, &at, (uint64_t)segment << 32 | port, mac | SLOT_USED, expires_ns);
	if (now_ns >= old_expires_ns)
		return FDB_LEARNED;
	return old_port == port ? FDB_KNOWN : FDB_MOVED;
}

enum fdb_learn_result fdb_learn(struct fdb *f, uint32_t segment, const struct mac *mac,
	uint32_t port, uint32_t limit, uint64_t now_ns, uint64_t max_age_ns)
{
	uint64_t word = mac_word(mac);
	uint64_t expires_ns = max_age_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + max_age_ns;
	struct fdb_entry e;

	// Without the lock: what repeats from frame to frame, attack or not.
	bool found = fdb_read(f, segment, word, &e);
	if (found && e.is_static)
		return e.port == port ? FDB_KNOWN : FDB_STATIC;
	if (found && e.port == port && now_ns < e.expires_ns) {
		uint64_t slack_ns = max_age_ns / 16;

		if (slack_ns > REFRESH_MAX_NS)
			slack_ns = REFRESH_MAX_NS;
		if (expires_ns <= e.expires_ns || expires_ns - e.expires_ns <= slack_ns)
			return FDB_KNOWN;
	} else if (!(found && e.port == port) && port_at_limit(f, port, limit)) {
		return FDB_LIMIT;
	}

	fdb_lock(f);
	enum fdb_learn_result r = learn_locked(f, segment, word, port, limit, now_ns, expires_ns);
	fdb_unlock(f);
	return r;
}

static bool slot_expired(const struct fdb_slot *s, uint64_t now_ns)
{
	return (load(&s->key) & (SLOT_USED | SLOT_STATIC)) == SLOT_USED &&
	       now_ns >= load(&s->expires_ns);
}

static bool slot_of_port(const struct fdb_slot *s, uint32_t port)
{
	return (load(&s->key) & SLOT_USED) != 0 && (uint32_t)load(&s->owner) == port;
}

void fdb_age(struct fdb *f, uint64_t now_ns, uint32_t budget)
{
	uint32_t n = budget / BUCKET_SLOTS + (budget % BUCKET_SLOTS != 0);

	if (n > f->bucket_mask + 1)
		n = f->bucket_mask + 1;
	for (; n > 0; n--, f->age_cursor = (f->age_cursor + 1) & f->bucket_mask) {
		for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
			const struct fdb_slot *s = &f->buckets[f->age_cursor].slots[i];

			// A glance without the lock, the decision with it.
			if (!slot_expired(s, now_ns))
				continue;
			fdb_lock(f);
			if (slot_expired(s, now_ns)) {
				struct fdb_place at = place_of_slot(f, f->age_cursor, i);
				entry_remove(f, &at);
			}
			fdb_unlock(f);
		}
	}
}

void fdb_flush_port(struct fdb *f, uint32_t port)
{
	for (uint32_t b = 0; b <= f->bucket_mask; b++) {
		for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
			const struct fdb_slot *s = &f->buckets[b].slots[i];

			if (!slot_of_port(s, port))
				continue;
			fdb_lock(f);
			if (slot_of_port(s, port)) {
				struct fdb_place at = place_of_slot(f, b, i);
				entry_remove(f, &at);
			}
			fdb_unlock(f);
		}
	}
}
