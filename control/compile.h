// SPDX-License-Identifier: BSD-3-Clause
// From the desired state to a policy as it crosses to the switch: one section per tenant and one of
// the host, and the root that names them by hash. Pure: the same input gives the same bytes, and a
// tenant whose share did not change keeps its hash and revision.
#pragma once

#include "control/desired.h"

struct policy_blob {
	uint8_t hash[POLICY_HASH_SIZE]; // SHA-256 of data
	void *data;
	size_t size;
};

struct compiled {
	uint64_t generation;
	struct policy_blob root; // root.data is a struct policy_root
	unsigned n_sections;
	struct policy_blob *sections; // as in the root
};

// dns: for networks that name none. previous: the root in force (NULL = none), source of revisions;
// if every section is as there, the result has its generation and bytes, else `generation`.
// 0; -E2BIG with a sentence in err when a limit of policy.h is exceeded; -ENOMEM.
int compile_policy(const struct desired *d, const be32 *dns, unsigned n_dns,
	const struct policy_root *previous, uint64_t generation, struct compiled **ret_compiled,
	char *err, size_t err_size);
void compiled_free(struct compiled *c);

// A sealed memfd holding the bytes. 0 with *ret_fd, or -errno.
int compile_memfd(const void *data, size_t size, int *ret_fd);
