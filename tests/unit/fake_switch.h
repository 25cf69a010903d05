// SPDX-License-Identifier: BSD-3-Clause
// For tests of insulad against a switch of their own: where that listens, and an insulad that heeds
// nothing it says unasked.
#pragma once

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "control/switch_client.h"

// Listens at `dir`/s, whose address it fills in; the fd.
static inline int fake_switch_listen(const char *dir, struct sockaddr_un *ret_sun)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	*ret_sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(ret_sun->sun_path, sizeof(ret_sun->sun_path), "%s/s", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)ret_sun, sizeof(*ret_sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static inline void fake_switch_event(void *arg, const struct proto_header *event)
{
}

static inline void fake_switch_batch_end(void *arg)
{
}

static inline void fake_switch_gone(void *arg, const char *reason)
{
}

static inline struct switch_client_handler fake_switch_unheeded(void)
{
	return (struct switch_client_handler){ .event = fake_switch_event,
		.batch_end = fake_switch_batch_end,
		.gone = fake_switch_gone };
}
