// SPDX-License-Identifier: BSD-3-Clause
// The ports that are: devices, the queue fds insulad keeps a duplicate of, and whether the switch
// has them. Made and removed by apply.c; looked after here when a device vanishes or the switch
// comes back. Main thread only.
#pragma once

#include "control/port_spec.h"
#include "control/switch_client.h"

struct daemon;

#define PORT_TEMPORARY_PREFIX "insula-new"
#define PORT_WAITS_FOR_DEVICE "waits for another DPDK device, which does not answer"

enum {
	PORT_REASON_SIZE = 768, // what speaks against each candidate, and what to do
	// A DPDK device whose making fails after this holds up the switch's control thread and
	// insulad: one at a time, and not more than a tenth of the time.
	PORT_SLOW_MS = 500,
};

struct port {
	uint32_t id;
	char name[DESIRED_NAME_SIZE];
	struct port_spec want[PORT_MAX_CANDIDATES];
	unsigned n_want, chosen; // candidate in use
	unsigned missing; // bit i: what candidate i needs was not there
	int fds[PROTO_MAX_QUEUES];
	unsigned n_fds;
	int ifindex; // packet: of the interface it was opened on last; 0 = none yet
	char temporary
		[16]; // its tap's name until another device has let go of the real one; "" = none
	bool in_switch;
	bool up; // as the switch says: the other end is there
	bool sleepless; // as the switch says: it has to be polled
	bool set_down; // its tap, by someone else
	bool broken; // its device is gone; repaired by and by
	uint32_t last_try_ms; // DPDK device: what the switch took to make it, or to fail
	uint64_t tried_ns; // and when
	bool unmade; // broken: none of its candidates could be had, so any is as good as the first
	bool adopt; // the device may be there from an earlier life of insulad
	bool tap_made; // its tap was not there before
	bool replaced; // its tap is another than the one that was noted: that may be elsewhere
	char fallback[PORT_REASON_SIZE]; // why not the first candidate; "" = it is the first
	char trouble[PORT_REASON_SIZE]; // broken: what is wrong
	char oddity[256]; // not broken, but not as it was made either
	bool renamed; // its interface, by someone else
	bool mtu_changed; // its interface's, by someone else: the next apply sets it back
};

struct ports {
	struct port *by_id[POLICY_MAX_PORT_ID + 1];
	uint32_t max_id; // highest ever used
};

struct port *port_new(const struct desired_port *p, const char *run_dir, unsigned workers);
void port_free(struct port *p); // closes its fds; non-persistent devices go with them

static inline const struct port_spec *port_spec_of(const struct port *p)
{
	return &p->want[p->chosen];
}

// Opens the device of candidate p->chosen. A donor's tap (same device, not in the switch now) is
// taken over: its fds are duplicated. 0, or -errno with a sentence in err.
int port_open(
	struct daemon *d, struct port *p, const struct port *donor, char *err, size_t err_size);
// Closes the fds of a port that is not in the switch. A tap goes unless it is persistent.
void port_close(struct port *p);
// A packet socket's interface: has somebody renamed it, or changed its MTU? Then that is its
// oddity.
void port_look_at_link(struct port *p);
void port_set_mtu_back(struct port *p);
int port_add(struct daemon *d, struct port *p, char *err, size_t err_size); // to the switch
int port_del(struct daemon *d, struct port *p, char *err, size_t err_size); // from it
// Opens and adds, falling from one candidate to the next. nat_user: the uplink that has nat, which
// this one cannot fall back to then; NULL = it may. err: every candidate's reason.
int port_make(struct daemon *d, struct port *p, const struct port *donor, const char *nat_user,
	char *err, size_t err_size);
// The same for a port that port_make failed to make, but for nat: that needs another policy, which
// is an apply's to make.
int port_remake(struct daemon *d, struct port *p, const char *nat_user, char *err, size_t err_size);
// Can the candidate be had, as far as can be seen? 0, or -errno with the sentence.
int port_check_candidate(struct daemon *d, const struct port *p, const struct port_spec *s,
	const struct port *donor, char *err, size_t err_size);
// The candidate port_make would choose, as far as can be seen without making anything.
unsigned port_expect(const struct port *p, const char *nat_user);
// What would port_make come to, as far as can be seen? The candidate, with what speaks against
// those before it in err; -errno with the sentence if it would fail.
int port_check(struct daemon *d, const struct port *p, const struct port *donor,
	const char *nat_user, char *err, size_t err_size);
// Deletes the taps of n ports (NULLs and other kinds are passed over), a namespace at a time. Their
// fds are dead then; what could not be deleted so goes with its last fd.
void ports_delete_taps(struct port *const *ports, unsigned n);
// The reason is kept for an insulad that adopts the port; a port without one has none kept.
void port_keep_fallback(struct daemon *d, const struct port *p);
void port_recall_fallback(struct daemon *d, struct port *p);
// What was missing when it fell back is there now. Never so for DPDK devices but PCI devices: only
// trying would tell.
bool port_may_improve(const struct port *p);
// What the broken port needs is missing: the candidate an apply would fall back to, as far as can
// be seen, and the repair would not. 0 = there is none.
unsigned port_may_fall_back(struct daemon *d, const struct port *p, const char *nat_user);
// The name is free now: the tap takes it, and comes up. On failure `temporary` stays as it is.
int port_take_name(struct port *p, char *err, size_t err_size);
void port_set_persistent(struct port *p, bool on);
// The port is gone for good (its fds are closed): puts back what it changed on the host, but for
// what another port in `ports` uses.
void port_restore_host(struct daemon *d, const struct ports *ports, const struct port *p);

// The living switch's port, whose fds it gives back; its device is there.
int port_adopt(struct daemon *d, struct port *p, const struct proto_port_entry *e);
void ports_put(struct ports *ports, struct port *p);
// A live switch's ports that are desired are taken over with their fds; others are deleted.
int ports_adopt(struct daemon *d, const struct desired *desired, char *err, size_t err_size);
// The connection broke in the middle of something: gives the living switch what it lacks and takes
// from it what it should not have.
int ports_resync(struct daemon *d, char *err, size_t err_size);
// The switch was started anew: it has none.
void ports_all_out(struct daemon *d);
// Gives it those it has not, but for DPDK devices: these may take seconds, and are for
// ports_add_devices, when the others forward already. That one leaves what is behind a slow one to
// ports_repair.
void ports_add_all(struct daemon *d);
void ports_add_devices(struct daemon *d);
bool port_is_device(const struct port *p); // made of a DPDK device, as chosen
bool port_is_slow(const struct port *p); // its last try says so
// It is repaired by and by.
void port_mark_broken(struct daemon *d, struct port *p, const char *why);
// PROTO_EVENT_PORT
void ports_on_event(struct daemon *d, const struct proto_port_event *e);
// From linkwatch: an interface of our own namespace.
void ports_on_link(struct daemon *d, const char *ifname, bool gone);
// Tries broken ports again, and again in a second while there are any; slow DPDK devices one at a
// time, and the next after ten times what the last has taken.
void ports_repair(void *arg /* struct daemon */);
