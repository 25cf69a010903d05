// SPDX-License-Identifier: BSD-3-Clause
// See run.h.
#include "vmm/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void tell(const char *text)
{
	fprintf(stderr, "insula-vmm: %s\n", text);
}

void run_leave(struct run *r, int status)
{
	r->status = status;
	loop_stop(&r->machine.loop);
}

static void stop(void *arg)
{
	struct run *r = arg;

	loop_stop(&r->machine.loop);
}

// The guest's last words are out before.
static void leave_told(struct run *r, int status)
{
	r->status = status;
	r->state = RUN_ENDED;
	console_drain(&r->console, stop);
}

static void on_escape(void *arg)
{
	run_leave(arg, 0);
}

static void on_signal(void *arg, uint32_t events)
{
	struct run *r = arg;
	struct signalfd_siginfo info;

	if (read(r->signals.fd, &info, sizeof(info)) == sizeof(info))
		run_leave(r, 128 + (int)info.ssi_signo);
}

static void reset(struct run *r)
{
	struct error e;

	if (r->options.no_reboot) {
		leave_told(r, 0);
	} else if (machine_boot(&r->machine, &e) < 0) {
		tell(e.text);
		leave_told(r, 1);
	} else if (r->state == RUN_RUNNING) { // else it was paused on the way
		r->booted_ns = rate_now_ns();
		machine_run(&r->machine);
	}
}

// Some kernels reboot by it, so it is a reset; but what faults as soon as it begins, again and
// again, would take a processor for ever: who started this process decides what becomes of it.
static void triple_fault(struct run *r)
{
	enum { MOST = 5, SOON_NS = 1000000000 };
	const uint64_t now = rate_now_ns(), n = seldom_count(&r->faults, 1, now);
	char text[128];

	r->n_faults = now - r->booted_ns < SOON_NS ? r->n_faults + 1 : 0;
	if (n == 1)
		tell("a triple fault resets the guest");
	if (n > 1) {
		snprintf(text, sizeof(text),
			"a triple fault resets the guest, %" PRIu64 " since this was told", n);
		tell(text);
	}
	if (r->n_faults < MOST || r->options.no_reboot) {
		reset(r);
		return;
	}
	snprintf(text, sizeof(text),
		"%d triple faults, each within a second of the guest's start: the machine ends",
		MOST);
	tell(text);
	leave_told(r, 1);
}

static void on_end(void *arg, enum machine_end end, const struct error *error)
{
	struct run *r = arg;

	switch (end) {
	case MACHINE_POWERED_OFF:
		if (r->options.api) // for who did not start this process, and gets no status
			tell("the guest has powered off");
		leave_told(r, 0);
		break;
	case MACHINE_RESET:
		r->n_faults = 0;
		reset(r);
		break;
	case MACHINE_FAULTED:
		triple_fault(r);
		break;
	case MACHINE_PANICKED: // who started this process decides whether it is started again
		tell("the guest's kernel has panicked");
		leave_told(r, 1);
		break;
	case MACHINE_BROKEN:
		tell(error->text);
		leave_told(r, 1);
		break;
	}
}

static int watch_signals(struct run *r, struct error *e)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = (struct loop_source){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = on_signal, .arg = r
	};
	err = r->signals.fd < 0 ? -errno : loop_add(&r->machine.loop, &r->signals, EPOLLIN);
	return err < 0 ? error_set(e, -err, "signalfd: %s", strerror(-err)) : 0;
}

static void on_notice(void *arg, const char *text)
{
	tell(text);
}

static void name_device(struct virtio_device *d, unsigned int number)
{
	snprintf(d->id, sizeof(d->id), "%s%u", d->ops->name, number);
}

static int add_devices(struct run *r, struct error *e)
{
	int err = 0;

	r->machine.notice = on_notice;
	for (; err == 0 && r->n_nets < r->options.n_nets; r->n_nets += err == 0) {
		struct virtio_net *n = &r->nets[r->n_nets];

		err = virtio_net_init(n, &r->machine, &r->options.nets[r->n_nets], e);
		if (err == 0)
			name_device(&n->device, r->n_nets);
		n->device.removable = true;
	}
	for (; err == 0 && r->n_disks < r->options.n_disks; r->n_disks += err == 0) {
		struct virtio_blk *b = &r->disks[r->n_disks];

		err = virtio_blk_init(b, &r->machine, &r->options.disks[r->n_disks], e);
		if (err == 0)
			name_device(&b->device, r->n_disks);
		b->device.removable = true;
	}
	if (err == 0 && r->options.virtio_console)
		err = virtio_console_init(&r->virtio_console, &r->machine, STDOUT_FILENO, e);
	if (err == 0 && r->options.rng)
		err = virtio_rng_init(&r->rng, &r->machine, e);
	if (err == 0 && r->options.balloon)
		err = virtio_balloon_init(&r->balloon, &r->machine, r->options.balloon_mib, e);
	if (err == 0 && r->options.vsock.path)
		err = virtio_vsock_init(&r->vsock, &r->machine, &r->options.vsock, e);
	r->confine.folder = r->vsock.folder;
	return err;
}

