// SPDX-License-Identifier: BSD-3-Clause
// insula-vmm: one process per virtual machine. The command line; then the device thread's loop
// until the guest ends or a signal comes.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "vmm/confine.h"
#include "vmm/console.h"
#include "vmm/machine.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_net.h"
#include "vmm/virtio_rng.h"

static const char USAGE[] =
	"usage: insula-vmm --kernel FILE [OPTION...]\n"
	"\n"
	"Runs one virtual machine until its guest powers it off. Its serial port is standard "
	"input\n"
	"and output (on a terminal: Ctrl-A x ends it).\n"
	"  --kernel FILE    Linux bzImage, or an ELF image with a PVH entry\n"
	"  --initrd FILE    initial RAM disk\n"
	"  --cmdline WORDS  the kernel's command line\n"
	"  --cpus N         processors, 1 to 32 (1)\n"
	"  --memory MIB     RAM, an even number (256)\n"
	"  --hugepages      RAM in pages of 2 MiB, which the host must have free\n"
	"  --net WORDS      a network card, up to 8: vhost-user=PATH (listens there for the\n"
	"                   switch) or tap=NAME, then [,mac=MAC][,mtu=N][,queues=N]\n"
	"                   [,offloads=off][,wait=MS]\n"
	"  --disk WORDS     a disk, up to 16: file=PATH (raw file or block device), then\n"
	"                   [,readonly][,direct][,queues=N][,serial=WORD]\n"
	"  --user NAME      what to be once everything is open, as a name or UID:GID (nobody);\n"
	"                   who is not root stays who it is\n"
	"  --console KIND   what standard input and output are: serial, or virtio (serial)\n"
	"  --rng            a source of randomness\n"
	"  --balloon MIB    a memory balloon: free pages come back to the host, and so much more\n"
	"  --no-reboot      a guest that reboots ends the machine\n"
	"  --version, --help\n"
	"Exit status: 0 the guest powered off, 1 it could not be started or went wrong, 2 wrong "
	"usage,\n"
	"128 and the number of the signal that ended it.\n"
	"Example: insula-vmm --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0 --memory "
	"512\n";

enum { NETS = 8, DISKS = 16 };

struct options {
	struct machine_config config;
	unsigned int n_nets;
	struct virtio_net_options nets[NETS];
	unsigned int n_disks;
	struct virtio_blk_options disks[DISKS];
	const char *user;
	bool virtio_console, rng, balloon;
	uint32_t balloon_mib;
	bool no_reboot;
};

struct run {
	const struct options *options;
	struct machine machine;
	struct console console;
	struct confine confine;
	struct loop_source signals;
	unsigned int n_nets;
	struct virtio_net nets[NETS];
	unsigned int n_disks;
	struct virtio_blk disks[DISKS];
	struct virtio_console virtio_console;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	int status;
};

#ifdef __SANITIZE_ADDRESS__
// Who looks for leaks stops all threads as a debugger does, which a confined process cannot.
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

static void tell(const char *text)
{
	fprintf(stderr, "insula-vmm: %s\n", text);
}

static bool parse_number(
	const char *text, unsigned long least, unsigned long most, unsigned long *ret_number)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *end || end == text || *text == '-' || number < least || number > most)
		return false;
	*ret_number = number;
	return true;
}

enum {
	OPT_KERNEL = 1,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_HUGEPAGES,
	OPT_NET,
	OPT_DISK,
	OPT_USER,
	OPT_CONSOLE,
	OPT_RNG,
	OPT_BALLOON,
	OPT_NO_REBOOT,
	OPT_VERSION,
	OPT_HELP
};

static const struct option OPTIONS[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "cmdline", required_argument, NULL, OPT_CMDLINE },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "hugepages", no_argument, NULL, OPT_HUGEPAGES },
	{ "net", required_argument, NULL, OPT_NET },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "user", required_argument, NULL, OPT_USER },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "rng", no_argument, NULL, OPT_RNG },
	{ "balloon", required_argument, NULL, OPT_BALLOON },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int add_net(struct options *o)
{
	struct error e;

	if (o->n_nets == NETS)
		error_set(&e, E2BIG, "--net: %d network cards are allowed", NETS);
	else if (virtio_net_parse(&o->nets[o->n_nets], optarg, &e) == 0) {
		o->n_nets++;
		return 0;
	}
	tell(e.text);
	return 3;
}

