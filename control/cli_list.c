// SPDX-License-Identifier: BSD-3-Clause
// `insula list`, `show` and `status`: what is, as insulad tells it.
#include "control/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What a person types, and the API's word for it.
static const struct kind {
	const char *one, *many;
} kinds[] = {
	{ "tenant", "tenants" },
	{ "network", "networks" },
	{ "port", "ports" },
	{ "lease", "leases" },
	{ "session", "sessions" },
	{ "uplink", "uplinks" },
	{ "drop", "drops" },
};

static const char *find_kind(const char *word)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(word, kinds[i].one) == 0 || strcmp(word, kinds[i].many) == 0)
			return kinds[i].many;
	cli_error("unknown kind \"%s\"; tenant, network, port, lease, session, uplink or drops",
		word);
	return NULL;
}

// Reasons that never dropped anything would bury the others.
static json_t *without_zeros(json_t *drops)
{
	json_t *some = json_array(), *row;
	size_t i;

	json_array_foreach(drops, i, row) {
		json_t *count = json_object_get(row, "count");

		if (count == NULL || json_integer_value(count) != 0)
			json_array_append(some, row);
	}
	return some;
}

static void print_list(json_t *object, const char *kind)
{
	json_t *list = json_object_get(object, kind), *some;

	if (strcmp(kind, "drops") != 0) {
		cli_print_table(list);
		return;
	}
	some = without_zeros(list);
	cli_print_table(some);
	if (json_array_size(some) == 0)
		printf("nothing has been dropped\n");
	json_decref(some);
}

static int print_reply(const struct cli *c, const char *path, const char *kind)
{
	struct cli_reply r;

	if (!cli_ask(c, "GET", path, NULL, NULL, 0, &r))
		return CLI_FAILED;
	if (c->output != CLI_TABLE)
		cli_print_object(c, r.json);
	else if (kind != NULL && json_is_array(json_object_get(r.json, kind)))
		print_list(r.json, kind);
	else
		cli_print_record(r.json);
	cli_reply_free(&r);
	return CLI_OK;
}

int cli_list(const struct cli *c, int n_args, char *const *args)
{
	const char *kind = find_kind(args[0]);
	char path[64];

	if (kind == NULL)
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/v1/%s", kind);
	return print_reply(c, path, kind);
}

int cli_show(const struct cli *c, int n_args, char *const *args)
{
	const char *kind = find_kind(args[0]);
	char *name, *path = NULL;
	int r = CLI_FAILED;

	if (kind == NULL)
		return CLI_USAGE;
	if (n_args == 1)
		return cli_list(c, n_args, args);
	name = curl_easy_escape(NULL, args[1], 0);
	if (name != NULL && asprintf(&path, "/v1/%s/%s", kind, name) >= 0)
		r = print_reply(c, path, kind);
	free(path);
	curl_free(name);
	return r;
}

int cli_status(const struct cli *c, int n_args, char *const *args)
{
	return print_reply(c, "/v1/status", NULL);
}
