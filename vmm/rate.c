// SPDX-License-Identifier: BSD-3-Clause
// See rate.h.
#include "vmm/rate.h"

#include <stdlib.h>
#include <time.h>

static const int64_t SECOND_NS = 1000000000;
enum { BURST_PARTS = 10 };

static __int128 fullest(const struct rate_bucket *b)
{
	const uint64_t burst = b->limit.burst ? b->limit.burst : b->limit.per_s / BURST_PARTS;

	return (__int128)(burst ? burst : 1) * SECOND_NS;
}

static void fill(struct rate_bucket *b, uint64_t now_ns)
{
	const uint64_t passed = now_ns > b->at_ns ? now_ns - b->at_ns : 0;
	const __int128 full = fullest(b);

	b->level += (__int128)passed * b->limit.per_s;
	b->level = b->level < full ? b->level : full;
	b->at_ns += passed;
}

// Until it is out of debt.
static uint64_t wait_of(const struct rate_bucket *b)
{
	if (!b->limit.per_s || b->level > 0)
		return 0;
	return (uint64_t)(-b->level / b->limit.per_s) + 1;
}

static void pay(struct rate_bucket *b, uint64_t tokens)
{
	if (b->limit.per_s)
		b->level -= (__int128)tokens * SECOND_NS;
}

static void bucket_init(struct rate_bucket *b, const struct rate_limit *limit, uint64_t now_ns)
{
	*b = (struct rate_bucket){ .limit = *limit, .at_ns = now_ns };
	b->level = fullest(b);
}

// A debt that is to be paid at another rate takes as long as it would have.
static void bucket_set(struct rate_bucket *b, const struct rate_limit *limit, uint64_t now_ns)
{
	if (!b->limit.per_s || !limit->per_s) {
		bucket_init(b, limit, now_ns);
		return;
	}
	fill(b, now_ns);
	if (b->level < 0)
		b->level = b->level / b->limit.per_s * limit->per_s;
	b->limit = *limit;
	fill(b, now_ns);
}

static void set_limited(struct rate *r)
{
	__atomic_store_n(&r->limited, r->bytes.limit.per_s || r->ops.limit.per_s, __ATOMIC_RELAXED);
}

void rate_init(struct rate *r, const struct rate_limits *limits, uint64_t now_ns)
{
	pthread_mutex_init(&r->lock, NULL);
	bucket_init(&r->bytes, &limits->bytes, now_ns);
	bucket_init(&r->ops, &limits->ops, now_ns);
	set_limited(r);
}

void rate_free(struct rate *r)
{
	pthread_mutex_destroy(&r->lock);
}

void rate_set(struct rate *r, const struct rate_limits *limits, uint64_t now_ns)
{
	pthread_mutex_lock(&r->lock);
	bucket_set(&r->bytes, &limits->bytes, now_ns);
	bucket_set(&r->ops, &limits->ops, now_ns);
	set_limited(r);
	pthread_mutex_unlock(&r->lock);
}

void rate_get(struct rate *r, struct rate_limits *ret_limits)
{
	pthread_mutex_lock(&r->lock);
	*ret_limits = (struct rate_limits){ r->bytes.limit, r->ops.limit };
	pthread_mutex_unlock(&r->lock);
}

uint64_t rate_begin(struct rate *r, uint64_t now_ns)
{
	uint64_t bytes, ops;

	pthread_mutex_lock(&r->lock);
	fill(&r->bytes, now_ns);
	fill(&r->ops, now_ns);
	bytes = wait_of(&r->bytes);
	ops = wait_of(&r->ops);
	if (!bytes && !ops)
		pay(&r->ops, 1);
	pthread_mutex_unlock(&r->lock);
	return bytes > ops ? bytes : ops;
}

void rate_pay(struct rate *r, uint64_t bytes, uint64_t now_ns)
{
	pthread_mutex_lock(&r->lock);
	fill(&r->bytes, now_ns);
	pay(&r->bytes, bytes);
	pthread_mutex_unlock(&r->lock);
}

void rate_give_back(struct rate *r)
{
	if (!__atomic_load_n(&r->limited, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&r->lock);
	if (r->ops.limit.per_s)
		r->ops.level += SECOND_NS;
	pthread_mutex_unlock(&r->lock);
}

bool rate_limits_set(struct rate_limits *l, unsigned int nth, uint64_t number)
{
	uint64_t *const fields[RATE_WORDS] = { &l->bytes.per_s, &l->ops.per_s, &l->bytes.burst,
		&l->ops.burst };

	if (nth >= RATE_WORDS || number > RATE_MOST)
		return false;
	*fields[nth] = number;
	return true;
}

bool rate_limits_parse(struct rate_limits *l, unsigned int nth, const char *text)
{
	char *end;
	unsigned long long number;

	if (!text || *text < '0' || *text > '9')
		return false;
	number = strtoull(text, &end, 10); // ULLONG_MAX if it is too large
	return !*end && rate_limits_set(l, nth, number);
}

bool rate_limits_any(const struct rate_limits *l)
{
	return l->bytes.per_s || l->ops.per_s || l->bytes.burst || l->ops.burst;
}

bool rate_limits_sound(const struct rate_limits *l)
{
	return (l->bytes.per_s || !l->bytes.burst) && (l->ops.per_s || !l->ops.burst);
}

uint64_t rate_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
