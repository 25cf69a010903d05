// SPDX-License-Identifier: BSD-3-Clause
// insula-switch: options, start in the order that gives up most privilege earliest, control loop,
// end. Started by insulad; sessions and mappings in --run-dir outlive it.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "vswitch/control.h"
#include "vswitch/driver_patience.h"
#include "vswitch/eal.h"
#include "vswitch/record_file.h"
#include "vswitch/replay.h"
#include "vswitch/sandbox.h"
#include "vswitch/tables.h"

enum { LAST_MS = 50 }; // for the far ends of all DPDK devices, at the end

static_assert(sizeof(struct session_record) == PROTO_SESSION_SIZE &&
		      (size_t)RECORD_HEADER_SIZE == PROTO_SESSION_FILE_HEADER &&
		      RECORD_HEADER_SIZE + TABLES_MAPPINGS_DEFAULT * sizeof(struct nat_mapping) ==
			      PROTO_MAPPING_FILE_SIZE,
	"insulad reckons with it");

struct options {
	const char *run_dir, *user;
	unsigned n_workers, memory_mib, device_queues;
	int lock_fd; // -1 = started by hand
	struct tables_limits limits;
	bool hugepages;
	bool poll;
};

static void usage(FILE *f)
{
	fputs("usage: insula-switch --run-dir DIR [--workers N] [--poll] [--user NAME] [--memory "
	      "MIB]\n"
	      "                     [--sessions N[,TENANT,PORT]] [--hugepages 2M] [--device-queues "
	      "N]\n"
	      "\n"
	      "The userspace switch. insulad starts it and speaks to DIR/switch.sock; see "
	      "insulad(8).\n"
	      "  --run-dir DIR   where its socket, sessions and mappings live\n"
	      "  --workers N     threads that carry packets, 1 to 16 (default 1)\n"
	      "  --poll          workers never sleep\n"
	      "  --sessions N[,TENANT,PORT]\n"
	      "                  how many the table holds (default 131072), and of one tenant "
	      "(an eighth)\n"
	      "                  and one port at most (half of that)\n"
	      "  --hugepages 2M  packet memory from hugepages of 2 MiB\n"
	      "  --user NAME     who to be after start when started as root (default nobody)\n"
	      "  --device-queues N\n"
	      "                  how many queues of DPDK devices there is room for (default 4 per "
	      "worker)\n"
	      "  --memory MIB    packet memory (default 24, 44 per worker and 10 per queue beyond "
	      "4 "
	      "per worker)\n"
	      "  --lock-fd N     insulad's lock on DIR/switch.lock, by which it finds its switch\n"
	      "Example: insula-switch --run-dir /run/insula --workers 2\n",
		f);
}

static unsigned number(const char *text, unsigned low, unsigned high, const char *what)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text == 0 || *end || v < low || v > high) {
		fprintf(stderr, "insula-switch: %s is %s; allowed is %u to %u\n", what, text, low,
			high);
		exit(2);
	}
	return (unsigned)v;
}

// What of the options is more than a number or a name.
static void parse_memory(int option, const char *text, struct options *o)
{
	if (option == 'H' && strcmp(text, "2M") != 0) {
		fprintf(stderr, "insula-switch: --hugepages is %s; allowed is 2M\n", text);
		exit(2);
	}
	if (option == 's' && !tables_limits_parse(text, &o->limits)) {
		fprintf(stderr,
			"insula-switch: --sessions is %s; allowed is N or N,TENANT,PORT with N up "
			"to %d, PORT up to TENANT and TENANT up to N\n",
			text, TABLES_SESSIONS_MAX);
		exit(2);
	}
	o->hugepages = o->hugepages || option == 'H';
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "run-dir", required_argument, NULL, 'r' },
		{ "workers", required_argument, NULL, 'w' }, { "poll", no_argument, NULL, 'p' },
		{ "user", required_argument, NULL, 'u' },
		{ "sessions", required_argument, NULL, 's' },
		{ "hugepages", required_argument, NULL, 'H' },
		{ "memory", required_argument, NULL, 'm' },
		{ "device-queues", required_argument, NULL, 'q' },
		{ "lock-fd", required_argument, NULL, 'l' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' }, { 0 } };
	int c;

	*o = (struct options){ .n_workers = 1, .user = "nobody", .lock_fd = -1 };
	tables_limits_default(&o->limits);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'r':
			o->run_dir = optarg;
			break;
		case 'w':
			o->n_workers = number(optarg, 1, WORKER_MAX, "--workers");
			break;
		case 'm':
			o->memory_mib = number(optarg, 32, 65536, "--memory");
			break;
		case 'q':
			o->device_queues = number(
				optarg, 1, PROTO_MAX_DEVICES * PROTO_MAX_QUEUES, "--device-queues");
			break;
		case 'l':
			o->lock_fd = (int)number(optarg, 3, INT_MAX, "--lock-fd");
			break;
		case 'p':
			o->poll = true;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'H':
		case 's':
			parse_memory(c, optarg, o);
			break;
		case 'v':
			puts("insula-switch " INSULA_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (!o->run_dir || optind != argc) {
		usage(stderr);
		exit(2);
	}
	if (o->device_queues == 0)
		o->device_queues = PROTO_DEVICE_QUEUES * o->n_workers;
	if (o->memory_mib == 0)
		o->memory_mib = proto_switch_memory_mib(o->n_workers, o->device_queues);
}

// Binds RUN_DIR/switch.sock. A socket left by a dead switch is replaced: the table files' lock,
// taken before, says that no living switch uses this folder.
static int listen_on(const char *run_dir, const char *user)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct passwd *pw = geteuid() == 0 && user ? getpwnam(user) : NULL;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char dir[sizeof(addr.sun_path) + 16];

	if (fd < 0)
		return -errno;
	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/switch.sock", run_dir) >=
		(int)sizeof(addr.sun_path)) {
		close(fd);
		return -ENAMETOOLONG;
	}
	unlink(addr.sun_path);
	umask(0177);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 8) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	umask(077);
	// Sockets of vhost-user front ends: the switch connects to or makes them as its own user.
	snprintf(dir, sizeof(dir), "%s/vhost", run_dir);
	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) ||
		(pw && chown(dir, pw->pw_uid, pw->pw_gid) < 0)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

