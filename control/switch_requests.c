// SPDX-License-Identifier: BSD-3-Clause
// The requests of control/proto.h, one function each; see switch_client.h. Main thread only.
#include <errno.h>
#include <string.h>
#include "control/log.h"
#include "control/switch_call.h"

#define CIRCLES "insula-switch: a list that goes in circles"

int switch_hello(struct switch_client *c, struct proto_hello *ret_hello, char *err, size_t err_size)
{
	struct proto_header request;
	struct proto_message *reply;
	int r = switch_call(
		c, &request, PROTO_HELLO, sizeof(request), NULL, 0, &reply, err, err_size);

	if (r == 0)
		memcpy(ret_hello, reply->bytes, sizeof(*ret_hello));
	return r;
}

int switch_port_add(struct switch_client *c, struct proto_port_add *request, const int *fds,
	unsigned n_fds, char *err, size_t err_size)
{
	struct proto_message *reply;

	return switch_call(c, &request->h, PROTO_PORT_ADD, sizeof(*request), fds, n_fds, &reply,
		err, err_size);
}

int switch_port_del(struct switch_client *c, uint32_t id, char *err, size_t err_size)
{
	struct proto_port_id request = { .id = id };
	struct proto_message *reply;

	return switch_call(
		c, &request.h, PROTO_PORT_DEL, sizeof(request), NULL, 0, &reply, err, err_size);
}

// Pages through a list. `next` must grow: a list that never ends would hold us here.
static int each(struct switch_client *c, uint16_t type, size_t entry_size,
	void (*give)(void *arg, const void *entry), void *arg, char *err, size_t err_size)
{
	struct proto_cursor request = { .cursor = 0 };

	for (;;) {
		struct proto_message *reply;
		int r = switch_call(
			c, &request.h, type, sizeof(request), NULL, 0, &reply, err, err_size);
		if (r < 0)
			return r;
		const struct proto_port_list *l = (const void *)reply->bytes; // all begin alike
		static_assert(sizeof(struct proto_port_list) == sizeof(struct proto_stats_list) &&
				      sizeof(*l) == sizeof(struct proto_session_list) &&
				      sizeof(*l) == sizeof(struct proto_lease_list),
			"lists begin alike");
		for (uint32_t i = 0; i < l->n; i++)
			give(arg, reply->bytes + sizeof(*l) + i * entry_size);
		if (l->next == 0)
			return 0;
		if (l->next <= request.cursor)
			return log_reason(-EBADMSG, err, err_size, CIRCLES);
		request.cursor = l->next;
	}
}

// The callbacks differ in their entry's type only.
#define LIST(name, type, entry) \
	struct name##_arg { \
		void (*fn)(void *arg, const struct entry *e); \
		void *arg; \
	}; \
	static void name##_give(void *arg, const void *e) \
	{ \
		const struct name##_arg *a = arg; \
		a->fn(a->arg, e); \
	} \
	int name(struct switch_client *c, void (*fn)(void *arg, const struct entry *e), void *arg, \
		char *err, size_t err_size) \
	{ \
		struct name##_arg a = { fn, arg }; \
		return each(c, type, sizeof(struct entry), name##_give, &a, err, err_size); \
	}

LIST(switch_port_list, PROTO_PORT_LIST, proto_port_entry)
LIST(switch_stats, PROTO_PORT_STATS, proto_stats_entry)

static int page(struct switch_client *c, uint16_t type, size_t entry_size, uint32_t from,
	void *ret_page, unsigned *ret_n, uint32_t *ret_next, char *err, size_t err_size)
{
	struct proto_cursor request = { .cursor = from };
	struct proto_message *reply;
	int r = switch_call(c, &request.h, type, sizeof(request), NULL, 0, &reply, err, err_size);

	if (r < 0)
		return r;
	const struct proto_port_list *l = (const void *)reply->bytes;
	if (l->next != 0 && l->next <= from) // for ever
		return log_reason(-EBADMSG, err, err_size, CIRCLES);
	// proto_check_reply: no more than fit
	memcpy(ret_page, reply->bytes + sizeof(*l), l->n * entry_size);
	*ret_n = l->n;
	*ret_next = l->next;
	return 0;
}

int switch_sessions(struct switch_client *c, uint32_t from,
	struct proto_session_entry ret_page[SWITCH_SESSIONS_PAGE], unsigned *ret_n,
	uint32_t *ret_next, char *err, size_t err_size)
{
	return page(c, PROTO_SESSIONS, sizeof(*ret_page), from, ret_page, ret_n, ret_next, err,
		err_size);
}

int switch_leases(struct switch_client *c, uint32_t from,
	struct proto_lease_entry ret_page[SWITCH_LEASES_PAGE], unsigned *ret_n, uint32_t *ret_next,
	char *err, size_t err_size)
{
	return page(c, PROTO_LEASE_LIST, sizeof(*ret_page), from, ret_page, ret_n, ret_next, err,
		err_size);
}

int switch_port_fds(struct switch_client *c, uint32_t id, int ret_fds[PROTO_MAX_QUEUES],
	unsigned *ret_n, char *err, size_t err_size)
{
	struct proto_port_id request = { .id = id };
	struct proto_message *reply;
	int r = switch_call(
		c, &request.h, PROTO_PORT_FDS, sizeof(request), NULL, 0, &reply, err, err_size);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < reply->n_fds; i++)
		ret_fds[i] = reply->fds[i];
	*ret_n = reply->n_fds;
	reply->n_fds = 0; // taken
	return 0;
}

int switch_section_put(struct switch_client *c, const struct policy_section_ref *ref, int memfd,
	char *err, size_t err_size)
{
	struct proto_section_put request = { .ref = *ref };
	struct proto_message *reply;

	return switch_call(c, &request.h, PROTO_SECTION_PUT, sizeof(request), &memfd, 1, &reply,
		err, err_size);
}

int switch_policy_commit(struct switch_client *c, int memfd, char *err, size_t err_size)
{
	struct proto_header request;
	struct proto_message *reply;

	return switch_call(c, &request, PROTO_POLICY_COMMIT, sizeof(request), &memfd, 1, &reply,
		err, err_size);
}

int switch_sync(struct switch_client *c, char *err, size_t err_size)
{
	struct proto_header request;
	struct proto_message *reply;

	return switch_call(
		c, &request, PROTO_SYNC, sizeof(request), NULL, 0, &reply, err, err_size);
}

int switch_drops(struct switch_client *c, uint32_t id,
	void (*fn)(void *arg, const char *name, uint64_t count), void *arg, char *err,
	size_t err_size)
{
	struct proto_port_id request = { .id = id };
	struct proto_message *reply;
	int r = switch_call(
		c, &request.h, PROTO_DROPS, sizeof(request), NULL, 0, &reply, err, err_size);

	if (r < 0)
		return r;
	const struct proto_drops *d = (const void *)reply->bytes;
	for (uint32_t i = 0; i < d->n; i++)
		fn(arg, d->e[i].name, d->e[i].count);
	return 0;
}

int switch_lease_set(
	struct switch_client *c, struct proto_lease_set *lease, char *err, size_t err_size)
{
	struct proto_message *reply;

	return switch_call(
		c, &lease->h, PROTO_LEASE_SET, sizeof(*lease), NULL, 0, &reply, err, err_size);
}
