// SPDX-License-Identifier: BSD-3-Clause
// Shared by switch_client.c and switch_requests.c only.
#pragma once

#include "control/switch_client.h"

// Sends a request (its header is filled here) and waits for its reply, which is the client's own
// buffer, valid until the next call. Errors as in switch_client.h.
int switch_call(struct switch_client *c, struct proto_header *request, uint16_t type, size_t size,
	const int *fds, unsigned n_fds, struct proto_message **ret_reply, char *err,
	size_t err_size);
