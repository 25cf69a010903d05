// SPDX-License-Identifier: BSD-3-Clause
// insulad: the daemon that owns the desired state. Parses options, restores what is stored, serves
// the API, and leaves: SIGTERM leaves the switch and every guest running (an upgrade), SIGINT and
// POST /v1/stop leave nothing behind. One thread.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/log.h"
#include "control/privileges.h"

struct options {
	const char *run_dir, *state_dir;
	int ready_fd;
	bool clean_up;
};

static const char usage[] =
	"Usage: insulad [options]\n"
	"The daemon of Insula: keeps the desired state, runs insula-switch, answers `insula`.\n"
	"\n"
	"  --run-dir DIR    where it runs: sockets and tables, on a tmpfs it mounts\n"
	"                   (default /run/insula, environment INSULA_RUN_DIR)\n"
	"  --state-dir DIR  what it remembers (default /var/lib/insula, INSULA_STATE_DIR)\n"
	"  --foreground     do not detach (the default; `insula start` detaches)\n"
	"  --ready-fd N     write \"ready\\n\" to this fd when the sockets serve; else\n"
	"                   \"busy\\n\" (another insulad has the run directory), or why not\n"
	"  --clean-up       do not serve: take back what a dead insulad left on this host,\n"
	"                   whatever became of its state; what `insula stop` runs then\n"
	"  --version        print the version\n"
	"  --help           print this\n"
	"\n"
	"SIGTERM ends insulad alone: switch and guests go on, the next insulad finds them.\n"
	"SIGINT and `insula stop` end everything and leave nothing behind.\n"
	"\n"
	"Example: insulad --run-dir /run/lab --state-dir /var/lib/lab\n";

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && value[0] ? value : otherwise;
}

// 0 = run, 1 = done, -EINVAL.
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = { { "run-dir", required_argument, NULL, 'r' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "ready-fd", required_argument, NULL, 'y' },
		{ "clean-up", no_argument, NULL, 'c' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { 0 } };
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		switch (c) {
		case 'r':
			o->run_dir = optarg;
			break;
		case 's':
			o->state_dir = optarg;
			break;
		case 'f':
			break;
		case 'y':
			o->ready_fd = (int)strtol(optarg, &end, 10);
			// insula-switch must not keep waiting who waits for us
			if (*end || o->ready_fd < 0 ||
				fcntl(o->ready_fd, F_SETFD, FD_CLOEXEC) < 0) {
				fprintf(stderr,
					"insulad: --ready-fd '%s': a file descriptor's number is "
					"needed\n",
					optarg);
				return -EINVAL;
			}
			break;
		case 'c':
			o->clean_up = true;
			break;
		case 'v':
			printf("insulad %s\n", INSULA_VERSION);
			return 1;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			fprintf(stderr, "insulad --help shows the options\n");
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"insulad: '%s': no arguments are taken; insulad --help shows the options\n",
			argv[optind]);
		return -EINVAL;
	}
	return 0;
}

static void tell_ready(int fd, const char *text)
{
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", text);
	close(fd);
}

struct signals {
	struct daemon *d;
	int fd;
};

static void on_signal(void *arg, uint32_t events)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;

	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGINT) {
		log_info("SIGINT: stopping everything");
		daemon_request_stop(s->d);
	} else {
		log_info("SIGTERM: leaving; insula-switch runs on");
		loop_quit(daemon_loop(s->d));
	}
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

// Every port holds an fd per queue, in insulad as in the switch, which inherits the limit.
static void raise_fd_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max = l.rlim_max > 524288 ? l.rlim_max : 524288;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0) {
		getrlimit(RLIMIT_NOFILE, &l);
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int run(const struct options *o, char *err, size_t err_size)
{
	struct signals signals = { .fd = block_signals() };
	struct daemon *d = NULL;
	struct loop_source *source = NULL;
	struct api *api = NULL;
	char late[512];
	bool stopped = false;
	int r = signals.fd, end;

	if (r < 0)
		return log_reason(r, err, err_size, "signalfd: %s", strerror(-r));
	raise_fd_limit();
	r = privileges_check(err, err_size);
	if (r < 0)
		goto out;
	r = daemon_new(o->run_dir, o->state_dir, !o->clean_up, &d, err, err_size);
	if (r < 0)
		goto out;
	if (o->clean_up) {
		log_info("cleaning up behind a dead insulad");
		daemon_request_stop(d);
		r = loop_run(daemon_loop(d));
		stopped = r == 0;
		goto out;
	}
	signals.d = d;
	r = daemon_restore(d, err, err_size);
	if (r == 0) {
		r = loop_add(daemon_loop(d), signals.fd, EPOLLIN, on_signal, &signals, &source);
		if (r == 0)
			r = api_start(d, &api);
		if (r < 0)
			log_reason(r, err, err_size, "cannot serve %s/insulad.sock: %s", o->run_dir,
				strerror(-r));
	}
	if (r == 0) {
		tell_ready(o->ready_fd, "ready");
		log_info("insulad %s serves %s/insulad.sock", INSULA_VERSION, daemon_run_dir(d));
		r = loop_run(daemon_loop(d));
		if (r < 0)
			log_reason(r, err, err_size, "epoll: %s", strerror(-r));
	}
	api_stop(api);
	loop_remove(daemon_loop(d), source);
	// A start that failed leaves what it found, and nothing it made.
	if (r < 0 && d->run.mounted)
		d->stop_all = true;
	else if (r < 0 && d->proc.child)
		switch_link_down(d);
	stopped = r == 0 && d->stop_all;
out:
	end = daemon_free(d, late, sizeof(late));
	close(signals.fd);
	if (r < 0 && end < 0)
		log_error("%s", late);
	if (r == 0 && end < 0)
		return log_reason(end, err, err_size, "%s", late);
	if (stopped)
		log_info("stopped");
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { .run_dir = from_environment("INSULA_RUN_DIR", "/run/insula"),
		.state_dir = from_environment("INSULA_STATE_DIR", "/var/lib/insula"),
		.ready_fd = -1 };
	char err[1024] = "";
	int r = parse_options(argc, argv, &o);

	if (r != 0)
		return r > 0 ? 0 : 2;
	r = run(&o, err, sizeof(err));
	if (r < 0) {
		log_error("%s", err);
		tell_ready(o.ready_fd, r == -EALREADY ? "busy" : err);
		return 1;
	}
	return 0;
}
