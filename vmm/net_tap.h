// SPDX-License-Identifier: BSD-3-Clause
// A network card's rings carried to and from a tap of the host's, one thread for each pair of
// queues. Offloads pass through: the tap's header is the guest's. start and stop are called with
// the machine's lock held; a thread touches its two rings between them only, and never takes the
// lock.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/confine.h"
#include "vmm/error.h"
#include "vmm/rate.h"
#include "vmm/virtio.h"
#include "vmm/virtq.h"

enum { NET_TAP_PAIRS = 16, NET_TAP_FRAME = 12 + 14 + 4 + 65535 };

// A direction that takes no more frames before `until_ns` (0: it does).
struct net_tap_way {
	struct rate *rate; // the card's, constant
	uint64_t until_ns;
};

struct net_tap_pair {
	struct virtio_device *device;
	int tap; // a queue of the tap
	int stop; // eventfd
	pthread_t thread; // constant, as are those above
	bool begun; // it has one; the device thread's

	pthread_mutex_t lock; // of these three
	pthread_cond_t changed;
	enum { NET_TAP_REST, NET_TAP_CARRY, NET_TAP_LEAVE } want;
	bool rests; // its thread touches none of what follows

	struct virtq rx, tx;
	struct net_tap_way in, out;
	uint16_t header; // bytes before a frame
	bool mergeable;
	uint32_t held; // bytes of `frame` that wait for the guest's buffers
	uint8_t frame[NET_TAP_FRAME];
};

struct net_tap {
	struct virtio_device *device;
	uint16_t n_pairs, n_running;
	struct net_tap_pair *pairs;
	struct rate in, out;
};

// Opens the tap, which is made if it is not there (that takes CAP_NET_ADMIN).
int net_tap_init(struct net_tap *t, struct virtio_device *device, const char *name, uint16_t pairs,
	const struct rate_limits *limits, struct error *e);
void net_tap_free(struct net_tap *t);
// Starts the threads, which rest.
int net_tap_begin(struct net_tap *t, const struct confine *confine);
// The features are agreed on, the rings ready.
int net_tap_start(struct net_tap *t);
// Frames come by the first `pairs` of them only.
void net_tap_use(struct net_tap *t, uint16_t pairs);
// Other limits, each way; seen within a tenth of a second.
void net_tap_limit(struct net_tap *t, const struct rate_limits *limits);
// From the device's hold.
void net_tap_hold(struct net_tap *t, bool held);
void net_tap_stop(struct net_tap *t);
