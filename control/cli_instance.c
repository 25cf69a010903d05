// SPDX-License-Identifier: BSD-3-Clause
// `insula instance ...`: machines started, stopped, paused. insulad does it in the background; here
// it is waited for, and told how far it is.
#include "control/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	POLL_MS = 50,
	START_S = 60, // then it goes on without us
	STOP_MORE_S = 15, // beyond the instance's own time
	PLUG_S = 60,
};

int cli_instance_list(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "instance";
	char *const of_list[] = { kind };

	return cli_list(c, 1, of_list);
}

int cli_instance_show(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "instance";
	char *const of_show[] = { kind, args[0] };

	return cli_show(c, 2, of_show);
}

bool cli_instance_ask(const struct cli *c, const char *method, const char *name, const char *word,
	struct cli_reply *ret_reply)
{
	char *escaped = curl_easy_escape(NULL, name, 0), *path = NULL;
	bool good = false;

	if (escaped != NULL &&
		asprintf(&path, "/v1/instances/%s%s%s", escaped, word[0] ? "/" : "", word) >= 0)
		good = cli_ask(c, method, path, NULL, NULL, 0, ret_reply);
	free(path);
	curl_free(escaped);
	return good;
}

static const char *word_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool is_one_of(const char *state, const char *words)
{
	const char *at = strstr(words, state);
	size_t n = strlen(state);

	return n > 0 && at != NULL && (at == words || at[-1] == ' ') &&
	       (at[n] == ' ' || at[n] == '\0');
}

// On a terminal one line that changes; elsewhere nothing until the end.
static void tell_progress(const struct cli *c, const char *name, const char *state, double waited_s)
{
	if (c->output == CLI_TABLE && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s is %s ... %.0f s", name, state, waited_s);
}

static void end_progress(const struct cli *c)
{
	if (c->output == CLI_TABLE && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

// It is as is wanted of it: where that is not what is waited for, another command came later.
static bool is_settled(const json_t *o)
{
	static const char *const words[][2] = { { "started", "running" }, { "stopped", "stopped" },
		{ "paused", "paused" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word_of(o, "wanted"), words[i][0]) == 0)
			return strcmp(word_of(o, "state"), words[i][1]) == 0;
	return false;
}

// What has come of it: the object as insulad tells it.
static int say_end(const struct cli *c, const char *name, json_t *o, bool good)
{
	const char *trouble = word_of(o, "trouble");

	end_progress(c);
	if (!good && !trouble[0] && is_settled(o))
		trouble = strcmp(word_of(o, "state"), "stopped") == 0
				  ? "somebody has stopped it meanwhile, or its guest is off"
				  : "somebody's command came after this one";
	if (c->output != CLI_TABLE)
		cli_print_object(c, o);
	else if (good)
		printf("%s is %s\n", name, word_of(o, "state"));
	else
		cli_error(
			"%s is %s%s%s", name, word_of(o, "state"), trouble[0] ? ": " : "", trouble);
	if (good && word_of(o, "not_stored")[0]) { // done, but a power loss would undo it
		if (c->output == CLI_TABLE)
			cli_error("%s: %s", name, word_of(o, "not_stored"));
		return CLI_FAILED;
	}
	return good ? CLI_OK : CLI_FAILED;
}

int cli_instance_wait(const struct cli *c, const char *name, const char *until, const char *others,
	double limit_s)
{
	double begin = now_s();
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	struct cli_reply r;

	for (;;) {
		if (!cli_instance_ask(c, "GET", name, "", &r))
			return CLI_FAILED;
		const char *state = word_of(r.json, "state");
		bool good = is_one_of(state, until);
		if (good || is_one_of(state, others) || is_settled(r.json) ||
			now_s() - begin > limit_s) {
			int result = say_end(c, name, r.json, good);
			cli_reply_free(&r);
			return result;
		}
		tell_progress(c, name, state, now_s() - begin);
		cli_reply_free(&r);
		nanosleep(&pause, NULL);
	}
}

// Volumes that come and go while it runs. True: it is waited for.
static bool is_plugging(const struct cli *c, const char *name, const json_t *o, double waited_s)
{
	const json_t *in = json_object_get(o, "plugging"), *out = json_object_get(o, "unplugging");
	const char *volume = json_string_value(json_array_get(out ? out : in, 0));

	if (volume == NULL || word_of(o, "trouble")[0] ||
		strcmp(word_of(o, "state"), "paused") == 0)
		return false;
	if (c->output == CLI_TABLE && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s: volume %s is being %s ... %.0f s", name, volume,
			out ? "unplugged" : "plugged in", waited_s);
	return waited_s < PLUG_S;
}

static int wait_plugged(const struct cli *c, const char *name)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	double begin = now_s();
	struct cli_reply r;

	for (;;) {
		if (!cli_instance_ask(c, "GET", name, "", &r))
			return CLI_FAILED;
		if (!is_plugging(c, name, r.json, now_s() - begin))
			break;
		cli_reply_free(&r);
		nanosleep(&pause, NULL);
	}
	end_progress(c);
	bool paused = strcmp(word_of(r.json, "state"), "paused") == 0;
	bool good = paused || (json_object_get(r.json, "plugging") == NULL &&
				      json_object_get(r.json, "unplugging") == NULL);
	if (!good) {
		const char *why = word_of(r.json, "trouble");
		cli_error("%s: %s", name,
			why[0] ? why
			       : "its volumes are not all there yet; "
				 "`insula instance show` tells");
	}
	cli_reply_free(&r);
	return good ? CLI_OK : CLI_FAILED;
}

int cli_instance_wait_plugged(const struct cli *c, const json_t *changes)
{
	const json_t *change;
	int result = CLI_OK;
	size_t i;

	json_array_foreach(changes, i, change) {
		if (strcmp(word_of(change, "kind"), "instance") == 0 &&
			strcmp(word_of(change, "op"), "update") == 0 &&
			wait_plugged(c, word_of(change, "name")) != CLI_OK)
			result = CLI_FAILED;
	}
	return result;
}

static int act(const struct cli *c, const char *name, const char *action, const char *until,
	const char *others)
{
	struct cli_reply r;
	double limit_s;

	if (!cli_instance_ask(c, "POST", name, action, &r))
		return CLI_FAILED;
	limit_s =
		(double)json_integer_value(json_object_get(r.json, "stop_timeout_s")) + STOP_MORE_S;
	if (limit_s < START_S)
		limit_s = START_S;
	cli_reply_free(&r);
	return cli_instance_wait(c, name, until, others, limit_s);
}

int cli_instance_start(const struct cli *c, int n_args, char *const *args)
{
	return act(c, args[0], "start", "running", "failed restarting");
}

int cli_instance_restart(const struct cli *c, int n_args, char *const *args)
{
	return act(c, args[0], "restart", "running", "failed restarting");
}

int cli_instance_stop(const struct cli *c, int n_args, char *const *args)
{
	return act(c, args[0], c->force ? "kill" : "stop", "stopped failed", "");
}

int cli_instance_pause(const struct cli *c, int n_args, char *const *args)
{
	return act(c, args[0], "pause", "paused", "failed restarting stopped");
}

int cli_instance_resume(const struct cli *c, int n_args, char *const *args)
{
	return act(c, args[0], "resume", "running", "failed restarting stopped");
}
