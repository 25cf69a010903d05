// SPDX-License-Identifier: BSD-3-Clause
// `insula`, the command line: reads the arguments, finds the command, runs it. It holds no state
// and no DPDK: everything is asked of insulad.
#include "control/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	OPT_RUN_DIR = 256,
	OPT_STATE_DIR,
	OPT_VERSION,
	OPT_JSON,
	OPT_POLICY,
	OPT_AGAINST,
	OPT_IN,
	OPT_OUT,
	OPT_SEED,
	OPT_BURST, // of no use but to tests, like the next
	OPT_WORKERS,
	OPT_FORCE,
	OPT_LOG,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_HUGEPAGES,
	OPT_DISK,
	OPT_NETWORK,
	OPT_RESTART,
	OPT_STOP_TIMEOUT,
	OPT_IMAGE,
	OPT_USER_DATA,
	OPT_SSH_KEY,
	OPT_FORMAT,
	OPT_SHA256,
	OPT_NAME, // from here on of `image build`
	OPT_MIRROR,
	OPT_SIZE,
	OPT_PACKAGES,
};

struct arguments {
	const char *run_dir, *state_dir, *file;
	enum cli_output output;
	struct cli_replay replay;
	struct cli_instance instance;
	struct cli_image image;
	bool help, version, force, log;
};

static bool parse_output(const char *word, enum cli_output *ret_output)
{
	static const char *const words[CLI_OUTPUT_COUNT] = { "table", "json", "yaml" };

	for (unsigned i = 0; i < CLI_OUTPUT_COUNT; i++) {
		if (strcmp(words[i], word) == 0) {
			*ret_output = (enum cli_output)i;
			return true;
		}
	}
	cli_error("unknown output format \"%s\"; table, json or yaml", word);
	return false;
}

static bool take_file(const char *name, const char **ret_file)
{
	if (*ret_file != NULL) {
		cli_error(
			"-f is given twice, \"%s\" and \"%s\"; one file is the whole desired state",
			*ret_file, name);
		return false;
	}
	*ret_file = name;
	return true;
}

static bool append(const char ***list, unsigned *n, const char *word)
{
	const char **grown = realloc(*list, (*n + 1) * sizeof(*grown));

	if (grown == NULL)
		return false;
	*list = grown;
	grown[(*n)++] = word;
	return true;
}

// An option of `insula replay`.
static bool take_replay(struct cli_replay *r, int option, const char *value)
{
	const struct {
		int option;
		const char *name, **text;
	} once[] = { { OPT_POLICY, "--policy", &r->policy },
		{ OPT_AGAINST, "--against", &r->against }, { OPT_OUT, "--out", &r->out },
		{ OPT_SEED, "--seed", &r->seed }, { OPT_BURST, "--burst", &r->burst },
		{ OPT_WORKERS, "--workers", &r->workers } };

	r->given = true;
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
		if (once[i].option != option)
			continue;
		if (*once[i].text != NULL) {
			cli_error("%s is given twice, \"%s\" and \"%s\"", once[i].name,
				*once[i].text, value);
			return false;
		}
		*once[i].text = value;
	}
	return option != OPT_IN || append(&r->inputs, &r->n_inputs, value);
}

// An option of `insula instance create`.
static bool take_instance(struct cli_instance *in, int option, const char *value)
{
	const char **const texts[] = { [OPT_KERNEL - OPT_KERNEL] = &in->kernel,
		[OPT_INITRD - OPT_KERNEL] = &in->initrd,
		[OPT_CMDLINE - OPT_KERNEL] = &in->cmdline,
		[OPT_CPUS - OPT_KERNEL] = &in->cpus,
		[OPT_MEMORY - OPT_KERNEL] = &in->memory,
		[OPT_RESTART - OPT_KERNEL] = &in->restart,
		[OPT_STOP_TIMEOUT - OPT_KERNEL] = &in->stop_timeout,
		[OPT_IMAGE - OPT_KERNEL] = &in->image,
		[OPT_USER_DATA - OPT_KERNEL] = &in->user_data,
		[OPT_SSH_KEY - OPT_KERNEL] = &in->ssh_key };

	if (option == OPT_KERNEL || option == OPT_INITRD || option == OPT_CMDLINE)
		in->given_boot = true;
	else
		in->given = true;
	if (option == OPT_HUGEPAGES)
		in->hugepages = true;
	else if (option == OPT_DISK)
		return append(&in->disks, &in->n_disks, value);
	else if (option == OPT_NETWORK)
		return append(&in->networks, &in->n_networks, value);
	else
		*texts[option - OPT_KERNEL] = value;
	return true;
}

