// SPDX-License-Identifier: BSD-3-Clause
// Unix sockets that others connect to by their path, or we to theirs. Before the machine is
// confined; behind that only vsock's thread connects.
#pragma once
#include <stdbool.h>

// A listening socket, or one that is bound (SOCK_DGRAM), non-blocking. What a former process left
// at `path` is replaced; one that somebody listens at, or that is no socket, is not: -EADDRINUSE,
// -EEXIST. type: SOCK_STREAM or SOCK_DGRAM. mine: only this process's user may connect (0600), else
// who may by the umask.
int listen_at(const char *path, int type, int backlog, bool mine);
// The connection's socket; -errno. type: SOCK_STREAM or SOCK_DGRAM, blocking without SOCK_NONBLOCK.
int connect_to(const char *path, int type);
