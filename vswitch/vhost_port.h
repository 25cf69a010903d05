// SPDX-License-Identifier: BSD-3-Clause
// Inner side of port kind vhost-user, shared by vhost_port.c (ops: workers and control thread),
// vhost_events.c (librte_vhost's callbacks: its event thread, its reconnect thread, and the control
// thread while it unregisters), vhost_filter.c (each message before and after librte_vhost),
// vhost_memory.c (what the far end sent as its memory, and its going away),
// vhost_rings.c (rings, to and from the workers) and vhost_park.c (the event thread stands still).
// librte_vhost has the socket, the messages and the memory map; the rings are ours (virtq.h).
// Nothing outside vswitch/vhost_* names it.
//
// Locks. A vring's `lock` is held by the worker over each burst. Whoever is about to change what a
// ring rests on (its memory, addresses, features, call fd, the device itself) takes the ring under
// that lock, and gives it back when librte_vhost has made the change: a worker never sees a ring
// half changed, nor memory that is gone. Workers call nothing of librte_vhost; its access locks may
// be held while ours are taken.
#pragma once

#include <rte_spinlock.h>
#include <rte_vhost.h>
#include "vswitch/virtq.h"

struct vhost_vring {
	rte_spinlock_t lock;
	bool on; // the workers have it; under lock
	struct virtq q; // while on; under lock
} __attribute__((aligned(64)));

// Port queue q is vring 2q + 1 for rx (the guest transmits there) and 2q for tx.
struct vhost_queue {
	struct vhost_vring rx, tx;
	// Becomes readable when the queue wants polling: it holds `wake_fd` and, edge-triggered,
	// our duplicate of the guest's kick eventfd. It lives as long as the port, so workers never
	// see the fds change at a reconnect, and the guest's fd, which may be anything, is never
	// read.
	int epoll_fd; // immutable
	int wake_fd; // immutable; eventfd, written at attach: "poll each queue once"
	int kick_fd; // our duplicate or -1; callback threads (serialised by librte_vhost)
	_Atomic uint32_t woken; // wake_fd was written since the last drain
	uint32_t n_quiet; // disarms without a drain; the polling worker's
};

struct vhost_port {
	struct port *port; // immutable
	char path[108]; // immutable; size of sun_path
	bool is_server; // immutable
	_Atomic uint32_t
		enabled; // bit per vring of the attached device; callbacks write, workers read
	// Bit per vring: broke the rules since the device attached (virtq.fault). Workers add,
	// callbacks clear.
	_Atomic uint32_t broken;
	_Atomic uint32_t refused; // messages that closed a connection (vhost_filter.c)
	// Memory of the attached device is gone: its rings stop. vhost_memory.c sets, on any
	// thread; callbacks clear.
	_Atomic bool torn;
	int vid; // attached device or -1; callback threads only
	unsigned n_connections; // callback threads only
	uint64_t connect_window_ns; // rate limit of connects; callback threads only
	unsigned n_connects; // in this window
	struct vhost_port *next; // registry, under its mutex
	struct vhost_queue queues[PORT_MAX_QUEUES];
};

// vhost_events.c. Control thread.
int vhost_events_add(struct vhost_port *vp); // -EEXIST: another port has this path
bool vhost_events_remove(struct vhost_port *vp); // true: it was the last
extern const struct rte_vhost_device_ops vhost_device_ops;
struct vhost_port *vhost_events_port(int vid); // NULL if unknown

// vhost_rings.c. Callback threads; vp->vid is the device. take: from the workers, the index goes to
// librte_vhost; give: to the workers, as librte_vhost has the rings now, those that are enabled.
void vhost_rings_take(struct vhost_port *vp);
void vhost_rings_take_one(struct vhost_port *vp, unsigned vring);
void vhost_rings_give(struct vhost_port *vp);
void vhost_rings_give_one(struct vhost_port *vp, unsigned vring);

// vhost_park.c. Control thread: librte_vhost's event thread stands still from a vhost_park that
// gave true to vhost_unpark. `folder` is for a socket; -errno if there can be none.
int vhost_park_open(const char *folder);
void vhost_park_close(void);
bool vhost_park(void);
void vhost_unpark(void);
bool vhost_parked(const char *path); // the event thread, of a connection to `path`

// vhost_filter.c. A connection begins: its messages are looked at from now on.
void vhost_filter_start(int vid);

struct vhost_region { // of SET_MEM_TABLE
	uint64_t guest_address, size, user_address, mmap_offset;
};

// vhost_memory.c. Event thread. ok: librte_vhost may map it; learn: it has; forget: it will unmap
// it; begin, end: around what it does for a message.
void vhost_memory_start(int vid);
bool vhost_memory_ok(int vid, const struct vhost_region *regions, const int *fds, uint32_t n);
bool vhost_memory_learn(int vid);
void vhost_memory_forget(int vid);
const struct virtq_memory *vhost_memory(int vid); // NULL: none is mapped
void vhost_memory_begin(int vid);
void vhost_memory_end(void);
bool vhost_memory_torn(int vid); // some of it went away
void vhost_memory_catch(void); // control thread: from now on that is survived
