// SPDX-License-Identifier: BSD-3-Clause
// `insula apply`, `diff` and `config`: the desired state, given and taken. The file is sent as it
// is; insulad reads it, so a mistake is told with the file's own name and line.
#include "control/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 16 << 20 }; // what insulad takes

char *cli_read_file(const char *name, size_t *ret_size)
{
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	size_t size = 0, capacity = 64 << 10, n;
	char *data = NULL, *p;

	if (f == NULL) {
		cli_error("%s: %s", name, strerror(errno));
		return NULL;
	}
	do {
		p = realloc(data, capacity);
		if (p == NULL) {
			errno = ENOMEM;
			goto fail;
		}
		data = p;
		n = fread(data + size, 1, capacity - size, f);
		size += n;
		capacity *= 2;
	} while (n > 0 && size <= MAX_FILE);
	if (ferror(f))
		goto fail;
	if (size > MAX_FILE) {
		cli_error("%s is too large; allowed: at most 16 MiB", name);
		goto out;
	}
	if (f != stdin)
		fclose(f);
	*ret_size = size;
	return data;
fail:
	cli_error("%s: %s", name, strerror(errno));
out:
	free(data);
	if (f != stdin)
		fclose(f);
	return NULL;
}

char *cli_read_text(const char *name)
{
	size_t size;
	char *data = cli_read_file(name, &size), *text = NULL;
	json_t *string = data != NULL ? json_stringn(data, size) : NULL; // NULL: no UTF-8

	if (string != NULL && memchr(data, '\0', size) == NULL)
		text = strndup(data, size);
	else if (data != NULL)
		cli_error("%s is no text in UTF-8", name);
	json_decref(string);
	free(data);
	return text;
}

// Sends the file; true with the reply.
static bool send_file(
	const struct cli *c, const char *method, const char *path, struct cli_reply *ret_reply)
{
	const char *name = strcmp(c->file, "-") == 0 ? "<stdin>" : c->file;
	size_t size;
	char *data = cli_read_file(c->file, &size);
	bool ok;

	*ret_reply = (struct cli_reply){ 0 };
	if (data == NULL)
		return false;
	ok = cli_ask(c, method, path, name, data, size, ret_reply);
	free(data);
	return ok;
}

static const char *word(json_t *change, const char *key)
{
	const char *s = json_string_value(json_object_get(change, key));

	return s != NULL ? s : "";
}

// "+ port red/web.eth0  vlan 10", as diff(1) would mark it.
static void print_changes(json_t *changes)
{
	json_t *change;
	size_t i;

	json_array_foreach(changes, i, change) {
		const char *op = word(change, "op"), *detail = word(change, "detail");
		const char *sign = strcmp(op, "create") == 0   ? "+"
				   : strcmp(op, "delete") == 0 ? "-"
							       : "~";

		printf("%s %s %s%s%s\n", sign, word(change, "kind"), word(change, "name"),
			detail[0] != '\0' ? ": " : "", detail);
	}
}

// What the apply leaves in trouble, or would run into.
static void print_warnings(json_t *warnings)
{
	json_t *text;
	size_t i;

	fflush(stdout);
	json_array_foreach(warnings, i, text)
		cli_error("%s", json_string_value(text));
}

void cli_print_applied(json_t *applied)
{
	size_t n = json_array_size(json_object_get(applied, "changes"));

	print_changes(json_object_get(applied, "changes"));
	printf("%zu change%s, generation %" JSON_INTEGER_FORMAT "\n", n, n == 1 ? "" : "s",
		json_integer_value(json_object_get(applied, "generation")));
	print_warnings(json_object_get(applied, "warnings"));
}

int cli_tell_applied(const struct cli *c, struct cli_reply *r)
{
	if (c->output == CLI_TABLE)
		cli_print_applied(r->json);
	else
		cli_print_object(c, r->json);
	fflush(stdout);
	int result = cli_instance_wait_plugged(c, json_object_get(r->json, "changes"));
	cli_reply_free(r);
	return result;
}

int cli_apply(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;

	if (!send_file(c, "PUT", "/v1/config", &r)) {
		// else nobody knows, or it is stored and the switch has yet to follow
		if (c->output == CLI_TABLE && r.status != 0 && r.status != 504)
			cli_error("nothing has been changed");
		return CLI_FAILED;
	}
	return cli_tell_applied(c, &r);
}

int cli_diff(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;
	size_t n;

	if (!send_file(c, "POST", "/v1/diff", &r))
		return CLI_USAGE; // as diff(1): 2 is trouble
	n = json_array_size(json_object_get(r.json, "changes"));
	bool fails = json_is_true(json_object_get(r.json, "would_fail"));
	if (c->output != CLI_TABLE) {
		cli_print_object(c, r.json);
	} else {
		print_changes(json_object_get(r.json, "changes"));
		print_warnings(json_object_get(r.json, "warnings"));
	}
	cli_reply_free(&r);
	return fails ? CLI_USAGE : n > 0 ? CLI_FAILED : CLI_OK;
}

int cli_config(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;
	json_t *object;

	if (!cli_ask(c, "GET", "/v1/config", NULL, NULL, 0, &r))
		return CLI_FAILED;
	if (c->output == CLI_JSON) {
		object = json_pack("{s:s, s:s}", "file", r.file != NULL ? r.file : "", "yaml",
			r.body != NULL ? r.body : "");
		cli_print_object(c, object);
		json_decref(object);
	} else { // the file itself, comments and all
		fwrite(r.body, 1, r.size, stdout);
	}
	cli_reply_free(&r);
	return CLI_OK;
}