// An option of `insula image ...`.
static void take_image(struct cli_image *image, int option, const char *value)
{
	const char **const texts[] = { [OPT_FORMAT - OPT_FORMAT] = &image->format,
		[OPT_SHA256 - OPT_FORMAT] = &image->sha256,
		[OPT_NAME - OPT_FORMAT] = &image->name,
		[OPT_MIRROR - OPT_FORMAT] = &image->mirror,
		[OPT_SIZE - OPT_FORMAT] = &image->size,
		[OPT_PACKAGES - OPT_FORMAT] = &image->packages };

	*texts[option - OPT_FORMAT] = value;
	if (option >= OPT_NAME)
		image->given_build = true;
	else
		image->given = true;
}

static bool parse_options(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "file", required_argument, NULL, 'f' },
		{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
		{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "policy", required_argument, NULL, OPT_POLICY },
		{ "against", required_argument, NULL, OPT_AGAINST },
		{ "in", required_argument, NULL, OPT_IN },
		{ "out", required_argument, NULL, OPT_OUT },
		{ "seed", required_argument, NULL, OPT_SEED },
		{ "burst", required_argument, NULL, OPT_BURST },
		{ "workers", required_argument, NULL, OPT_WORKERS },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "log", no_argument, NULL, OPT_LOG },
		{ "kernel", required_argument, NULL, OPT_KERNEL },
		{ "initrd", required_argument, NULL, OPT_INITRD },
		{ "cmdline", required_argument, NULL, OPT_CMDLINE },
		{ "cpus", required_argument, NULL, OPT_CPUS },
		{ "memory", required_argument, NULL, OPT_MEMORY },
		{ "hugepages", no_argument, NULL, OPT_HUGEPAGES },
		{ "disk", required_argument, NULL, OPT_DISK },
		{ "network", required_argument, NULL, OPT_NETWORK },
		{ "restart", required_argument, NULL, OPT_RESTART },
		{ "stop-timeout", required_argument, NULL, OPT_STOP_TIMEOUT },
		{ "image", required_argument, NULL, OPT_IMAGE },
		{ "user-data", required_argument, NULL, OPT_USER_DATA },
		{ "ssh-key", required_argument, NULL, OPT_SSH_KEY },
		{ "format", required_argument, NULL, OPT_FORMAT },
		{ "sha256", required_argument, NULL, OPT_SHA256 },
		{ "name", required_argument, NULL, OPT_NAME },
		{ "mirror", required_argument, NULL, OPT_MIRROR },
		{ "size", required_argument, NULL, OPT_SIZE },
		{ "packages", required_argument, NULL, OPT_PACKAGES },
		{ 0 },
	};
	bool good = true;
	int option;

	// To its end, so that the command is known whose usage is told.
	while ((option = getopt_long(argc, argv, "o:f:h", options, NULL)) != -1) {
		if (option == 'o' || option == 'f')
			good = (option == 'o' ? parse_output(optarg, &a->output)
					      : take_file(optarg, &a->file)) &&
			       good;
		else if (option == OPT_RUN_DIR)
			a->run_dir = optarg;
		else if (option == OPT_STATE_DIR)
			a->state_dir = optarg;
		else if (option == 'h')
			a->help = true;
		else if (option == OPT_VERSION)
			a->version = true;
		else if (option == OPT_FORCE)
			a->force = true;
		else if (option == OPT_LOG)
			a->log = true;
		else if (option == OPT_JSON)
			a->output = CLI_JSON;
		else if (option >= OPT_FORMAT)
			take_image(&a->image, option, optarg);
		else if (option == '?' ||
			 (option >= OPT_KERNEL && !take_instance(&a->instance, option, optarg)) ||
			 (option >= OPT_POLICY && option < OPT_FORCE &&
				 !take_replay(&a->replay, option, optarg)))
			good = false;
	}
	return good;
}

