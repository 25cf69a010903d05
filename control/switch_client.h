// SPDX-License-Identifier: BSD-3-Clause
// insulad's end of the control protocol: requests that wait for their reply (2 s at most, a DPDK
// device's 8 s), events handed on from the loop. A connection that breaks, lies or stays silent is
// closed and reported once. Main thread only.
#pragma once

#include <sys/types.h>
#include "control/loop.h"
#include "control/proto_io.h"

struct switch_client;

struct switch_client_handler {
	void (*event)(void *arg, const struct proto_header *event); // checked; whole by its type
	void (*batch_end)(void *arg); // all events that were waiting have been given
	void (*gone)(void *arg, const char *reason); // free the client; from the loop
	void *arg;
};

// Connects to the socket. 0 with the peer's pid, or -errno (-ENOENT, -ECONNREFUSED: nobody there).
int switch_client_open(struct loop *l, const char *path,
	const struct switch_client_handler *handler, struct switch_client **ret_client,
	pid_t *ret_pid);
void switch_client_free(struct switch_client *c);
// Which version of the protocol is spoken there, when it is not ours: asked by a connection for
// each, from the latest former one to the first, then some to come. -ENOENT: none of them; else
// -errno.
int switch_client_find_version(const char *path);

// Every request: 0; the switch's own -errno with its sentence in err; -EPIPE, -ETIMEDOUT or
// -EBADMSG when the connection failed. NULL for the client = -ENOTCONN.
int switch_hello(
	struct switch_client *c, struct proto_hello *ret_hello, char *err, size_t err_size);
// request->h is filled here. The fds stay the caller's.
int switch_port_add(struct switch_client *c, struct proto_port_add *request, const int *fds,
	unsigned n_fds, char *err, size_t err_size);
int switch_port_del(struct switch_client *c, uint32_t id, char *err, size_t err_size);
int switch_port_list(struct switch_client *c,
	void (*fn)(void *arg, const struct proto_port_entry *e), void *arg, char *err,
	size_t err_size);
// The port's queue fds; they are the caller's then.
int switch_port_fds(struct switch_client *c, uint32_t id, int ret_fds[PROTO_MAX_QUEUES],
	unsigned *ret_n, char *err, size_t err_size);
int switch_section_put(struct switch_client *c, const struct policy_section_ref *ref, int memfd,
	char *err, size_t err_size);
int switch_policy_commit(struct switch_client *c, int memfd, char *err, size_t err_size);
// Each worker goes by the policy last committed; -ETIMEDOUT also when one of them does not.
int switch_sync(struct switch_client *c, char *err, size_t err_size);
int switch_stats(struct switch_client *c, void (*fn)(void *arg, const struct proto_stats_entry *e),
	void *arg, char *err, size_t err_size);
// A page of them, by id, from this id on; *ret_next: where the next begins, 0 = it was the last. A
// page may be empty and not the last.
enum {
	SWITCH_SESSIONS_PAGE = (PROTO_MAX_SIZE - sizeof(struct proto_session_list)) /
			       sizeof(struct proto_session_entry)
};
int switch_sessions(struct switch_client *c, uint32_t from,
	struct proto_session_entry ret_page[SWITCH_SESSIONS_PAGE], unsigned *ret_n,
	uint32_t *ret_next, char *err, size_t err_size);
// The same of the dynamic leases in force, by their place in the switch's table.
enum {
	SWITCH_LEASES_PAGE = (PROTO_MAX_SIZE - sizeof(struct proto_lease_list)) /
			     sizeof(struct proto_lease_entry)
};
int switch_leases(struct switch_client *c, uint32_t from,
	struct proto_lease_entry ret_page[SWITCH_LEASES_PAGE], unsigned *ret_n, uint32_t *ret_next,
	char *err, size_t err_size);
int switch_drops(struct switch_client *c, uint32_t id,
	void (*fn)(void *arg, const char *name, uint64_t count), void *arg, char *err,
	size_t err_size);
// h.type and h.size say which; the rest of h is filled on the way.
struct switch_lease_request {
	union {
		struct proto_header h;
		struct proto_lease_set set;
		struct proto_lease_answer answer;
	};
	bool told; // the switch has replied
	bool refused; // so
};
// Many of them in their order, some ahead of the replies to those before. `refused` is told of each
// that the switch refuses, and once, with NULL, of a connection that fails, which is the only error
// returned.
int switch_lease_requests(struct switch_client *c, struct switch_lease_request *requests, size_t n,
	void (*refused)(void *arg, const struct switch_lease_request *request, const char *why),
	void *arg);
// lease->h is filled here.
int switch_lease_set(
	struct switch_client *c, struct proto_lease_set *lease, char *err, size_t err_size);
