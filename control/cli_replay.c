// SPDX-License-Identifier: BSD-3-Clause
// `insula replay`: compiles the policies as insulad would, but with a store in memory, and becomes
// insula-switch --replay, which does the rest. No insulad is asked.
#include "control/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/compile.h"
#include "control/policy_file.h"
#include "control/switch_proc.h"

enum { FD_PATH_SIZE = 32 };

struct child_arguments {
	char **v;
	unsigned n, room;
};

static bool push(struct child_arguments *a, const char *word)
{
	if (a->n + 1 >= a->room) {
		unsigned room = a->room ? 2 * a->room : 32;
		char **grown = realloc(a->v, room * sizeof(*grown));

		if (grown == NULL)
			return false;
		a->v = grown;
		a->room = room;
	}
	a->v[a->n++] = (char *)(uintptr_t)word;
	a->v[a->n] = NULL;
	return true;
}

static bool push_option(struct child_arguments *a, const char *option, const char *value)
{
	return value == NULL || (push(a, option) && push(a, value));
}

// What the child gets of a file.
struct child_policy {
	char path[FD_PATH_SIZE]; // where it opens the policy
	char sessions[48]; // of the settings
};

// The policy in a memory file.
static bool compile(struct store *s, const char *name, struct child_policy *ret)
{
	struct switch_settings settings;
	struct model_errors errors = { 0 };
	char err[512] = "";
	void *policy = NULL;
	size_t size, policy_size;
	char *yaml = cli_read_file(name, &size);
	int r, fd = -1;

	if (yaml == NULL)
		return false;
	r = policy_file_compile(s, strcmp(name, "-") == 0 ? "<stdin>" : name, yaml, size, &policy,
		&policy_size, &settings, &errors, err, sizeof(err));
	free(yaml);
	for (unsigned i = 0; i < errors.n; i++)
		cli_error("%s", errors.text[i]);
	if (r < 0 && errors.n == 0)
		cli_error("%s", err);
	model_errors_free(&errors);
	if (r < 0)
		return false;
	r = compile_memfd(policy, policy_size, &fd);
	free(policy);
	if (r == 0 && fcntl(fd, F_SETFD, 0) < 0)
		r = -errno;
	if (r < 0)
		cli_error("%s: %s", name, strerror(-r));
	snprintf(ret->path, sizeof(ret->path), "/proc/self/fd/%d", fd);
	switch_settings_sessions(&settings, ret->sessions, sizeof(ret->sessions));
	return r == 0;
}

// PORT=CAPTURE each, and no port twice.
static bool check_inputs(const struct cli_replay *o)
{
	for (unsigned i = 0; i < o->n_inputs; i++) {
		const char *input = o->inputs[i], *equals = strchr(input, '=');

		if (equals == NULL || equals == input || equals[1] == '\0') {
			cli_error("--in is \"%s\"; PORT=CAPTURE is needed", input);
			return false;
		}
		for (unsigned j = 0; j < i; j++) {
			if (strncmp(o->inputs[j], input, (size_t)(equals - input) + 1) != 0)
				continue;
			cli_error("--in names port %.*s twice; one capture for each port is "
				  "possible (mergecap(1) joins several)",
				(int)(equals - input), input);
			return false;
		}
	}
	return true;
}

static bool check(const struct cli *c)
{
	const struct cli_replay *o = &c->replay;
	char *end = NULL;

	errno = 0;
	if (o->policy == NULL || o->n_inputs == 0 || (o->out == NULL) == (o->against == NULL)) {
		cli_error("replay needs --policy FILE, --in PORT=CAPTURE, and either --out DIR or "
			  "--against FILE");
		return false;
	}
	if (c->output == CLI_YAML) {
		cli_error("replay prints a table or JSON, not YAML");
		return false;
	}
	if (o->seed != NULL &&
		((void)strtoull(o->seed, &end, 10),
			*o->seed < '0' || *o->seed > '9' || *end != '\0' || errno == ERANGE)) {
		cli_error("--seed is %s; a number up to %llu is needed", o->seed, ULLONG_MAX);
		return false;
	}
	return check_inputs(o);
}

// against: NULL, or the second policy.
static bool arguments(const struct cli *c, const char *path, const struct child_policy *policy,
	const struct child_policy *against, struct child_arguments *a)
{
	const struct cli_replay *o = &c->replay;
	bool ok = push(a, path) && push(a, "--replay") &&
		  push_option(a, "--policy", policy->path) &&
		  push_option(a, "--sessions", policy->sessions) &&
		  (!against || (push_option(a, "--against", against->path) &&
				       push_option(a, "--against-sessions", against->sessions))) &&
		  push_option(a, "--out", o->out) && push_option(a, "--seed", o->seed) &&
		  push_option(a, "--burst", o->burst) && push_option(a, "--workers", o->workers);

	for (unsigned i = 0; ok && i < o->n_inputs; i++)
		ok = push_option(a, "--in", o->inputs[i]);
	return ok && (c->output != CLI_JSON || push(a, "--json"));
}

int cli_replay(const struct cli *c, int n_args, char *const *args)
{
	const struct cli_replay *o = &c->replay;
	int trouble = o->against != NULL ? CLI_USAGE : CLI_FAILED; // as diff(1): 2 is trouble
	struct child_policy policy, against;
	char path[512], err[512] = "";
	struct child_arguments a = { 0 };
	struct store *store;
	bool ok;

	if (!check(c))
		return CLI_USAGE;
	if (switch_proc_find(path, sizeof(path), err, sizeof(err)) < 0 ||
		store_open_memory(o->state_dir, &store, err, sizeof(err)) < 0) {
		cli_error("%s", err);
		return trouble;
	}
	ok = compile(store, o->policy, &policy) &&
	     (o->against == NULL || compile(store, o->against, &against));
	store_close(store);
	if (!ok)
		return trouble;
	if (arguments(c, path, &policy, o->against != NULL ? &against : NULL, &a)) {
		execv(path, a.v);
		cli_error("%s: %s", path, strerror(errno));
	}
	free(a.v);
	return trouble;
}
