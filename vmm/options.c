// SPDX-License-Identifier: BSD-3-Clause
// See options.h. The command line and its JSON twin set the same options by the same functions.
#include "vmm/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
	"usage: insula-vmm --kernel FILE [OPTION...]\n"
	"       insula-vmm --api PATH\n"
	"\n"
	"Runs one virtual machine until its guest powers it off. Its serial port is standard "
	"input\n"
	"and output (on a terminal: Ctrl-A x ends it).\n"
	"  --kernel FILE    Linux bzImage, or an ELF image with a PVH entry or of Linux\n"
	"  --initrd FILE    initial RAM disk\n"
	"  --cmdline WORDS  the kernel's command line\n"
	"  --cpus N         processors, 1 to 32 (1)\n"
	"  --memory MIB     RAM, an even number (256)\n"
	"  --hugepages      RAM in pages of 2 MiB, which the host must have free\n"
	"  --net WORDS      a network card, up to 8: vhost-user=PATH (listens there for the\n"
	"                   switch) or tap=NAME, then [,mac=MAC][,mtu=N][,queues=N]\n"
	"                   [,offloads=off][,wait=MS]\n"
	"  --disk WORDS     a disk, up to 16: file=PATH (raw file or block device), then\n"
	"                   [,readonly][,direct][,queues=N][,serial=WORD][,inode=DEV:INO]; or\n"
	"                   vhost-user=PATH (where qemu-storage-daemon listens)[,queues=N]\n"
	"                   limits of a file, and each way of a tap: [,bytes_per_s=N]\n"
	"                   [,ops_per_s=N][,burst_bytes=N][,burst_ops=N]\n"
	"  --user NAME      what to be once everything is open, as a name or UID:GID (nobody);\n"
	"                   who is not root stays who it is\n"
	"  --console KIND   what standard input and output are: serial, or virtio (serial)\n"
	"  --rng            a source of randomness\n"
	"  --balloon MIB    a memory balloon: free pages come back to the host, and so much more\n"
	"  --vsock WORDS    sockets between guest and host, cid=N,socket=PATH: port P of the host\n"
	"                   is PATH_P there; who connects to PATH says \"CONNECT P\" first.\n"
	"                   The folder of PATH is all that the process sees of the host\n"
	"  --api PATH       HTTP/JSON on this unix socket (openapi.yaml); without --kernel the\n"
	"                   machine waits there for its configuration, which is all of the above\n"
	"  --hotplug N      so many disks and so many network cards may be plugged in while it\n"
	"                   runs, 0 to 8 (0), by the API; their files and sockets come by "
	"PATH.fds\n"
	"  --no-reboot      a guest that reboots ends the machine\n"
	"  --version, --help\n"
	"Exit status: 0 the guest powered off, 1 it could not be started or went wrong, 2 wrong "
	"usage,\n"
	"128 and the number of the signal that ended it.\n"
	"Example: insula-vmm --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0 --memory "
	"512\n";

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
	OPT_VSOCK,
	OPT_NO_REBOOT,
	OPT_HOTPLUG,
	OPT_API,
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
	{ "vsock", required_argument, NULL, OPT_VSOCK },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "hotplug", required_argument, NULL, OPT_HOTPLUG },
	{ "api", required_argument, NULL, OPT_API },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

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

static int add_net(struct options *o, char *words, struct error *e)
{
	int err;

	if (o->n_nets == OPTIONS_NETS)
		return error_set(e, E2BIG, "--net: %d network cards are allowed", OPTIONS_NETS);
	err = virtio_net_parse(&o->nets[o->n_nets], words, e);
	o->n_nets += err == 0;
	return err;
}

static int add_disk(struct options *o, char *words, struct error *e)
{
	int err;

	if (o->n_disks == OPTIONS_DISKS)
		return error_set(e, E2BIG, "--disk: %d disks are allowed", OPTIONS_DISKS);
	err = virtio_blk_parse(&o->disks[o->n_disks], words, e);
	o->n_disks += err == 0;
	return err;
}

static int set_cpus(struct options *o, const char *text, struct error *e)
{
	unsigned long number;

	if (!parse_number(text, 1, MACHINE_CPUS, &number))
		return error_set(e, EINVAL, "--cpus %s: 1 to %d are allowed", text, MACHINE_CPUS);
	o->config.cpus = (unsigned int)number;
	return 0;
}

static int set_memory(struct options *o, const char *text, struct error *e)
{
	unsigned long number;

	if (!parse_number(text, 2, 1 << 20, &number) || number % 2)
		return error_set(e, EINVAL,
			"--memory %s: an even number of MiB from 2 to 1048576 is allowed", text);
	o->config.memory_size = (uint64_t)number << 20;
	return 0;
}