// The lock came with us and goes with us (control/switch_lock.h); this tells insulad whose it is.
static int claim(int lock_fd)
{
	struct flock mine = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return lock_fd >= 0 && fcntl(lock_fd, F_SETLK, &mine) < 0 ? -errno : 0;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int fail(const char *what, int r, const char *err)
{
	fprintf(stderr, "insula-switch: %s: %s\n", what, err && *err ? err : strerror(-r));
	return 1;
}

// Why a table that outlives the switch begins empty; NULL = it goes on.
static void tell_fresh(const char *what, const char *why)
{
	if (why)
		fprintf(stderr, "insula-switch: %s start empty: %s\n", what, why);
}

// Workers, sandbox, control loop: from here on nothing more is needed from the host.
static int run(struct switch_ *sw, struct tables *tables, const struct options *o, int listen_fd,
	int signal_fd)
{
	char err[256] = "";
	unsigned started = 0;
	int r = sandbox_drop_user(o->user, err, sizeof(err));

	if (r < 0)
		return fail("privileges", r, err);
	for (; r == 0 && started < sw->n_workers; started += r == 0)
		r = worker_start(sw->workers[started]);
	if (r < 0)
		fail("workers", r, NULL);
	else if ((r = sandbox_seccomp()) < 0)
		fail("seccomp", r, NULL);
	else if ((r = control_run(sw, tables, listen_fd, signal_fd)) < 0)
		fail("control", r, NULL);
	while (started)
		worker_stop(sw->workers[--started]);
	return r < 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct tables tables;
	struct switch_ *sw;
	char err[256] = "";
	uint64_t seed;
	int r, listen_fd, signal_fd;

	if (argc > 1 && strcmp(argv[1], "--replay") == 0)
		return replay_main(argc - 1, argv + 1);
	parse_options(argc, argv, &o);
	r = claim(o.lock_fd); // first: until then insulad can only wait for us
	if (r < 0)
		return fail("switch.lock", r, NULL);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return fail("random seed", -errno, NULL);
	signal_fd = block_signals();
	if (signal_fd < 0)
		return fail("signals", signal_fd, NULL);
	r = tables_open(
		&(struct tables_options){
			.run_dir = o.run_dir, .session_capacity = o.limits.sessions, .seed = seed },
		&tables, err, sizeof(err));
	if (r < 0)
		return fail("tables", r, err);
	tell_fresh("sessions", tables.sessions_fresh);
	tell_fresh("mappings", tables.mappings_fresh);
	if (tables.n_orphans)
		fprintf(stderr, "insula-switch: %u sessions ended: their mapping was not there\n",
			tables.n_orphans);
	if (tables.n_lost)
		fprintf(stderr, "insula-switch: %u sessions ended: the table has room for %u now\n",
			tables.n_lost, o.limits.sessions);
	r = eal_start(o.memory_mib, o.hugepages, o.run_dir);
	if (r < 0)
		return fail("DPDK", r, NULL);
	r = switch_new(&(struct switch_config){ .n_workers = o.n_workers,
			       .poll = o.poll,
			       .n_mappings = TABLES_MAPPINGS_DEFAULT,
			       .sessions_per_tenant = o.limits.per_tenant,
			       .sessions_per_port = o.limits.per_port,
			       .n_small = 4096,
			       .n_big = 128,
			       .seed = seed },
		tables.sessions, tables.mappings, &sw);
	if (r < 0)
		return fail("memory", r, NULL);
	listen_fd = listen_on(o.run_dir, o.user);
	if (listen_fd < 0)
		return fail("switch.sock", listen_fd, NULL);
	r = run(sw, &tables, &o, listen_fd, signal_fd);
	// Nobody forwards from here until there is another switch.
	driver_patience_last(LAST_MS);
	switch_free(sw);
	tables_close(&tables);
	return r;
}