static int add_spares(struct run *r, struct error *e)
{
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < r->options.hotplug; i++) {
		struct virtio_net *n = &r->nets[r->n_nets];

		err = virtio_net_init_spare(n, &r->machine, e);
		r->n_nets += err == 0;
		n->device.removable = true;
	}
	for (unsigned int i = 0; err == 0 && i < r->options.hotplug; i++) {
		struct virtio_blk *b = &r->disks[r->n_disks];

		err = virtio_blk_init_spare(b, &r->machine, e);
		r->n_disks += err == 0;
		b->device.removable = true;
	}
	return err < 0 || !r->options.hotplug || !r->fds_path
		       ? err
		       : fds_init(&r->fds, r->fds_path, &r->machine.loop, e);
}

static void end_devices(struct run *r)
{
	machine_remove_devices(&r->machine);
	while (r->n_nets > 0) {
		virtio_net_free(&r->nets[--r->n_nets]);
		free(r->net_words[r->n_nets]);
		r->net_words[r->n_nets] = NULL;
	}
	fds_free(&r->fds);
	r->fds.socket.fd = -1;
}

// Everything is open, and there is one thread.
static int start(struct run *r, struct error *e)
{
	struct error lacking;
	int err = confine_process(&r->confine, &lacking, e);

	if (err == 0 && lacking.text[0])
		tell(lacking.text);
	if (err == 0)
		err = machine_start(&r->machine, e);
	if (err == 0 && (err = confine_thread(&r->confine, CONFINE_DEVICE)) < 0)
		error_set(e, -err, "seccomp: %s", strerror(-err));
	return err;
}

// The machine is no more.
static void free_devices(struct run *r)
{
	while (r->n_disks > 0) {
		virtio_blk_free(&r->disks[--r->n_disks]);
		free(r->disk_words[r->n_disks]);
		r->disk_words[r->n_disks] = NULL;
	}
	if (r->options.virtio_console)
		virtio_console_free(&r->virtio_console);
	if (r->options.rng)
		virtio_rng_free(&r->rng);
	if (r->options.balloon)
		virtio_balloon_free(&r->balloon);
	virtio_vsock_free(&r->vsock);
}

// What run_configure has opened, without the console.
static void close_machine(struct run *r)
{
	end_devices(r);
	machine_free(&r->machine);
	free_devices(r);
	confine_free(&r->confine);
}

static int open_machine(struct run *r, struct error *e)
{
	int err = confine_init(&r->confine, r->options.user, e);

	if (err < 0)
		return err;
	r->options.config.confine = &r->confine;
	r->options.config.stats = r->api != NULL;
	err = machine_init(&r->machine, &r->options.config, e);
	if (err < 0) {
		confine_free(&r->confine);
		return err;
	}
	r->machine.ended = on_end;
	r->machine.ejected = run_ejected;
	r->machine.arg = r;
	err = add_devices(r, e);
	if (err == 0)
		err = add_spares(r, e);
	if (err == 0)
		err = machine_boot(&r->machine, e);
	if (err == 0 && r->signals.fd < 0)
		err = watch_signals(r, e);
	if (err < 0)
		close_machine(r);
	return err;
}

int run_configure(struct run *r, const struct options *options, struct error *e)
{
	const struct options before = r->options;
	int err;

	r->options = *options;
	err = open_machine(r, e);
	if (err < 0) {
		r->options = before;
		return err;
	}
	console_init(&r->console, &r->machine,
		r->options.virtio_console ? &r->virtio_console : NULL, on_escape, r);
	r->state = RUN_CONFIGURED;
	err = start(r, e);
	r->leaves = err < 0;
	return err;
}

void run_boot(struct run *r)
{
	r->state = RUN_RUNNING;
	r->booted_ns = rate_now_ns();
	machine_run(&r->machine);
}

static int begin(struct run *r, const struct options *o, struct error *e)
{
	int err = 0;

	if (o->api && asprintf(&r->fds_path, "%s.fds", o->api) < 0)
		r->fds_path = NULL;
	if (o->api)
		err = api_start(&r->api, o->api, &r->machine.loop, &RUN_API_OPS, r, e);
	if (err < 0 || !o->config.boot.kernel)
		return err < 0 ? err : watch_signals(r, e);
	err = run_configure(r, o, e);
	if (err == 0)
		run_boot(r);
	return err;
}

int run(struct run *r, const struct options *options)
{
	struct error e;
	int err = loop_init(&r->machine.loop);
	bool open;

	r->status = 1;
	r->signals.fd = -1;
	r->fds.socket.fd = -1;
	if (err < 0) {
		error_set(&e, -err, "epoll: %s", strerror(-err));
		tell(e.text);
		return r->status;
	}
	err = begin(r, options, &e);
	if (err < 0)
		tell(e.text);
	else
		loop_run(&r->machine.loop);
	open = r->state != RUN_CREATED;
	r->state = RUN_ENDED;
	if (r->api) {
		api_poke(r->api); // who still waits is told
		api_stop(r->api);
	}
	if (open) {
		machine_halt(&r->machine); // nobody starts a device any more
		console_free(&r->console);
		close_machine(r);
	}
	loop_free(&r->machine.loop);
	options_free(&r->options);
	free(r->fds_path);
	return r->status;
}