static int set_console(struct options *o, const char *text, struct error *e)
{
	o->virtio_console = strcmp(text, "virtio") == 0;
	if (o->virtio_console || strcmp(text, "serial") == 0)
		return 0;
	return error_set(e, EINVAL, "--console %s: serial or virtio is allowed", text);
}

static int set_balloon(struct options *o, const char *text, struct error *e)
{
	unsigned long number;

	o->balloon = parse_number(text, 0, 1 << 20, &number);
	o->balloon_mib = o->balloon ? (uint32_t)number : 0;
	if (o->balloon)
		return 0;
	return error_set(e, EINVAL, "--balloon %s: 0 to 1048576 MiB are allowed", text);
}

static int set_hotplug(struct options *o, const char *text, struct error *e)
{
	unsigned long number;

	if (!parse_number(text, 0, OPTIONS_HOTPLUG, &number))
		return error_set(
			e, EINVAL, "--hotplug %s: 0 to %d are allowed", text, OPTIONS_HOTPLUG);
	o->hotplug = (unsigned int)number;
	return 0;
}

// value: NULL for those without argument; it lives as long as the options and may be changed.
static int set_option(struct options *o, int option, char *value, struct error *e)
{
	switch (option) {
	case OPT_KERNEL:
		o->config.boot.kernel = value;
		return 0;
	case OPT_INITRD:
		o->config.boot.initrd = value;
		return 0;
	case OPT_CMDLINE:
		o->config.boot.cmdline = value;
		return 0;
	case OPT_CPUS:
		return set_cpus(o, value, e);
	case OPT_MEMORY:
		return set_memory(o, value, e);
	case OPT_HUGEPAGES:
		o->config.hugepages = true;
		return 0;
	case OPT_NET:
		return add_net(o, value, e);
	case OPT_DISK:
		return add_disk(o, value, e);
	case OPT_USER:
		o->user = value;
		return 0;
	case OPT_CONSOLE:
		return set_console(o, value, e);
	case OPT_RNG:
		o->rng = true;
		return 0;
	case OPT_BALLOON:
		return set_balloon(o, value, e);
	case OPT_VSOCK:
		return virtio_vsock_parse(&o->vsock, value, e);
	case OPT_NO_REBOOT:
		o->no_reboot = true;
		return 0;
	case OPT_HOTPLUG:
		return set_hotplug(o, value, e);
	case OPT_API:
		o->api = value;
		return 0;
	default:
		return error_set(e, EINVAL, "there is no such option");
	}
}

static void tell(const char *text)
{
	fprintf(stderr, "insula-vmm: %s\n", text);
}

static void set_defaults(struct options *o)
{
	*o = (struct options){ .config = { .cpus = 1, .memory_size = 256ull << 20 } };
}

int options_parse(struct options *ret_options, int argc, char **argv)
{
	struct options *o = ret_options;
	struct error e;
	unsigned int n_options = 0;
	int option;

	set_defaults(o);
	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		if (option == OPT_VERSION || option == OPT_HELP) {
			fputs(option == OPT_HELP ? USAGE : "insula-vmm " INSULA_VERSION "\n",
				stdout);
			return 1;
		}
		if (option == '?') {
			fputs(USAGE, stderr);
			return 3;
		}
		n_options++;
		if (set_option(o, option, optarg, &e) < 0) {
			tell(e.text);
			return 3;
		}
	}
	if (optind == argc && (o->config.boot.kernel || (o->api && n_options == 1)))
		return 0;
	if (optind < argc)
		fprintf(stderr, "insula-vmm: '%s': no such argument\n", argv[optind]);
	else
		tell("--kernel is missing");
	fputs(USAGE, stderr);
	return 3;
}

struct options_text {
	struct options_text *next;
	char text[];
};

// A copy that lives as long as the options; NULL: no memory.
static char *keep(struct options *o, const char *text)
{
	const size_t size = strlen(text) + 1;
	struct options_text *t = malloc(sizeof(*t) + size);

	if (!t)
		return NULL;
	t->next = o->texts;
	o->texts = t;
	return memcpy(t->text, text, size);
}

void options_free(struct options *o)
{
	while (o->texts) {
		struct options_text *t = o->texts;

		o->texts = t->next;
		free(t);
	}
}