static int add_disk(struct options *o)
{
	struct error e;

	if (o->n_disks == DISKS)
		error_set(&e, E2BIG, "--disk: %d disks are allowed", DISKS);
	else if (virtio_blk_parse(&o->disks[o->n_disks], optarg, &e) == 0) {
		o->n_disks++;
		return 0;
	}
	tell(e.text);
	return 3;
}

static int set_console(struct options *o)
{
	o->virtio_console = strcmp(optarg, "virtio") == 0;
	if (o->virtio_console || strcmp(optarg, "serial") == 0)
		return 0;
	fprintf(stderr, "insula-vmm: --console %s: serial or virtio is allowed\n", optarg);
	return 3;
}

static int set_balloon(struct options *o)
{
	unsigned long number;

	o->balloon = parse_number(optarg, 0, 1 << 20, &number);
	o->balloon_mib = o->balloon ? (uint32_t)number : 0;
	if (o->balloon)
		return 0;
	fprintf(stderr, "insula-vmm: --balloon %s: 0 to 1048576 MiB are allowed\n", optarg);
	return 3;
}

// Each returns 0, or what to exit with plus one.
static int set_option(struct options *o, int option)
{
	unsigned long number;

	switch (option) {
	case OPT_KERNEL:
		o->config.boot.kernel = optarg;
		return 0;
	case OPT_INITRD:
		o->config.boot.initrd = optarg;
		return 0;
	case OPT_CMDLINE:
		o->config.boot.cmdline = optarg;
		return 0;
	case OPT_CPUS:
		if (!parse_number(optarg, 1, MACHINE_CPUS, &number)) {
			fprintf(stderr, "insula-vmm: --cpus %s: 1 to %d are allowed\n", optarg,
				MACHINE_CPUS);
			return 3;
		}
		o->config.cpus = (unsigned int)number;
		return 0;
	case OPT_MEMORY:
		if (!parse_number(optarg, 2, 1 << 20, &number) || number % 2) {
			fprintf(stderr,
				"insula-vmm: --memory %s: an even number of MiB from 2 to "
				"1048576 is allowed\n",
				optarg);
			return 3;
		}
		o->config.memory_size = (uint64_t)number << 20;
		return 0;
	case OPT_HUGEPAGES:
		o->config.hugepages = true;
		return 0;
	case OPT_NET:
		return add_net(o);
	case OPT_DISK:
		return add_disk(o);
	case OPT_USER:
		o->user = optarg;
		return 0;
	case OPT_CONSOLE:
		return set_console(o);
	case OPT_RNG:
		o->rng = true;
		return 0;
	case OPT_BALLOON:
		return set_balloon(o);
	case OPT_NO_REBOOT:
		o->no_reboot = true;
		return 0;
	case OPT_VERSION:
		puts("insula-vmm " INSULA_VERSION);
		return 1;
	case OPT_HELP:
		fputs(USAGE, stdout);
		return 1;
	default:
		fputs(USAGE, stderr);
		return 3;
	}
}

static int parse(struct options *o, int argc, char **argv)
{
	int option, result;

	*o = (struct options){ .config = { .cpus = 1, .memory_size = 256ull << 20 } };
	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		result = set_option(o, option);
		if (result)
			return result;
	}
	if (optind == argc && o->config.boot.kernel)
		return 0;
	if (optind < argc)
		fprintf(stderr, "insula-vmm: '%s': no such argument\n", argv[optind]);
	else
		tell("--kernel is missing");
	fputs(USAGE, stderr);
	return 3;
}

static void leave(struct run *r, int status)
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
	console_drain(&r->console, stop);
}

static void on_escape(void *arg)
{
	leave(arg, 0);
}

