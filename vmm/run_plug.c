// SPDX-License-Identifier: BSD-3-Clause
// Disks and network cards that come and go while the machine runs (run.h). All that one is made of
// was made before the process was confined: a spare gets what others have opened and the guest
// finds it; what the guest lets go of is a spare again. On the device thread.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vmm/run.h"

static bool is_in(const struct virtio_device *d)
{
	const struct virtio_pci *t = d->transport;

	return t && t->bus;
}

static struct virtio_device *device_of(struct run *r, enum api_kind kind, unsigned int i)
{
	return kind == API_DISK ? &r->disks[i].device : &r->nets[i].device;
}

static unsigned int count_of(const struct run *r, enum api_kind kind)
{
	return kind == API_DISK ? r->n_disks : r->n_nets;
}

struct virtio_device *run_find(struct run *r, enum api_kind kind, const char *id)
{
	if (r->state == RUN_CREATED)
		return NULL;
	for (unsigned int i = 0; i < count_of(r, kind); i++)
		if (is_in(device_of(r, kind, i)) && strcmp(device_of(r, kind, i)->id, id) == 0)
			return device_of(r, kind, i);
	return NULL;
}

static bool is_taken(const struct run *r, const char *id)
{
	for (unsigned int i = 0; i < r->machine.n_devices; i++)
		if (strcmp(r->machine.devices[i]->device->id, id) == 0)
			return true;
	return false;
}

// Of so many queues (disks) or pairs (network cards); -ENOSPC.
static int find_spare(const struct run *r, enum api_kind kind, uint16_t queues)
{
	for (unsigned int i = 0; i < count_of(r, kind); i++)
		if (kind == API_DISK ? !is_in(&r->disks[i].device) && r->disks[i].fd < 0 &&
					       !r->disks[i].options.vhost_user &&
					       r->disks[i].options.queues == queues
				     : !is_in(&r->nets[i].device) && !r->nets[i].config.tap &&
					       r->nets[i].vhost.listener.fd < 0 &&
					       r->nets[i].config.pairs == queues)
			return (int)i;
	return -ENOSPC;
}

static enum api_result no_spare(const char *id, uint16_t queues, struct error *e)
{
	error_set(e, ENOSPC,
		"%s: nothing is left that one with %u queues could be made of (see --hotplug)", id,
		queues);
	return API_CONFLICT;
}

static enum api_result no_fd(const struct run *r, const char *name, struct error *e)
{
	error_set(e, ENOENT, "%s: no descriptor of that name has come by %s", name,
		r->fds.socket.fd < 0 ? "anywhere (see --hotplug)" : r->fds.path);
	return API_WRONG;
}

// Under the lock the guest finds it; what it was made of is given up if there is no slot.
static enum api_result enter(
	struct run *r, struct virtio_device *d, const char *id, struct error *e)
{
	int err;

	pthread_mutex_lock(&r->machine.lock);
	strcpy(d->id, id);
	err = machine_plug_spare(&r->machine, d);
	pthread_mutex_unlock(&r->machine.lock);
	if (err == 0)
		return API_DONE;
	error_set(e, -err, "%s: the PCI bus is full", id);
	return API_CONFLICT;
}

static enum api_result plug_disk(struct run *r, const char *id, char *words, struct error *e)
{
	struct virtio_blk_options options;
	enum api_result result;
	int i, fd;

	if (virtio_blk_parse(&options, words, e) < 0)
		return API_WRONG;
	if (!options.path) {
		error_set(e, EINVAL, "%s: only a file can be plugged in", id);
		return API_WRONG;
	}
	i = find_spare(r, API_DISK, options.queues);
	if (i < 0)
		return no_spare(id, options.queues, e);
	fd = fds_take(&r->fds, options.path);
	if (fd < 0)
		return no_fd(r, options.path, e);
	if (virtio_blk_take(&r->disks[i], &options, fd, e) < 0) {
		close(fd);
		return API_WRONG;
	}
	result = enter(r, &r->disks[i].device, id, e);
	if (result != API_DONE)
		virtio_blk_release(&r->disks[i]);
	else
		r->disk_words[i] = words;
	return result;
}