static int append(char *words, size_t size, const char *key, const json_t *value)
{
	const char *comma = *words ? "," : "";
	const size_t at = strlen(words);
	int n;

	if (json_is_false(value))
		return 0;
	if (json_is_true(value))
		n = snprintf(words + at, size - at, "%s%s", comma, key);
	else if (json_is_integer(value))
		n = snprintf(words + at, size - at, "%s%s=%" JSON_INTEGER_FORMAT, comma, key,
			json_integer_value(value));
	else if (json_is_string(value) && !strchr(json_string_value(value), ','))
		n = snprintf(
			words + at, size - at, "%s%s=%s", comma, key, json_string_value(value));
	else
		return -EINVAL;
	return n < 0 || (size_t)n >= size - at ? -E2BIG : 0;
}

char *options_words(const char *what, json_t *object, struct error *e)
{
	enum { WORDS = 8192 };
	char *words;
	const char *key;
	json_t *value;
	int err = 0;

	if (!json_is_object(object)) {
		error_set(e, EINVAL, "%s: an object is wanted", what);
		return NULL;
	}
	words = calloc(1, WORDS);
	if (!words) {
		error_set(e, ENOMEM, "%s: no memory", what);
		return NULL;
	}
	json_object_foreach(object, key, value) {
		err = strpbrk(key, ",=") ? -EINVAL : append(words, WORDS, key, value);
		if (err == 0)
			continue;
		error_set(e, -err,
			"%s: '%.64s': a number, true, false, or a text without comma is wanted, "
			"and not too much of it",
			what, key);
		break;
	}
	if (err == 0)
		return words;
	free(words);
	return NULL;
}

static int set_text(
	struct options *o, const struct option *option, const char *text, struct error *e)
{
	char *kept = keep(o, text);

	return kept ? set_option(o, option->val, kept, e)
		    : error_set(e, ENOMEM, "%s: no memory", option->name);
}

static int set_words(struct options *o, const struct option *option, json_t *value, struct error *e)
{
	char *words = options_words(option->name, value, e);
	int err = words ? set_text(o, option, words, e) : -EINVAL;

	free(words);
	return err;
}

static bool takes_words(const struct option *option)
{
	return option->val == OPT_NET || option->val == OPT_DISK;
}

static bool takes_number(const struct option *option)
{
	return option->val == OPT_CPUS || option->val == OPT_MEMORY || option->val == OPT_BALLOON ||
	       option->val == OPT_HOTPLUG;
}

static int set_list(
	struct options *o, const struct option *option, const json_t *value, struct error *e)
{
	int err = 0;

	if (!json_is_array(value))
		return error_set(e, EINVAL, "%s: an array of objects is wanted", option->name);
	for (size_t i = 0; err == 0 && i < json_array_size(value); i++)
		err = set_words(o, option, json_array_get(value, i), e);
	return err;
}

static int set_json(struct options *o, const struct option *option, json_t *value, struct error *e)
{
	char number[32];

	if (takes_words(option))
		return set_list(o, option, value, e);
	if (option->val == OPT_VSOCK)
		return set_words(o, option, value, e);
	if (option->has_arg == no_argument) {
		if (!json_is_boolean(value))
			return error_set(e, EINVAL, "%s: true or false is wanted", option->name);
		return json_is_true(value) ? set_option(o, option->val, NULL, e) : 0;
	}
	if (!takes_number(option))
		return json_is_string(value)
			       ? set_text(o, option, json_string_value(value), e)
			       : error_set(e, EINVAL, "%s: a text is wanted", option->name);
	if (json_is_string(value))
		return error_set(e, EINVAL, "--%s %.64s: a text; an integer is wanted",
			option->name, json_string_value(value));
	if (!json_is_integer(value))
		return error_set(e, EINVAL, "%s: an integer is wanted", option->name);
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return set_text(o, option, number, e);
}

// What only the command line has is not among them.
static const struct option *find(const char *name)
{
	for (const struct option *o = OPTIONS; o->name; o++)
		if (strcmp(o->name, name) == 0 && o->val != OPT_API && o->val != OPT_VERSION &&
			o->val != OPT_HELP)
			return o;
	return NULL;
}

int options_from_json(struct options *ret_options, json_t *config, struct error *e)
{
	struct options o;
	const char *key;
	json_t *value;
	int err = 0;

	if (!json_is_object(config))
		return error_set(e, EINVAL, "an object is wanted");
	set_defaults(&o);
	json_object_foreach(config, key, value) {
		const struct option *option = find(key);

		err = option ? set_json(&o, option, value, e)
			     : error_set(e, EINVAL, "'%.64s': there is no such key", key);
		if (err < 0)
			break;
	}
	if (err == 0 && !o.config.boot.kernel)
		err = error_set(e, EINVAL, "kernel is missing");
	if (err < 0)
		options_free(&o);
	else
		*ret_options = o;
	return err;
}