static void on_signal(void *arg, uint32_t events)
{
	struct run *r = arg;
	struct signalfd_siginfo info;

	if (read(r->signals.fd, &info, sizeof(info)) == sizeof(info))
		leave(r, 128 + (int)info.ssi_signo);
}

static void on_end(void *arg, enum machine_end end, const struct error *error)
{
	struct run *r = arg;
	struct error e;

	switch (end) {
	case MACHINE_POWERED_OFF:
		leave_told(r, 0);
		break;
	case MACHINE_RESET:
		if (r->options->no_reboot) {
			leave_told(r, 0);
		} else if (machine_boot(&r->machine, &e) < 0) {
			tell(e.text);
			leave_told(r, 1);
		} else {
			machine_run(&r->machine);
		}
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

static int add_devices(struct run *r, struct error *e)
{
	int err = 0;

	r->machine.notice = on_notice;
	for (; err == 0 && r->n_nets < r->options->n_nets; r->n_nets += err == 0)
		err = virtio_net_init(
			&r->nets[r->n_nets], &r->machine, &r->options->nets[r->n_nets], e);
	for (; err == 0 && r->n_disks < r->options->n_disks; r->n_disks += err == 0)
		err = virtio_blk_init(
			&r->disks[r->n_disks], &r->machine, &r->options->disks[r->n_disks], e);
	if (err == 0 && r->options->virtio_console)
		err = virtio_console_init(&r->virtio_console, &r->machine, STDOUT_FILENO, e);
	if (err == 0 && r->options->rng)
		err = virtio_rng_init(&r->rng, &r->machine, e);
	if (err == 0 && r->options->balloon)
		err = virtio_balloon_init(&r->balloon, &r->machine, r->options->balloon_mib, e);
	return err;
}

static void end_devices(struct run *r)
{
	machine_remove_devices(&r->machine);
	while (r->n_nets > 0)
		virtio_net_free(&r->nets[--r->n_nets]);
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
	if (err == 0)
		machine_run(&r->machine);
	return err;
}

// The machine is no more.
static void free_devices(struct run *r)
{
	while (r->n_disks > 0)
		virtio_blk_free(&r->disks[--r->n_disks]);
	if (r->options->virtio_console)
		virtio_console_free(&r->virtio_console);
	if (r->options->rng)
		virtio_rng_free(&r->rng);
	if (r->options->balloon)
		virtio_balloon_free(&r->balloon);
}

static int run(struct run *r, const struct options *o)
{
	struct error e;
	int err;

	r->options = o;
	r->status = 1;
	if (confine_init(&r->confine, o->user, &e) < 0 ||
		machine_init(&r->machine, &o->config, &e) < 0) {
		tell(e.text);
		confine_free(&r->confine);
		return 1;
	}
	r->machine.ended = on_end;
	r->machine.arg = r;
	err = add_devices(r, &e);
	if (err == 0)
		err = machine_boot(&r->machine, &e);
	if (err == 0)
		err = watch_signals(r, &e);
	if (err < 0) {
		tell(e.text);
		goto free_devices;
	}
	console_init(&r->console, &r->machine, o->virtio_console ? &r->virtio_console : NULL,
		on_escape, r);
	if (start(r, &e) < 0) {
		tell(e.text);
		r->status = 1;
	} else {
		loop_run(&r->machine.loop);
	}
	machine_halt(&r->machine); // nobody starts a device any more
	console_free(&r->console);
free_devices:
	end_devices(r);
	machine_free(&r->machine);
	free_devices(r);
	confine_free(&r->confine);
	return r->status;
}

// What is opened later must not become standard output: the guest writes there.
static void open_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDWR);
}

int main(int argc, char **argv)
{
	struct options o;
	struct run *r;
	int result;

	open_standard();
	confine_close_inherited();
	result = parse(&o, argc, argv);
	if (result)
		return result - 1;
	r = calloc(1, sizeof(*r));
	if (!r) {
		tell("no memory");
		return 1;
	}
	o.config.confine = &r->confine;
	result = run(r, &o);
	free(r);
	return result;
}
