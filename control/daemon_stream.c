// SPDX-License-Identifier: BSD-3-Clause
// Lists that guests make long (sessions, dynamic leases), a piece at a time, see daemon.h: between
// two pieces insulad's loop runs, and no more than a page of the table is in memory. Main thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/daemon_internal.h"
#include "control/describe.h"
#include "control/lease.h"

// What is to be said next.
enum stage { BEGIN, ROWS, END, SAID };

struct daemon_stream {
	struct daemon *d;
	enum daemon_kind kind;
	enum stage stage;
	bool any; // a row has been said
	char err[256]; // why the list ends early
	// Text that the last piece had no room for.
	char *text;
	size_t size, done;
	struct lease_cursor leases;
	// Sessions: a page of the switch's, and where the next begins; 0: it was the last.
	struct proto_session_entry *page;
	unsigned n, at;
	uint32_t next;
};

// --- sessions ---

static const char *port_name(const struct daemon *d, uint32_t id)
{
	const struct desired_port *p = desired_port_by_id(d->desired, id);

	return p ? p->name : "";
}

static void endpoint(be32 address, be16 port, char *text, size_t size)
{
	char a[INET_ADDRSTRLEN];

	describe_address(address, a);
	snprintf(text, size, "%s:%u", a[0] ? a : "0.0.0.0", ntohs(port));
}

static json_t *session_object(const struct daemon *d, const struct proto_session_entry *e)
{
	static const char *const states[] = { "new", "established", "closing", "closed" };
	char src[32], dst[32], back_src[32], back_dst[32], proto[8];

	endpoint(e->src[0], e->src_port[0], src, sizeof(src));
	endpoint(e->dst[0], e->dst_port[0], dst, sizeof(dst));
	endpoint(e->src[1], e->src_port[1], back_src, sizeof(back_src));
	endpoint(e->dst[1], e->dst_port[1], back_dst, sizeof(back_dst));
	snprintf(proto, sizeof(proto), "%u", e->proto);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, "
			 "s:I}",
		"id", (json_int_t)e->id, "proto",
		e->proto == 6    ? "tcp"
		: e->proto == 17 ? "udp"
		: e->proto == 1  ? "icmp"
				 : proto,
		"src", src, "dst", dst, "reply_src", back_src, "reply_dst", back_dst, "state",
		e->state < 4 ? states[e->state] : "?", "from", port_name(d, e->src_switch_port),
		"to", port_name(d, e->dst_switch_port), "age_s", (json_int_t)e->age_s, "idle_s",
		(json_int_t)e->idle_s, "packets", (json_int_t)e->packets[0], "bytes",
		(json_int_t)e->bytes[0], "reply_packets", (json_int_t)e->packets[1], "reply_bytes",
		(json_int_t)e->bytes[1]);
}

static int next_page(struct daemon_stream *s)
{
	int r = switch_sessions(
		s->d->client, s->next, s->page, &s->n, &s->next, s->err, sizeof(s->err));

	if (r == 0)
		s->err[0] = '\0';
	s->at = 0;
	return r;
}

int daemon_session(struct daemon *d, uint32_t id, json_t **ret, char *err, size_t err_size)
{
	struct proto_session_entry *page = malloc(SWITCH_SESSIONS_PAGE * sizeof(*page));
	uint32_t next;
	unsigned n;
	int r = page ? switch_sessions(d->client, id, page, &n, &next, err, err_size) : -ENOMEM;

	if (r == 0 && (n == 0 || page[0].id != id))
		r = -ENOENT;
	if (r == 0)
		*ret = session_object(d, &page[0]);
	free(page);
	return r;
}

// --- leases ---

// By address or port: tenants share addresses, and a port may have many leases. -ENOENT.
static int lease_filter(const struct daemon *d, const char *name, struct lease_cursor *ret_cursor)
{
	const struct desired_port *p = desired_port_by_name(d->desired, name);
	struct in_addr address;

	if (p)
		*ret_cursor = (struct lease_cursor){ .port = p->id };
	else if (inet_pton(AF_INET, name, &address) == 1 && address.s_addr)
		*ret_cursor = (struct lease_cursor){ .address = address.s_addr };
	else
		return -ENOENT;
	return 0;
}

int daemon_lease(struct daemon *d, const char *name, json_t **ret)
{
	struct lease_cursor c;
	int r = lease_filter(d, name, &c);
	json_t *o = r == 0 ? leases_next(d->leases, &c) : NULL;

	if (!o)
		return -ENOENT;
	*ret = o;
	return 0;
}

