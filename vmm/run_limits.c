// SPDX-License-Identifier: BSD-3-Clause
// Limits of disks and network cards, changed while the machine runs (run.h). On the device thread.
#include <errno.h>
#include <string.h>
#include "vmm/run.h"

// What is not said stays.
static int read_limits(struct rate_limits *l, const char *id, json_t *words, struct error *e)
{
	static const char *const NAMES[RATE_WORDS] = { RATE_NAMES };
	const char *key;
	json_t *value;

	if (!json_is_object(words))
		return error_set(e, EINVAL, "%s: no object", id);
	json_object_foreach(words, key, value) {
		unsigned int nth = 0;

		while (nth < RATE_WORDS && strcmp(NAMES[nth], key) != 0)
			nth++;
		if (nth == RATE_WORDS || !json_is_integer(value) || json_integer_value(value) < 0 ||
			!rate_limits_set(l, nth, (uint64_t)json_integer_value(value)))
			return error_set(e, EINVAL,
				"%s: '%.40s': bytes_per_s, burst_bytes, ops_per_s and burst_ops "
				"are "
				"allowed, from 0 (none) to 10^12",
				id, key);
	}
	if (!l->bytes.per_s)
		l->bytes.burst = 0;
	if (!l->ops.per_s)
		l->ops.burst = 0;
	return 0;
}

static struct rate *rate_of(struct run *r, enum api_kind kind, const struct virtio_device *d)
{
	for (unsigned int i = 0; kind == API_DISK && i < r->n_disks; i++)
		if (&r->disks[i].device == d)
			return r->disks[i].options.vhost_user ? NULL : &r->disks[i].rate;
	for (unsigned int i = 0; kind == API_NIC && i < r->n_nets; i++)
		if (&r->nets[i].device == d)
			return r->nets[i].config.tap ? &r->nets[i].tap.in : NULL;
	return NULL;
}

static void set(struct run *r, enum api_kind kind, const struct virtio_device *d,
	const struct rate_limits *limits)
{
	for (unsigned int i = 0; kind == API_DISK && i < r->n_disks; i++)
		if (&r->disks[i].device == d)
			virtio_blk_limit(&r->disks[i], limits);
	for (unsigned int i = 0; kind == API_NIC && i < r->n_nets; i++)
		if (&r->nets[i].device == d)
			virtio_net_limit(&r->nets[i], limits);
}

enum api_result run_limit(
	void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e)
{
	struct run *r = arg;
	const struct virtio_device *d = run_find(r, kind, id);
	struct rate_limits limits;
	struct rate *rate;

	if (!d) {
		error_set(e, ENOENT, "%s: there is none", id);
		return API_NOT_FOUND;
	}
	rate = rate_of(r, kind, d);
	if (!rate) {
		error_set(e, EOPNOTSUPP,
			"%s: another process serves it, and would have to limit it", id);
		return API_CONFLICT;
	}
	rate_get(rate, &limits);
	if (read_limits(&limits, id, words, e) < 0)
		return API_WRONG;
	set(r, kind, d, &limits);
	return API_DONE;
}
