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
};

struct arguments {
	const char *run_dir, *state_dir, *file;
	enum cli_output output;
	struct cli_replay replay;
	bool help, version;
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

static bool take_input(struct cli_replay *r, const char *input)
{
	const char **grown = realloc(r->inputs, (r->n_inputs + 1) * sizeof(*grown));

	if (grown == NULL)
		return false;
	r->inputs = grown;
	r->inputs[r->n_inputs++] = input;
	return true;
}

// An option of `insula replay`.
static bool take_replay(struct cli_replay *r, int option, const char *value)
{
	r->given = true;
	if (option == OPT_POLICY)
		r->policy = value;
	else if (option == OPT_AGAINST)
		r->against = value;
	else if (option == OPT_OUT)
		r->out = value;
	else if (option == OPT_SEED)
		r->seed = value;
	else if (option == OPT_BURST)
		r->burst = value;
	else if (option == OPT_WORKERS)
		r->workers = value;
	return option != OPT_IN || take_input(r, value);
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
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "o:f:h", options, NULL)) != -1) {
		if (option == 'o' && !parse_output(optarg, &a->output))
			return false;
		else if (option == 'f' && !take_file(optarg, &a->file))
			return false;
		else if (option == OPT_RUN_DIR)
			a->run_dir = optarg;
		else if (option == OPT_STATE_DIR)
			a->state_dir = optarg;
		else if (option == 'h')
			a->help = true;
		else if (option == OPT_VERSION)
			a->version = true;
		else if (option == OPT_JSON)
			a->output = CLI_JSON;
		else if (option == '?' ||
			 (option >= OPT_POLICY && !take_replay(&a->replay, option, optarg)))
			return false;
	}
	return true;
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
	struct cli c = { .output = a->output, .file = a->file, .replay = a->replay };
	int r = CLI_FAILED;

	c.replay.state_dir = a->state_dir;
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
	if (fflush(stdout) != 0 || ferror(stdout)) { // a full disk is no success
		cli_error("standard output cannot be written");
		return r == CLI_OK ? CLI_FAILED : r;
	}
	return r;
}

int main(int argc, char **argv)
{
	struct arguments a = { 0 };
	const struct cli_command *command = NULL;
	int n_args;

	if (!parse_options(argc, argv, &a))
		return usage_error(NULL);
	if (a.version) {
		printf("insula %s\n", INSULA_VERSION);
		return CLI_OK;
	}
	if (optind < argc && strcmp(argv[optind], "help") == 0) {
		a.help = true;
		optind++;
	}
	if (optind < argc) {
		command = cli_command_find(argv[optind]);
		if (command == NULL) {
			cli_error("unknown command \"%s\"", argv[optind]);
			return usage_error(NULL);
		}
		optind++;
	}
	if (a.help) {
		if (command != NULL)
			cli_help_command(command);
		else
			cli_help();
		return CLI_OK;
	}
	n_args = argc - optind;
	if (command == NULL)
		return usage_error(NULL);
	if (n_args < command->min_args || n_args > command->max_args ||
		command->takes_file != (a.file != NULL) ||
		(a.replay.given && !command->takes_replay))
		return usage_error(command);
	return run(command, &a, n_args, argv + optind);
}
