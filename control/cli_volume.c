// SPDX-License-Identifier: BSD-3-Clause
// `insula volume ...`.
#include "control/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_volume_list(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "volume";
	char *const of_list[] = { kind };

	return cli_list(c, 1, of_list);
}

int cli_volume_show(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "volume";
	char *const of_show[] = { kind, args[0] };

	return cli_show(c, 2, of_show);
}

// METHOD /v1/volumes[/NAME[/WORD]]; takes the words. True with a reply.
static bool ask(const struct cli *c, const char *method, const char *name, const char *word,
	json_t *words, struct cli_reply *ret)
{
	char *escaped = curl_easy_escape(NULL, name, 0), *path = NULL;
	char *body = words != NULL ? json_dumps(words, JSON_COMPACT) : strdup("");
	bool good = false;

	json_decref(words);
	if (escaped != NULL && body != NULL &&
		asprintf(&path, "/v1/volumes%s%s%s%s", name[0] ? "/" : "", escaped,
			word[0] ? "/" : "", word) >= 0)
		good = cli_ask(c, method, path, NULL, body, strlen(body), ret);
	free(path);
	free(body);
	curl_free(escaped);
	return good;
}

// What was done, in words; else insulad's object.
static int say(const struct cli *c, struct cli_reply *r, const char *name, const char *done)
{
	if (c->output == CLI_TABLE)
		printf("volume %s is %s\n", name, done);
	else
		cli_print_object(c, r->json);
	cli_reply_free(r);
	return CLI_OK;
}

static json_t *size_of(const char *size)
{
	uint64_t mib = cli_parse_size(size);

	if (mib == 0)
		cli_error("size %s: allowed: " CLI_SIZES, size);
	return mib > 0 ? json_pack("{s:I}", "size_mib", (json_int_t)mib) : NULL;
}

int cli_volume_create(const struct cli *c, int n_args, char *const *args)
{
	json_t *words = size_of(args[1]);
	struct cli_reply r;

	if (words == NULL)
		return CLI_USAGE;
	json_object_set_new(words, "name", json_string(args[0]));
	return ask(c, "POST", "", "", words, &r) ? say(c, &r, args[0], "made") : CLI_FAILED;
}

int cli_volume_resize(const struct cli *c, int n_args, char *const *args)
{
	json_t *words = size_of(args[1]);
	struct cli_reply r;

	if (words == NULL)
		return CLI_USAGE;
	return ask(c, "POST", args[0], "resize", words, &r) ? say(c, &r, args[0], "resized")
							    : CLI_FAILED;
}

int cli_volume_delete(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;

	return ask(c, "DELETE", args[0], "", NULL, &r) ? say(c, &r, args[0], "deleted")
						       : CLI_FAILED;
}

static int change(const struct cli *c, const char *name, const char *word, json_t *words)
{
	struct cli_reply r;

	if (c->force)
		json_object_set_new(words, "restart", json_true());
	if (!ask(c, "POST", name, word, words, &r))
		return CLI_FAILED;
	return cli_tell_applied(c, &r);
}

int cli_volume_attach(const struct cli *c, int n_args, char *const *args)
{
	return change(c, args[0], "attach", json_pack("{s:s}", "instance", args[1]));
}

int cli_volume_detach(const struct cli *c, int n_args, char *const *args)
{
	return change(c, args[0], "detach", json_object());
}
