// SPDX-License-Identifier: BSD-3-Clause
// Inner side of port kind vhost-user, shared by vhost_port.c (ops: workers and control thread),
// vhost_events.c (librte_vhost's callbacks: its event thread, its reconnect thread, and the control
// thread while it unregisters), vhost_filter.c (each message before and after librte_vhost) and
// vhost_park.c (the event thread stands still).
// librte_vhost is scaffolding: nothing outside vswitch/vhost_* names it.
//
// Locks. A vring's `lock` is held by the worker over each call into librte_vhost for that vring, so
// that destroy_device, which takes the locks of all vrings to clear `vid`, returns only when no
// worker is inside; after that librte_vhost may free the device. Order: our lock, then
// librte_vhost's access lock. vring_state_changed and the message filter run WITH the access locks
// held: they touch atomics and epoll sets only and never take ours.
#pragma once

#include <rte_spinlock.h>
#include <rte_vhost.h>
#include "vswitch/port.h"

struct vhost_vring {
	rte_spinlock_t lock;
	int vid; // device attached, or -1; under lock
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
	_Atomic uint32_t refused; // messages that closed a connection (vhost_filter.c)
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

// vhost_park.c. Control thread: librte_vhost's event thread stands still from a vhost_park that
// gave true to vhost_unpark. `folder` is for a socket; -errno if there can be none.
int vhost_park_open(const char *folder);
void vhost_park_close(void);
bool vhost_park(void);
void vhost_unpark(void);
bool vhost_parked(const char *path); // the event thread, of a connection to `path`

// vhost_filter.c. A connection begins: its messages are looked at from now on.
void vhost_filter_start(int vid);
