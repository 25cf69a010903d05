// SPDX-License-Identifier: BSD-3-Clause
// Gives up what a running machine has no need of. Called by main on the device thread: when the
// process begins; when everything is open and no other thread is there; and when all are. Then each
// thread is left with the system calls of its kind (confine_calls.c).
#pragma once
#include <linux/filter.h>
#include <pthread.h>
#include <sys/types.h>
#include "vmm/error.h"

enum confine_kind {
	CONFINE_DEVICE,
	CONFINE_CPU,
	CONFINE_IO, // serves queues of a device
	CONFINE_SOCKET, // the same, and connects to unix sockets
	CONFINE_KIND_COUNT
};

struct confine {
	uid_t uid; // what root becomes
	gid_t gid;
	const char *folder; // the only one that there is then, and the current one; NULL: none
	struct sock_fprog filters[CONFINE_KIND_COUNT];
};

// Closes what the process has inherited besides standard input, output and error: nobody meant it
// to be the machine's.
void confine_close_inherited(void);
// user: a user's name or UID:GID, NULL: nobody. Looks it up while there are files to look into.
int confine_init(struct confine *c, const char *user, struct error *e);
void confine_free(struct confine *c);
// For the rest of the process' life, all threads to come included: no new privileges; network,
// mount, IPC and UTS namespaces of its own, the root folder empty (or c->folder) and read-only; an
// ordinary user,
// no groups, no capabilities; no core dumps, no debugger of the same user's; few fds. Who is not
// root stays who it is and gets as much of it as a user namespace gives. What could not be had is a
// sentence in ret_lacking (else ""). -errno: what must not be lacking.
int confine_process(const struct confine *c, struct error *ret_lacking, struct error *e);
// Leaves the calling thread with the calls of its kind, for ever: any other kills the process.
int confine_thread(const struct confine *c, enum confine_kind kind);
// pthread_create for a thread that begins with confine_thread. c: NULL, in tests: it does not.
int confine_start_thread(const struct confine *c, enum confine_kind kind, void *(*run)(void *arg),
	void *arg, pthread_t *ret_thread);
