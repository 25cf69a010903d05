// SPDX-License-Identifier: BSD-3-Clause
// Requests from `insula` to insulad: HTTP on its unix socket through libcurl, answers in JSON.
// Blocks until the answer is there or the time for it is over.
#include "control/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { // seconds
	ASK_TIMEOUT = 30,
	CHANGE_TIMEOUT = 600, // a large apply
};

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct cli_reply *r = arg;
	char *p = realloc(r->body, r->size + size + 1);

	if (p == NULL)
		return 0;
	memcpy(p + r->size, data, size);
	r->body = p;
	r->size += size;
	r->body[r->size] = '\0';
	return size;
}

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
	static const char name[] = "X-Insula-File: ";
	struct cli_reply *r = arg;
	size_t n = sizeof(name) - 1;

	if (size > n && strncasecmp(data, name, n) == 0) {
		free(r->file);
		r->file = strndup(data + n, strcspn(data + n, "\r\n"));
	}
	return size;
}

// A header line of its own would begin behind a line break in the file's name.
static struct curl_slist *file_header(struct curl_slist *list, const char *file)
{
	struct curl_slist *longer = NULL;
	char *line;

	if (asprintf(&line, "X-Insula-File: %s", file) < 0)
		return NULL;
	for (char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	longer = curl_slist_append(list, line);
	free(line);
	return longer;
}

long cli_timeout_s(const char *method)
{
	const char *env = getenv("INSULA_TIMEOUT");
	long seconds = env != NULL ? strtol(env, NULL, 10) : 0;

	if (seconds > 0 && seconds <= 86400)
		return seconds;
	return strcmp(method, "GET") == 0 ? ASK_TIMEOUT : CHANGE_TIMEOUT;
}

// A list is as long as it is: it may take its time as long as it goes on.
static void set_timeout(CURL *curl, const char *method)
{
	long seconds = cli_timeout_s(method);

	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, seconds);
	if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, seconds);
		return;
	}
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, seconds);
}

static int perform(CURL *curl, struct cli_reply *r)
{
	CURLcode code = curl_easy_perform(curl);
	long os_error = 0;

	switch ((int)code) {
	case CURLE_OK:
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
		return 0;
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
		return os_error == EACCES || os_error == EPERM ? -EACCES : -ENOTCONN;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR:
		return -ENOMEM;
	default:
		return -ECONNRESET;
	}
}

int cli_request(const struct cli *c, const char *method, const char *path, const char *file,
	const char *body, size_t size, struct cli_reply *ret_reply)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:"); // no wait for 100 Continue
	CURL *curl = curl_easy_init();
	char *url = NULL;
	int r = -ENOMEM;

	*ret_reply = (struct cli_reply){ 0 };
	if (curl == NULL || headers == NULL || asprintf(&url, "http://insulad%s", path) < 0)
		goto out;
	if (file != NULL && file_header(headers, file) == NULL)
		goto out;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); // the environment's is not for this
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	set_timeout(curl, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret_reply);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, ret_reply);
	if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	}
	r = perform(curl, ret_reply);
	// libcurl does not tell them apart: it takes a socket that was refused for a connected one.
	if ((r == -ENOTCONN || r == -ECONNRESET) && cli_is_crowded(c))
		r = -EAGAIN;
	if (r == 0 && ret_reply->body != NULL)
		ret_reply->json = json_loadb(ret_reply->body, ret_reply->size, 0, NULL);
out:
	if (r < 0)
		cli_reply_free(ret_reply);
	curl_slist_free_all(headers);
	if (curl != NULL)
		curl_easy_cleanup(curl);
	free(url);
	return r;
}

void cli_reply_free(struct cli_reply *r)
{
	json_decref(r->json);
	free(r->body);
	free(r->file);
	*r = (struct cli_reply){ 0 };
}

void cli_explain(const struct cli *c, int error)
{
	if (error == -ENOTCONN)
		cli_error("insulad does not answer on %s; start it with: insula start", c->socket);
	else if (error == -EAGAIN)
		cli_error("insulad on %s runs, and more clients wait for it than it lets wait; try "
			  "again, and see what keeps it in %s/insulad.log",
			c->socket, c->state_dir);
	else if (error == -EACCES)
		cli_error("%s may not be used by this user; be root, or use sudo", c->socket);
	else if (error == -ETIMEDOUT)
		cli_error("insulad on %s has not answered in time; it may be busy and still do "
			  "what it was asked, see %s/insulad.log",
			c->socket, c->state_dir);
	else if (error == -ECONNRESET)
		cli_error("insulad on %s went away without an answer; see %s/insulad.log",
			c->socket, c->state_dir);
	else
		cli_error("%s", strerror(-error));
}

// insulad's own words, as they are: "file:line: what is wrong; what is allowed".
static void print_errors(const struct cli_reply *r)
{
	const json_t *errors = json_object_get(r->json, "errors");
	const json_t *e;
	size_t i;

	json_array_foreach(errors, i, e)
		fprintf(stderr, "%s\n", json_string_value(e) != NULL ? json_string_value(e) : "?");
	if (json_array_size(errors) == 0)
		cli_error("insulad answered with HTTP status %ld and no word why", r->status);
}

bool cli_ask(const struct cli *c, const char *method, const char *path, const char *file,
	const char *body, size_t size, struct cli_reply *ret_reply)
{
	int r = cli_request(c, method, path, file, body, size, ret_reply);
	long status;

	if (r < 0) {
		cli_explain(c, r);
		return false;
	}
	// A list that ended early says so in its last words.
	if (ret_reply->status == 200 && json_object_get(ret_reply->json, "errors") == NULL)
		return true;
	if (c->output == CLI_TABLE || ret_reply->json == NULL)
		print_errors(ret_reply);
	else
		cli_print_object(c, ret_reply->json);
	status = ret_reply->status;
	cli_reply_free(ret_reply);
	ret_reply->status = status;
	return false;
}
