// SPDX-License-Identifier: BSD-3-Clause
// Limits of a device: bytes and operations per second, by one token bucket each. Who wants to do
// something goes on if neither bucket is in debt, and pays then what it costs, which may bring a
// bucket into debt: so nothing is too large, and in the long run it is the rate that counts. Time
// is the caller's. From any thread; queues of one device share its buckets.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

// per_s 0: no limit. burst: what may be done at once after a rest; 0 is taken for a tenth of a
// second's worth.
struct rate_limit {
	uint64_t per_s, burst;
};

struct rate_limits {
	struct rate_limit bytes, ops;
};

// What limits are called on the command line and by the API, in the order of rate_limits_set.
#define RATE_NAMES "bytes_per_s", "ops_per_s", "burst_bytes", "burst_ops"
enum { RATE_WORDS = 4 };
// Up to 10^12 each: 1 TB/s.
#define RATE_MOST 1000000000000ull

// Billionths of a token: a nanosecond at one token per second.
struct rate_bucket {
	struct rate_limit limit;
	__int128 level;
	uint64_t at_ns; // when it was so
};

struct rate {
	pthread_mutex_t lock; // of both
	struct rate_bucket bytes, ops;
	bool limited; // atomic: there is a limit
};

// Both buckets are full.
void rate_init(struct rate *r, const struct rate_limits *limits, uint64_t now_ns);
void rate_free(struct rate *r);
// From now on; what is left in a bucket, or its debt in time, stays.
void rate_set(struct rate *r, const struct rate_limits *limits, uint64_t now_ns);
void rate_get(struct rate *r, struct rate_limits *ret_limits);
// 0: one operation may begin, and is paid for. Else in how many nanoseconds to ask again.
uint64_t rate_begin(struct rate *r, uint64_t now_ns);
// What it is about, once that is known.
void rate_pay(struct rate *r, uint64_t bytes, uint64_t now_ns);
// It was nothing, and begins later.
void rate_give_back(struct rate *r);
// The nth of RATE_NAMES; false if there is no such number, or it is too large.
bool rate_limits_set(struct rate_limits *l, unsigned int nth, uint64_t number);
// The same from text; NULL is none.
bool rate_limits_parse(struct rate_limits *l, unsigned int nth, const char *text);
bool rate_limits_any(const struct rate_limits *l);
// A burst without its rate is nothing.
bool rate_limits_sound(const struct rate_limits *l);
// CLOCK_MONOTONIC.
uint64_t rate_now_ns(void);
