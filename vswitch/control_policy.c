// SPDX-License-Identifier: BSD-3-Clause
// Control requests about policies: sections are put one by one, checked and held; a commit names a
// root, and either all of it comes into force or nothing does.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sha2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "vswitch/control.h"

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

struct view {
	void *data;
	size_t size;
};

// Maps a sealed memfd: sealed, it can neither shrink under us (SIGBUS) nor change.
static int view_open(int fd, size_t max, struct view *ret_view)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	void *data;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EPERM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_view = (struct view){ data, (size_t)st.st_size };
	return 0;
}

void control_staged_drop(struct control *c)
{
	for (uint32_t i = 0; i < c->n_staged; i++)
		policy_part_unref(c->staged[i]);
	c->n_staged = 0;
}

void control_section_put(struct control *c)
{
	char err[PROTO_TEXT_SIZE] = "";
	struct policy_part *part;
	struct view v;
	int r;

	if (c->n_staged == POLICY_MAX_SECTIONS) {
		control_reply_status(c, -ENOSPC, "too many sections put");
		return;
	}
	r = view_open(c->in->fds[0], POLICY_MAX_SECTION_SIZE, &v);
	if (r < 0) {
		control_reply_status(c, r, "section: not a sealed memfd of a fitting size");
		return;
	}
	r = policy_part_load(v.data, v.size, &part, err, sizeof(err));
	munmap(v.data, v.size);
	if (r == 0)
		c->staged[c->n_staged++] = part;
	control_reply_status(c, r, err);
}

static struct policy_part *find_part(struct control *c, const uint8_t hash[POLICY_HASH_SIZE])
{
	const struct policy *pol = c->sw->policy;

	for (uint32_t i = 0; i < c->n_staged; i++)
		if (memcmp(c->staged[i]->hash, hash, POLICY_HASH_SIZE) == 0)
			return c->staged[i];
	for (uint32_t i = 0; i < pol->n_parts; i++)
		if (memcmp(pol->parts[i]->hash, hash, POLICY_HASH_SIZE) == 0)
			return pol->parts[i];
	return NULL;
}

// Finds the root's parts; each must be what its reference says.
static int gather(struct control *c, const struct policy_root *root, struct policy_part **parts,
	char *err, size_t err_size)
{
	for (uint32_t i = 0; i < root->n_sections; i++) {
		const struct policy_section_ref *ref = &root->sections[i];

		parts[i] = find_part(c, ref->hash);
		if (!parts[i] || parts[i]->raw->tenant != ref->tenant ||
			parts[i]->raw->size != ref->size) {
			snprintf(err, err_size, "root: section of tenant %u is missing or another",
				ref->tenant);
			return -ENOENT;
		}
		for (uint32_t k = 0; k < i; k++)
			if (root->sections[k].tenant == ref->tenant) {
				snprintf(err, err_size, "root: tenant %u has two sections",
					ref->tenant);
				return -EEXIST;
			}
	}
	for (uint32_t i = 0; i < root->n_sections; i++)
		parts[i]->revision = root->sections[i].revision;
	return 0;
}

static int commit(
	struct control *c, const struct policy_root *root, size_t size, char *err, size_t err_size)
{
	struct policy_part **parts = calloc(root->n_sections + 1, sizeof(struct policy_part *));
	struct policy *pol = NULL;
	SHA2_CTX sha;
	int r;

	if (!parts)
		return -ENOMEM;
	r = gather(c, root, parts, err, err_size);
	if (r == 0)
		r = policy_build(root, parts, &pol, err, err_size);
	free(parts);
	if (r < 0)
		return r;
	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)root, size);
	SHA256Final(pol->root_hash, &sha);
	switch_policy_publish(c->sw, pol);
	return 0;
}

void control_policy_commit(struct control *c)
{
	struct proto_policy_ack ack = { 0 };
	char err[PROTO_TEXT_SIZE] = "";
	struct view v;
	int r = view_open(c->in->fds[0], POLICY_MAX_SECTION_SIZE, &v);

	if (r < 0) {
		control_reply_status(c, r, "root: not a sealed memfd of a fitting size");
		return;
	}
	r = policy_root_check(v.data, v.size, err, sizeof(err));
	if (r == 0)
		r = commit(c, v.data, v.size, err, sizeof(err));
	munmap(v.data, v.size);
	control_staged_drop(c);
	proto_status_init(&ack.s, &c->in->h, sizeof(ack), r, err);
	ack.generation = c->sw->policy->generation;
	memcpy(ack.root_hash, c->sw->policy->root_hash, sizeof(ack.root_hash));
	control_reply(c, &ack, NULL, 0);
}
