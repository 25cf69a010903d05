// SPDX-License-Identifier: BSD-3-Clause
// `insula instance create` and `delete`: one instance put into the file applied last, or taken out.
// insulad edits and applies it; here options become the object that the file would have.
#include "control/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_S = 60 };

static void put(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(o, key, json_string(value));
}

// What is no number goes as the text it is: insulad says what is allowed.
static void put_number(json_t *o, const char *key, const char *value)
{
	char *end = NULL;
	long long number = value != NULL ? strtoll(value, &end, 10) : 0;

	if (value != NULL && end != value && *end == '\0')
		json_object_set_new(o, key, json_integer(number));
	else
		put(o, key, value);
}

// PATH[,readonly][,direct]
static json_t *disk_of(const char *words)
{
	size_t n = strcspn(words, ",");
	json_t *o = json_pack("{s:s%}", "path", words, (int)n);

	while (words[n] == ',') {
		const char *word = words + n + 1;
		size_t length = strcspn(word, ",");
		char *key = strndup(word, length);

		if (key != NULL)
			json_object_set_new(o, key, json_true());
		free(key);
		n += 1 + length;
	}
	return o;
}

// NETWORK[=ADDRESS]; the second is eth1.
static json_t *nic_of(const char *words, unsigned number)
{
	size_t n = strcspn(words, "=");
	json_t *o = json_object();

	json_object_set_new(o, "name", json_sprintf("eth%u", number));
	json_object_set_new(o, "network", json_stringn(words, n));
	if (words[n] == '=')
		put(o, "address", words + n + 1);
	return o;
}

// The keys, a line each, are for the image's first user (cloud-init's ssh_authorized_keys).
static char *config_with_keys(char *keys)
{
	char *text = NULL, *line, *rest = keys;
	size_t size, n = 0;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return NULL;
	fputs("#cloud-config\nssh_authorized_keys:\n", f);
	while ((line = strsep(&rest, "\r\n")) != NULL) {
		if (line[0] == '\0' || line[0] == '#')
			continue;
		fputs("  - '", f);
		for (const char *p = line; *p != '\0'; p++)
			fprintf(f, *p == '\'' ? "''" : "%c", *p);
		fputs("'\n", f);
		n++;
	}
	if (fclose(f) == 0 && n > 0)
		return text;
	free(text);
	return NULL;
}

// A public key, and no private one, which would be put into the file applied.
static char *read_keys(const char *path)
{
	char *keys = cli_read_text(path), *text = NULL;

	if (keys == NULL)
		return NULL;
	if (strstr(keys, "PRIVATE KEY") != NULL)
		cli_error("%s has a private key; a public one is meant, like %s.pub", path, path);
	else if ((text = config_with_keys(keys)) == NULL)
		cli_error("%s has no key", path);
	free(keys);
	return text;
}

// False: it is told. *ret_text is NULL where there is none.
static bool read_user_data(const struct cli_instance *in, char **ret_text)
{
	*ret_text = NULL;
	if (in->user_data != NULL && in->ssh_key != NULL) {
		cli_error("--user-data and --ssh-key do not go together; the user data may have "
			  "ssh_authorized_keys");
		return false;
	}
	if (in->user_data != NULL)
		*ret_text = cli_read_text(in->user_data);
	else if (in->ssh_key != NULL)
		*ret_text = read_keys(in->ssh_key);
	return *ret_text != NULL || (in->user_data == NULL && in->ssh_key == NULL);
}

static json_t *definition_of(const struct cli_instance *in, const char *name, const char *user_data)
{
	json_t *o = json_object(), *list;

	put(o, "name", name);
	put(o, "kind", "vm");
	put(o, "image", in->image);
	put(o, "kernel", in->kernel);
	put(o, "initrd", in->initrd);
	put(o, "cmdline", in->cmdline);
	put_number(o, "cpus", in->cpus);
	put(o, "memory", in->memory);
	put(o, "user_data", user_data);
	if (in->hugepages)
		json_object_set_new(o, "hugepages", json_true());
	put(o, "restart", in->restart);
	put_number(o, "stop_timeout", in->stop_timeout);
	if (in->n_disks > 0) {
		json_object_set_new(o, "disks", list = json_array());
		for (unsigned i = 0; i < in->n_disks; i++)
			json_array_append_new(list, disk_of(in->disks[i]));
	}
	json_object_set_new(o, "nics", list = json_array());
	for (unsigned i = 0; i < in->n_networks; i++)
		json_array_append_new(list, nic_of(in->networks[i], i));
	return o;
}

int cli_instance_create(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;
	char *user_data;
	bool good = false;

	if (!read_user_data(&c->instance, &user_data))
		return CLI_FAILED;
	json_t *definition = definition_of(&c->instance, args[0], user_data);
	char *body = json_dumps(definition, JSON_COMPACT);

	free(user_data);
	json_decref(definition);
	if (body != NULL)
		good = cli_ask(c, "POST", "/v1/instances", NULL, body, strlen(body), &r);
	free(body);
	if (!good)
		return CLI_FAILED;
	if (c->output == CLI_TABLE)
		cli_print_applied(r.json);
	cli_reply_free(&r);
	return cli_instance_wait(c, args[0], "running", "failed restarting", START_S);
}

int cli_instance_delete(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;

	if (!cli_instance_ask(c, "DELETE", args[0], "", &r))
		return CLI_FAILED;
	return cli_tell_applied(c, &r);
}