static enum api_result plug_nic(struct run *r, const char *id, char *words, struct error *e)
{
	struct virtio_net_options options;
	enum api_result result;
	int i, fd;

	if (virtio_net_parse(&options, words, e) < 0)
		return API_WRONG;
	if (!options.vhost_user) {
		error_set(e, EINVAL, "%s: only vhost-user can be plugged in", id);
		return API_WRONG;
	}
	i = find_spare(r, API_NIC, options.pairs);
	if (i < 0)
		return no_spare(id, options.pairs, e);
	fd = fds_take(&r->fds, options.vhost_user);
	if (fd < 0)
		return no_fd(r, options.vhost_user, e);
	if (virtio_net_take(&r->nets[i], &options, fd, e) < 0) {
		close(fd);
		return API_WRONG;
	}
	result = enter(r, &r->nets[i].device, id, e);
	if (result != API_DONE)
		virtio_net_release(&r->nets[i]);
	else
		r->net_words[i] = words;
	return result;
}

static enum api_result not_now(const struct run *r, const char *id, struct error *e)
{
	if (r->state != RUN_CREATED && r->state != RUN_ENDED && !r->leaves)
		return API_DONE;
	error_set(e, EBUSY, "%s: the machine %s", id,
		r->state == RUN_CREATED ? "is not configured" : "ends");
	return API_CONFLICT;
}

enum api_result run_plug(
	void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e)
{
	struct run *r = arg;
	enum api_result result = not_now(r, id, e);
	char *text;

	if (result != API_DONE)
		return result;
	if (is_taken(r, id)) {
		error_set(e, EEXIST, "%s: there is one already", id);
		return API_CONFLICT;
	}
	text = options_words(id, words, e);
	if (!text)
		return API_WRONG;
	result = kind == API_DISK ? plug_disk(r, id, text, e) : plug_nic(r, id, text, e);
	if (result != API_DONE)
		free(text);
	return result;
}

enum api_result run_unplug(
	void *arg, enum api_kind kind, const char *id, enum api_ask ask, struct error *e)
{
	struct run *r = arg;
	struct virtio_device *d = run_find(r, kind, id);

	if (!d && ask != API_FIRST)
		return API_DONE;
	if (!d) {
		error_set(e, ENOENT, "%s: there is none", id);
		return API_NOT_FOUND;
	}
	if (ask == API_LAST || r->state == RUN_ENDED) {
		error_set(
			e, ETIMEDOUT, "%s: the guest has not let go of it; it may still do so", id);
		return API_TIMEOUT;
	}
	if (ask == API_AGAIN)
		return API_PENDING;
	if (r->state != RUN_RUNNING) {
		error_set(e, EBUSY, "%s: the machine does not run, so nobody lets go of it", id);
		return API_CONFLICT;
	}
	machine_ask_eject(&r->machine, d);
	return API_PENDING;
}

static void release_disk(struct run *r, unsigned int i)
{
	virtio_blk_release(&r->disks[i]);
	r->disks[i].device.id[0] = 0;
	free(r->disk_words[i]);
	r->disk_words[i] = NULL;
}

// The tap of one that has one is closed at the end only.
static void release_nic(struct run *r, unsigned int i)
{
	if (!virtio_net_release(&r->nets[i]))
		return;
	r->nets[i].device.id[0] = 0;
	free(r->net_words[i]);
	r->net_words[i] = NULL;
}

void run_ejected(void *arg)
{
	struct run *r = arg;

	pthread_mutex_lock(&r->machine.lock);
	for (unsigned int i = 0; i < r->n_disks; i++)
		if (!is_in(&r->disks[i].device) &&
			(r->disks[i].fd >= 0 || r->disks[i].options.vhost_user))
			release_disk(r, i);
	for (unsigned int i = 0; i < r->n_nets; i++)
		if (!is_in(&r->nets[i].device) && r->nets[i].vhost.listener.fd >= 0 &&
			!r->nets[i].config.tap)
			release_nic(r, i);
	pthread_mutex_unlock(&r->machine.lock);
	if (r->api)
		api_poke(r->api);
}