// Option, environment or default; without a slash at its end; absolute, since insulad is started in
// another directory.
static char *directory(const char *option, const char *env, const char *fallback)
{
	const char *dir = option != NULL ? option : getenv(env);
	char *cwd, *path = NULL;

	if (dir == NULL || dir[0] == '\0')
		dir = fallback;
	if (dir[0] == '/') {
		path = strdup(dir);
	} else {
		cwd = getcwd(NULL, 0);
		if (cwd == NULL || asprintf(&path, "%s/%s", cwd, dir) < 0)
			path = NULL;
		free(cwd);
	}
	for (size_t n = path != NULL ? strlen(path) : 0; n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	return path;
}

static bool is_given(const char *option, const char *env)
{
	const char *dir = option != NULL ? option : getenv(env);

	return dir != NULL && dir[0] != '\0';
}

static int usage_error(const struct cli_command *command)
{
	if (command != NULL)
		fprintf(stderr, "usage: insula %s%s%s; see insula %s --help\n", command->name,
			command->arguments[0] != '\0' ? " " : "", command->arguments,
			command->name);
	else
		fprintf(stderr, "usage: insula COMMAND [OPTION...]; see insula --help\n");
	return CLI_USAGE;
}

static int run(
	const struct cli_command *command, const struct arguments *a, int n_args, char **args)
{
	struct cli c = { .output = a->output,
		.file = a->file,
		.replay = a->replay,
		.instance = a->instance,
		.image = a->image,
		.force = a->force,
		.log = a->log };
	int r = CLI_FAILED;

	c.replay.state_dir = a->state_dir;
	c.given_state_dir = is_given(a->state_dir, "INSULA_STATE_DIR");
	c.run_dir = directory(a->run_dir, "INSULA_RUN_DIR", "/run/insula");
	c.state_dir = directory(a->state_dir, "INSULA_STATE_DIR", "/var/lib/insula");
	if (c.run_dir == NULL || c.state_dir == NULL ||
		asprintf(&c.socket, "%s/insulad.sock", c.run_dir) < 0)
		cli_error("the current directory cannot be found");
	else
		r = command->run(&c, n_args, args);
	free(c.socket);
	free(c.run_dir);
	free(c.state_dir);
	return r;
}

// "instance start" are two words. *ret_n: how many it took.
static const struct cli_command *find_command(char *const *words, int n_words, int *ret_n)
{
	char two[64];

	*ret_n = 2;
	if (n_words > 1) {
		snprintf(two, sizeof(two), "%s %s", words[0], words[1]);
		if (strlen(two) < sizeof(two) - 1 && cli_command_find(two) != NULL)
			return cli_command_find(two);
	}
	*ret_n = 1;
	return cli_command_find(words[0]);
}

// What is wrong with a command's words and options. It is said, and false, if anything is.
static bool is_called_rightly(
	const struct cli_command *command, const struct arguments *a, int n_args, char **args)
{
	const struct {
		bool given, taken;
		const char *of;
	} options[] = {
		{ a->file != NULL, command->takes_file, "-f FILE" },
		{ a->force, command->takes_force, "--force" },
		{ a->log, command->takes_log, "--log" },
		{ a->replay.given, command->takes_replay, "options of `replay`" },
		{ a->instance.given, command->takes_instance, "options of `instance create`" },
		{ a->instance.given_boot, command->takes_instance || command->takes_image,
			"--kernel, --initrd and --cmdline" },
		{ a->image.given, command->takes_image, "options of `image import`" },
		{ a->image.given_build, command->takes_build, "options of `image build`" },
	};

	if (n_args > command->max_args)
		cli_error("%s: unexpected '%s'%s", command->name, args[command->max_args],
			command->takes_file ? "; a file is named by -f FILE" : "");
	else if (n_args < command->min_args)
		cli_error("%s: too few words", command->name);
	else if (command->takes_file && a->file == NULL)
		cli_error("%s: -f FILE is missing", command->name);
	else {
		for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (options[i].given && !options[i].taken) {
				cli_error("%s: does not have %s", command->name, options[i].of);
				return false;
			}
		return true;
	}
	return false;
}

static int find_and_run(int argc, char **argv, struct arguments *a)
{
	const struct cli_command *command = NULL;
	int n_args, n_words;

	if (!parse_options(argc, argv, a))
		return usage_error(optind < argc
					   ? find_command(argv + optind, argc - optind, &n_words)
					   : NULL);
	if (a->version) {
		printf("insula %s\n", INSULA_VERSION);
		return CLI_OK;
	}
	if (optind < argc && strcmp(argv[optind], "help") == 0) {
		a->help = true;
		optind++;
	}
	if (optind < argc) {
		command = find_command(argv + optind, argc - optind, &n_words);
		if (command == NULL && optind + 1 >= argc &&
			cli_help_group(a->help ? stdout : stderr, argv[optind]))
			return a->help ? CLI_OK : CLI_USAGE;
		if (command == NULL) {
			cli_error("unknown command \"%s%s%s\"", argv[optind],
				optind + 1 < argc ? " " : "",
				optind + 1 < argc ? argv[optind + 1] : "");
			return usage_error(NULL);
		}
		optind += n_words;
	}
	if (a->help) {
		if (command != NULL)
			cli_help_command(command);
		else
			cli_help();
		return CLI_OK;
	}
	n_args = argc - optind;
	if (command == NULL)
		return usage_error(NULL);
	if (!is_called_rightly(command, a, n_args, argv + optind))
		return usage_error(command);
	return run(command, a, n_args, argv + optind);
}

int main(int argc, char **argv)
{
	struct arguments a = { 0 };
	int r = find_and_run(argc, argv, &a);

	free(a.replay.inputs);
	free(a.instance.disks);
	free(a.instance.networks);
	if (fflush(stdout) != 0 || ferror(stdout)) { // a full disk is no success
		cli_error("standard output cannot be written");
		return r == CLI_OK ? CLI_FAILED : r;
	}
	return r;
}