// A name that stands for several is a list.
static int open_leases(struct daemon_stream *s, const char *name)
{
	struct lease_cursor c;
	unsigned n = 0;
	int r = name ? lease_filter(s->d, name, &s->leases) : 0;

	if (r < 0 || !name)
		return r;
	c = s->leases;
	for (json_t *o; n < 2 && (o = leases_next(s->d->leases, &c)); n++)
		json_decref(o);
	return n == 2 ? 0 : -EOPNOTSUPP;
}

// --- both ---

// NULL: none left, or none yet where s->next says that there are more to look at.
static json_t *next_row(struct daemon_stream *s)
{
	if (s->kind == DAEMON_LEASES)
		return leases_next(s->d->leases, &s->leases);
	return s->at < s->n ? session_object(s->d, &s->page[s->at++]) : NULL;
}

// The next row, with what stands before it; NULL: no memory.
static char *row_text(struct daemon_stream *s, json_t *row)
{
	char *object = json_dumps(row, JSON_COMPACT), *text = NULL;

	json_decref(row);
	if (!object || asprintf(&text, "%s\n%s", s->any ? "," : "", object) < 0)
		text = NULL;
	free(object);
	s->any = true;
	return text;
}

// {"sessions":[…]}; or, when it ends early, {"sessions":[…],"errors":["why"]}.
static char *end_text(struct daemon_stream *s)
{
	json_t *why = s->err[0] ? json_pack("[s]", s->err) : NULL;
	char *errors = why ? json_dumps(why, JSON_COMPACT) : NULL, *text = NULL;

	if (s->err[0] && !errors)
		text = strdup("],\"errors\":[\"insulad ran out of memory\"]}");
	else if (asprintf(&text, "]%s%s}", errors ? ",\"errors\":" : "", errors ? errors : "") < 0)
		text = NULL;
	json_decref(why);
	free(errors);
	return text;
}

// What comes next; NULL: no memory.
static char *next_text(struct daemon_stream *s)
{
	char *text = NULL;
	json_t *row;

	if (s->stage == BEGIN) {
		s->stage = ROWS;
		if (asprintf(&text, "{\"%s\":[", daemon_kind_name(s->kind)) < 0)
			text = NULL;
		return text;
	}
	row = s->stage == ROWS ? next_row(s) : NULL;
	if (row)
		return row_text(s, row);
	if (s->stage == ROWS && s->next) {
		if (next_page(s) < 0)
			s->next = s->n = 0;
		return strdup("\n"); // one page a piece, though nobody lives on it
	}
	s->stage = s->stage == ROWS ? END : SAID;
	return s->stage == END ? end_text(s) : strdup("");
}

ssize_t daemon_stream_read(struct daemon_stream *s, char *buf, size_t size)
{
	size_t used = 0;

	while (used < size && s->stage != SAID) {
		bool paged;
		size_t n;

		if (s->done == s->size) {
			free(s->text);
			s->done = s->size = 0;
			s->text = next_text(s);
			if (!s->text)
				return -ENOMEM;
			s->size = strlen(s->text);
		}
		paged = s->stage == ROWS && s->size == 1; // the switch has just been asked
		n = s->size - s->done < size - used ? s->size - s->done : size - used;
		memcpy(buf + used, s->text + s->done, n);
		s->done += n;
		used += n;
		if (paged)
			break;
	}
	return (ssize_t)used;
}

int daemon_stream_open(struct daemon *d, enum daemon_kind kind, const char *name,
	struct daemon_stream **ret_stream, json_t **ret)
{
	struct daemon_stream *s;
	int r;

	*ret = NULL;
	if (kind != DAEMON_LEASES && (kind != DAEMON_SESSIONS || name))
		return -EOPNOTSUPP;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->d = d;
	s->kind = kind;
	if (kind == DAEMON_LEASES) {
		r = open_leases(s, name) < 0 ? -EOPNOTSUPP : 0;
	} else {
		s->page = malloc(SWITCH_SESSIONS_PAGE * sizeof(*s->page));
		r = s->page ? next_page(s) : -ENOMEM;
		if (r < 0 && s->err[0])
			*ret = json_pack("{s:[s]}", "errors", s->err);
	}
	if (r < 0)
		daemon_stream_close(s);
	else
		*ret_stream = s;
	return r;
}

void daemon_stream_close(struct daemon_stream *s)
{
	free(s->page);
	free(s->text);
	free(s);
}
