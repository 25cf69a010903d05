// SPDX-License-Identifier: BSD-3-Clause
// The switch's control thread: serves control/proto.h to insulad, hears the workers, keeps house.
// One thread; nothing here is touched by workers.
#pragma once

#include <time.h>
#include "control/proto_io.h"
#include "vswitch/message.h"
#include "vswitch/parked.h"
#include "vswitch/progress.h"
#include "vswitch/switch.h"
#include "vswitch/tables.h"

struct control {
	struct switch_ *sw;
	int epoll_fd, listen_fd, conn_fd;
	bool stop;
	uint64_t started_ns; // CLOCK_BOOTTIME
	uint32_t n_staged;
	struct policy_part *staged[POLICY_MAX_SECTIONS]; // put, not yet committed
	struct parking *parking; // dynamic clients that wait for insulad
	struct tables *tables;
	uint64_t reclaim_token; // grace period after which removed sessions may be reused
	uint64_t kept_house_ns;
	struct progress progress;
	struct proto_message *in; // the request being served
	uint64_t complained_ns; // when the last malformed message was spoken of
	unsigned n_malformed; // since then, in silence
};

// Serves until SIGTERM arrives on signal_fd. 0 or -errno.
int control_run(struct switch_ *sw, struct tables *tables, int listen_fd, int signal_fd);

// Replies. control_reply_status: the usual one.
void control_reply(struct control *c, const void *msg, const int *fds, unsigned n_fds);
void control_reply_status(struct control *c, int error, const char *text);
// Sends an event; lost (-errno) when nobody is connected or the socket is full.
int control_event(struct control *c, void *msg, uint16_t type, size_t size);

// control_ports.c
void control_port_add(struct control *c);
void control_port_fds(struct control *c);
// control_policy.c
void control_section_put(struct control *c);
void control_policy_commit(struct control *c);
void control_staged_drop(struct control *c);
// control_lists.c
void control_port_list(struct control *c);
void control_port_stats(struct control *c);
void control_drops(struct control *c);
void control_sessions(struct control *c);
void control_lease_list(struct control *c);
// control_leases.c
void control_lease_answer(struct control *c);
void control_lease_set(struct control *c);
void control_from_workers(struct control *c);
void control_leases_expire(struct control *c, uint64_t now_ns);
// housekeeping.c
void control_keep_house(struct control *c);
// Tells insulad if the port's other end came, went, or died since it was last told.
void control_watch_port(struct control *c, struct port *p);
// Who has just connected was told nothing: what came, went or died meanwhile is told again.
void control_forget_told(struct control *c);
// How long the loop may sleep, in ms.
int control_house_timeout(const struct control *c);

static inline uint64_t control_now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
