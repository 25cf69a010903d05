// SPDX-License-Identifier: BSD-3-Clause
// What a machine that is confined cannot open any more: files and sockets that others hand it, by
// name, before they say what they are for (PUT /v1/disks/ID and so on). A datagram to the socket is
// a name with one descriptor (SCM_RIGHTS, unix(7)). On the device thread.
#pragma once
#include "vmm/error.h"
#include "vmm/loop.h"

enum { FDS_WAITING = 16, FDS_NAME = 32 };

struct fds {
	struct loop *loop;
	const char *path;
	struct loop_source socket; // fd -1: none
	unsigned int n;
	struct {
		char name[FDS_NAME];
		int fd;
	} waiting[FDS_WAITING]; // the oldest first; one too many drops that
};

// Binds `path`, for its user alone. Before the machine is confined.
int fds_init(struct fds *f, const char *path, struct loop *loop, struct error *e);
void fds_free(struct fds *f);
// Of that name, whatever was sent before this call included; the caller's. -1: there is none.
int fds_take(struct fds *f, const char *name);
// Letters, digits, dots, dashes, underscores; 1 to FDS_NAME - 1 of them.
bool fds_is_name(const char *text);
