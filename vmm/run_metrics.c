// SPDX-License-Identifier: BSD-3-Clause
// What the machine has done, in numbers that only grow (GET /v1/metrics), and the memory it has
// now. On the device thread.
#include <sys/stat.h>
#include "vmm/run.h"

static json_t *exits(const struct machine *m)
{
	static const char *const NAMES[VCPU_EXITS] = { [VCPU_AGAIN] = "interrupted",
		[VCPU_PORT] = "port",
		[VCPU_MEMORY] = "memory",
		[VCPU_RESET] = "reset",
		[VCPU_SHUTDOWN] = "shutdown",
		[VCPU_BROKEN] = "broken" };
	json_t *o = json_object();

	for (unsigned int kind = 0; kind < VCPU_EXITS; kind++) {
		uint64_t n = 0;

		for (unsigned int i = 0; i < m->n_cpus; i++)
			n += m->cpus[i].exits[kind];
		json_object_set_new(o, NAMES[kind], json_integer((json_int_t)n));
	}
	return o;
}

// NULL if the host's KVM does not tell.
static json_t *halts(const struct machine *m)
{
	uint64_t sum = 0, n;

	for (unsigned int i = 0; i < m->n_cpus; i++) {
		if (!vcpu_stats_halts(&m->cpus[i].stats, &n))
			return NULL;
		sum += n;
	}
	return json_integer((json_int_t)sum);
}

static json_t *queues(const struct virtio_device *d)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < d->n_queues; i++) {
		const struct virtio_queue *q = &d->queues[i];

		json_array_append_new(
			list, json_pack("{s:I, s:I, s:I, s:I}", "requests",
				      (json_int_t)__atomic_load_n(&q->n_requests, __ATOMIC_RELAXED),
				      "bytes_read",
				      (json_int_t)__atomic_load_n(&q->n_read, __ATOMIC_RELAXED),
				      "bytes_written",
				      (json_int_t)__atomic_load_n(&q->n_written, __ATOMIC_RELAXED),
				      "errors",
				      (json_int_t)__atomic_load_n(&q->n_errors, __ATOMIC_RELAXED)));
	}
	return list;
}

static json_t *devices(const struct machine *m)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < m->n_devices; i++) {
		const struct virtio_device *d = m->devices[i]->device;

		json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "id", d->id, "type",
						    d->ops->name, "queues", queues(d)));
	}
	return list;
}

// Pages that the guest, or who serves it, has touched and not given back.
static json_t *memory(const struct guest_memory *m)
{
	enum { BLOCK = 512 }; // stat(2)
	uint64_t resident = 0;
	struct stat st;

	for (unsigned int i = 0; i < m->n_regions; i++)
		if (fstat(m->regions[i].fd, &st) == 0)
			resident += (uint64_t)st.st_blocks * BLOCK;
	return json_pack(
		"{s:I, s:I}", "size", (json_int_t)m->size, "resident", (json_int_t)resident);
}

json_t *run_metrics(void *arg)
{
	struct run *r = arg;
	json_t *o = json_object();

	if (r->state == RUN_CREATED)
		return o;
	pthread_mutex_lock(&r->machine.lock);
	json_object_set_new(o, "exits", exits(&r->machine));
	json_object_set_new(o, "halts", halts(&r->machine));
	json_object_set_new(o, "devices", devices(&r->machine));
	pthread_mutex_unlock(&r->machine.lock);
	json_object_set_new(o, "memory", memory(&r->machine.memory));
	return o;
}
