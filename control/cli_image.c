// SPDX-License-Identifier: BSD-3-Clause
// `insula image ...`: what becomes an image is copied by insulad in the background; here it is
// waited for, and told how far it is.
#include "control/cli.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 50 };

int cli_image_list(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "image";
	char *const of_list[] = { kind };

	return cli_list(c, 1, of_list);
}

int cli_image_show(const struct cli *c, int n_args, char *const *args)
{
	char kind[] = "image";
	char *const of_show[] = { kind, args[0] };

	return cli_show(c, 2, of_show);
}

static bool ask(const struct cli *c, const char *method, const char *name, struct cli_reply *ret)
{
	char *escaped = curl_easy_escape(NULL, name, 0), *path = NULL;
	bool good = false;

	if (escaped != NULL && asprintf(&path, "/v1/images/%s", escaped) >= 0)
		good = cli_ask(c, method, path, NULL, NULL, 0, ret);
	free(path);
	curl_free(escaped);
	return good;
}

// insulad is in another folder. NULL stays NULL; free() it.
static bool absolute(const char *path, char **ret)
{
	*ret = path != NULL ? realpath(path, NULL) : NULL;
	if (path != NULL && *ret == NULL)
		cli_error("%s: %m", path);
	return path == NULL || *ret != NULL;
}

static void put(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		json_object_set_new(o, key, json_string(value));
}

// Nothing is made of it: that a file is taken as what it was said to be is right, and a surprise to
// who has left that out.
static void warn_of_qcow2(const struct cli *c, const char *path)
{
	char first[4] = "";
	FILE *f = c->image.format == NULL ? fopen(path, "re") : NULL;

	if (f != NULL && fread(first, 1, sizeof(first), f) == sizeof(first) &&
		memcmp(first, "QFI\xfb", sizeof(first)) == 0)
		cli_error("%s looks like a qcow2 image, and is taken as the raw content of a disk; "
			  "--format qcow2 is meant?",
			path);
	if (f != NULL)
		fclose(f);
}

// On a terminal one line that changes; elsewhere nothing until the end.
static void tell_progress(const struct cli *c, const char *name, json_t *o)
{
	double done = (double)json_integer_value(json_object_get(o, "done_bytes"));
	double total = (double)json_integer_value(json_object_get(o, "total_bytes"));

	if (c->output == CLI_TABLE && isatty(STDERR_FILENO) && total > 0)
		fprintf(stderr, "\r\033[Kimporting %s: %.0f of %.0f MiB", name, done / (1 << 20),
			total / (1 << 20));
}

static int say_end(const struct cli *c, const char *name, json_t *o)
{
	const char *trouble = json_string_value(json_object_get(o, "trouble"));
	const char *sha256 = json_string_value(json_object_get(o, "sha256"));

	if (c->output == CLI_TABLE && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (c->output != CLI_TABLE)
		cli_print_object(c, o);
	else if (sha256 != NULL)
		printf("image %s is ready, SHA-256 %s\n", name, sha256);
	else
		cli_error("image %s: %s", name, trouble != NULL ? trouble : "it failed");
	return sha256 != NULL ? CLI_OK : CLI_FAILED;
}

static char interrupted[400]; // written once, before anybody may be

static void on_interrupt(int number) // SA_RESETHAND: it is dealt with as ever when this returns
{
	if (write(STDERR_FILENO, interrupted, strlen(interrupted)) >= 0)
		raise(number);
}

// insulad does not know of who waits: that its import goes on is to be told.
static void tell_if_interrupted(const char *name)
{
	const struct sigaction tell = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND };
	const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;

	snprintf(interrupted, sizeof(interrupted),
		"\ninsula: the import goes on in insulad: `insula image show %.40s` tells how far "
		"it "
		"is, `insula image delete %.40s` ends it\n",
		name, name);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			sigaction(numbers[i], &tell, NULL);
}

// For as long as it takes: who has enough of waiting deletes the image.
static int wait_for(const struct cli *c, const char *name)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	struct cli_reply r;

	for (;;) {
		if (!ask(c, "GET", name, &r))
			return CLI_FAILED;
		const char *state = json_string_value(json_object_get(r.json, "state"));
		if (state == NULL || strcmp(state, "importing") != 0) {
			int result = say_end(c, name, r.json);
			cli_reply_free(&r);
			return result;
		}
		tell_progress(c, name, r.json);
		cli_reply_free(&r);
		nanosleep(&pause, NULL);
	}
}

int cli_image_import_from(const struct cli *c, const struct cli_import *from)
{
	json_t *o = json_object();
	struct cli_reply r;

	put(o, "name", from->name);
	put(o, "path", from->path);
	put(o, "format", from->format);
	put(o, "sha256", from->sha256);
	put(o, "kernel", from->kernel);
	put(o, "initrd", from->initrd);
	put(o, "cmdline", from->cmdline);
	char *body = json_dumps(o, JSON_COMPACT);
	bool good = body != NULL && cli_ask(c, "POST", "/v1/images", NULL, body, strlen(body), &r);
	json_decref(o);
	free(body);
	if (!good)
		return CLI_FAILED;
	cli_reply_free(&r);
	tell_if_interrupted(from->name);
	return wait_for(c, from->name);
}

int cli_image_import(const struct cli *c, int n_args, char *const *args)
{
	char *path = NULL, *kernel = NULL, *initrd = NULL;
	int r = CLI_FAILED;

	if (absolute(args[1], &path) && absolute(c->instance.kernel, &kernel) &&
		absolute(c->instance.initrd, &initrd)) {
		const struct cli_import from = { .name = args[0],
			.path = path,
			.format = c->image.format,
			.sha256 = c->image.sha256,
			.kernel = kernel,
			.initrd = initrd,
			.cmdline = c->instance.cmdline };

		warn_of_qcow2(c, path);
		r = cli_image_import_from(c, &from);
	}
	free(path);
	free(kernel);
	free(initrd);
	return r;
}

uint64_t cli_parse_size(const char *text)
{
	char unit[5] = "", more;
	unsigned long long n;

	if (sscanf(text, "%8llu%4[A-Za-z]%c", &n, unit, &more) != 2 ||
		(strcmp(unit, "MiB") != 0 && strcmp(unit, "GiB") != 0))
		return 0;
	n <<= unit[0] == 'G' ? 10 : 0;
	return n <= 16 << 20 ? n : 0;
}

int cli_image_delete(const struct cli *c, int n_args, char *const *args)
{
	struct cli_reply r;

	if (!ask(c, "DELETE", args[0], &r))
		return CLI_FAILED;
	if (c->output == CLI_TABLE)
		printf("image %s is deleted\n", args[0]);
	else
		cli_print_object(c, r.json);
	cli_reply_free(&r);
	return CLI_OK;
}
