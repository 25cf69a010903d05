// SPDX-License-Identifier: BSD-3-Clause
// How insulad's object comes and goes. Going has two ways: leave everything running, or leave
// nothing behind. Called by insulad.c, main thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/log.h"
#include "control/remains.h"
#include "control/tap.h"
#include "control/volumes.h"

static void on_link(void *arg, const char *ifname, bool gone, bool running)
{
	ports_on_link(arg, ifname, gone);
}

// Events were lost: every port is looked at.
static void on_links_lost(void *arg)
{
	struct daemon *d = arg;

	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		struct port *p = d->ports->by_id[id];
		if (p && p->n_fds && port_spec_of(p)->kind == PROTO_PORT_PACKET)
			ports_on_link(d, port_spec_of(p)->ifname, false);
		if (p && p->n_fds && port_spec_of(p)->kind == PROTO_PORT_TAP &&
			!tap_alive(p->fds[0]))
			ports_on_link(d, port_spec_of(p)->ifname, true);
	}
}

int daemon_new(const char *run_dir, const char *state_dir, bool with_state,
	struct daemon **ret_daemon, char *err, size_t err_size)
{
	const struct linkwatch_handler links = { .link = on_link, .lost = on_links_lost };
	struct daemon *d = calloc(1, sizeof(*d));
	char late[256]; // there can be no switch yet
	int r;

	if (!d)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	d->proc.pidfd = -1;
	d->started_ns = loop_now_ns();
	snprintf(d->state_dir, sizeof(d->state_dir), "%s", state_dir);
	r = runtime_dir_open(&d->run, run_dir, with_state ? state_dir : NULL, err, err_size);
	if (r < 0)
		goto fail;
	r = store_open(with_state ? state_dir : NULL, d->run.path, &d->store, err, err_size);
	if (r < 0)
		goto fail;
	d->ports = calloc(1, sizeof(*d->ports));
	r = d->ports ? loop_new(&d->loop) : -ENOMEM;
	if (r == 0)
		r = loop_add_timer(d->loop, ports_repair, d, &d->repair_timer);
	if (r == 0)
		r = loop_add_timer(d->loop, switch_link_on_timer, d, &d->respawn_timer);
	if (r == 0)
		r = switch_watch_new(d);
	if (r == 0) {
		r = switch_log_new(d->loop, d->run.path, &d->switch_log, err, err_size);
		if (r < 0)
			goto fail;
		d->proc.log_fd = switch_log_fd(d->switch_log);
		r = leases_new(d, &d->leases);
	}
	if (r == 0)
		r = host_care_new(d, &d->host_care);
	if (r == 0)
		r = vhost_watch_new(d, &d->vhost_watch);
	if (r == 0 && with_state) {
		volumes_sweep(state_dir);
		r = images_new(
			d->loop, state_dir, daemon_image_users, d, &d->images, err, err_size);
		if (r < 0)
			goto fail;
	}
	if (r == 0) {
		r = vms_new(d, &d->vms, err, err_size);
		if (r < 0)
			goto fail;
	}
	if (r == 0) {
		struct linkwatch_handler h = links;
		h.arg = d;
		r = linkwatch_new(d->loop, &h, &d->linkwatch);
	}
	if (r < 0) {
		log_reason(r, err, err_size, "cannot start: %s",
			r == -EIO ? store_error(d->store) : strerror(-r));
		goto fail;
	}
	*ret_daemon = d;
	return 0;
fail:
	// Nothing was started here yet: what this start mounted goes, what it found stays.
	if (d->run.mounted)
		d->stop_all = true;
	daemon_free(d, late, sizeof(late));
	return r;
}

static int stop_all(struct daemon *d, char *err, size_t err_size)
{
	if (d->vms)
		vms_kill_all(d->vms); // those that vms_stop_all did not come to
	char why[512];
	int r = switch_link_end(d, err, err_size), back;

	ports_delete_taps(d->ports->by_id, d->ports->max_id + 1);
	for (uint32_t id = 1; id <= d->ports->max_id; id++)
		if (d->ports->by_id[id])
			port_close(d->ports->by_id[id]);
	back = remains_take_back_all(d->store, d->ports, why, sizeof(why));
	if (back < 0 && r == 0)
		return log_reason(back, err, err_size, "%s", why);
	if (back < 0)
		log_error("%s", why);
	return r;
}

int daemon_free(struct daemon *d, char *err, size_t err_size)
{
	int r = 0;

	if (!d)
		return 0;
	linkwatch_free(d->linkwatch);
	host_care_free(d->host_care);
	vhost_watch_free(d->vhost_watch);
	if (d->loop && d->store && d->ports) {
		if (d->stop_all)
			r = stop_all(d, err, err_size);
		else
			switch_link_leave(d);
	}
	for (uint32_t id = 1; d->ports && id <= d->ports->max_id; id++)
		port_free(d->ports->by_id[id]);
	free(d->ports);
	vms_free(d->vms);
	images_free(d->images);
	leases_free(d->leases);
	desired_free(d->desired);
	compiled_free(d->compiled);
	free(d->held);
	free(d->file);
	free(d->yaml);
	store_close(d->store);
	switch_log_free(d->switch_log);
	loop_free(d->loop);
	if (d->stop_all && r == 0)
		runtime_dir_remove(&d->run);
	else
		runtime_dir_leave(&d->run);
	free(d);
	return r;
}

static void on_vms_stopped(void *arg)
{
	struct daemon *d = arg;

	loop_quit(d->loop);
}

void daemon_request_stop(struct daemon *d)
{
	if (d->stop_all) // twice: without waiting for guests
		loop_quit(d->loop);
	d->stop_all = true;
	vms_stop_all(d->vms, on_vms_stopped, d);
}

struct loop *daemon_loop(struct daemon *d)
{
	return d->loop;
}

const char *daemon_run_dir(const struct daemon *d)
{
	return d->run.path;
}
