// SPDX-License-Identifier: BSD-3-Clause
// `insula list`, `show` and `status`: what is, as insulad tells it.
#include "control/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 13 }; // with the NULL behind them

// What a person types, the API's word for it, and what of it fits a table: all is in `show` and
// JSON.
static const struct kind {
	const char *one, *many;
	const char *columns[MAX_SHOWN];
} kinds[] = {
	{ "tenant", "tenants", { "name", "id", "networks", "instances", "ports" } },
	{ "network", "networks",
		{ "name", "id", "vlan", "subnet", "gateway", "mtu", "dns", "dns_source", "pool",
			"snat" } },
	{ "port", "ports",
		{ "name", "id", "state", "address", "mac", "rx_packets", "tx_packets", "drops",
			"device", "trouble", "reason", "note" } },
	{ "lease", "leases",
		{ "address", "port", "network", "mac", "kind", "state", "expires_s", "hostname" } },
	{ "session", "sessions",
		{ "id", "proto", "src", "dst", "reply_dst", "state", "from", "to", "idle_s",
			"packets", "reply_packets" } },
	{ "uplink", "uplinks",
		{ "name", "id", "mode", "state", "address", "gateway", "rx_packets", "tx_packets",
			"drops", "device", "trouble", "reason", "note" } },
	{ "instance", "instances",
		{ "name", "type", "state", "addresses", "cpus", "memory_mib", "pid", "uptime_s",
			"restarts", "trouble" } },
	{ "image", "images",
		{ "name", "state", "format", "disk_bytes", "bytes", "done_bytes", "total_bytes",
			"created", "used_by", "trouble" } },
	{ "volume", "volumes",
		{ "name", "state", "bytes", "allocated_bytes", "attached_to", "held_by" } },
	{ "drop", "drops", { "reason", "count", "meaning" } },
};

static const struct kind *find_kind(const char *word)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(word, kinds[i].one) == 0 || strcmp(word, kinds[i].many) == 0)
			return &kinds[i];
	cli_error("unknown kind \"%s\"; tenant, network, port, instance, image, volume, lease, "
		  "session, "
		  "uplink or drops",
		word);
	return NULL;
}

// Reasons that never dropped anything would bury the others.
static void print_drops(json_t *drops, const struct kind *kind)
{
	json_t *some = json_array(), *row;
	size_t i;

	json_array_foreach(drops, i, row) {
		if (json_integer_value(json_object_get(row, "count")) == 0)
			continue;
		json_object_set(row, "meaning", json_object_get(row, "text"));
		json_array_append(some, row);
	}
	cli_print_table(some, kind->columns);
	if (json_array_size(some) == 0)
		printf("nothing has been dropped\n");
	json_decref(some);
}

static void print_list(json_t *list, const struct kind *kind)
{
	if (strcmp(kind->many, "drops") == 0)
		print_drops(list, kind);
	else
		cli_print_table(list, kind->columns);
}

static int print_reply(const struct cli *c, const char *path, const struct kind *kind)
{
	struct cli_reply r;

	if (!cli_ask(c, "GET", path, NULL, NULL, 0, &r))
		return CLI_FAILED;
	if (c->output != CLI_TABLE)
		cli_print_object(c, r.json);
	else if (kind != NULL && json_is_array(json_object_get(r.json, kind->many)))
		print_list(json_object_get(r.json, kind->many), kind);
	else
		cli_print_record(r.json);
	cli_reply_free(&r);
	return CLI_OK;
}

int cli_list(const struct cli *c, int n_args, char *const *args)
{
	const struct kind *kind = find_kind(args[0]);
	char path[64];

	if (kind == NULL)
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/v1/%s", kind->many);
	return print_reply(c, path, kind);
}

int cli_show(const struct cli *c, int n_args, char *const *args)
{
	const struct kind *kind = find_kind(args[0]);
	char *name, *path = NULL;
	int r = CLI_FAILED;

	if (kind == NULL)
		return CLI_USAGE;
	if (n_args == 1)
		return cli_list(c, n_args, args);
	name = curl_easy_escape(NULL, args[1], 0);
	if (name != NULL && asprintf(&path, "/v1/%s/%s", kind->many, name) >= 0)
		r = print_reply(c, path, kind);
	free(path);
	curl_free(name);
	return r;
}

int cli_status(const struct cli *c, int n_args, char *const *args)
{
	if (cli_is_others(c))
		return CLI_FAILED;
	return print_reply(c, "/v1/status", NULL);
}
