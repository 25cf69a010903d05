// SPDX-License-Identifier: BSD-3-Clause
// Framing and checking of control/proto.h, see proto_io.h. Both ends treat what they read as
// hostile.
#include "control/proto_io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// What a type looks like on the wire: sizes in bytes, fds as [min, max]. A list reply is its fixed
// part plus n entries; its n is the second word after the status (next, n) or, for drops, the
// first.
static const struct shape {
	uint32_t request; // exact; 0 = not a request
	uint32_t reply; // exact, or the fixed part of a list
	uint32_t entry; // bytes per list entry, 0 = no list
	uint8_t n_at; // of a list: offset of `n` after proto_status
	uint8_t request_fds_min, request_fds_max, reply_fds_max;
	uint32_t event; // exact; 0 = not an event
} shapes[PROTO_TYPE_COUNT] = {
	[PROTO_HELLO] = { .request = sizeof(struct proto_header),
		.reply = sizeof(struct proto_hello) },
	[PROTO_PORT_ADD] = { .request = sizeof(struct proto_port_add),
		.reply = sizeof(struct proto_status),
		.request_fds_max = PROTO_MAX_QUEUES },
	[PROTO_PORT_DEL] = { .request = sizeof(struct proto_port_id),
		.reply = sizeof(struct proto_status) },
	[PROTO_PORT_LIST] = { .request = sizeof(struct proto_cursor),
		.reply = sizeof(struct proto_port_list),
		.entry = sizeof(struct proto_port_entry),
		.n_at = 4 },
	[PROTO_PORT_FDS] = { .request = sizeof(struct proto_port_id),
		.reply = sizeof(struct proto_status),
		.reply_fds_max = PROTO_MAX_QUEUES },
	[PROTO_SECTION_PUT] = { .request = sizeof(struct proto_section_put),
		.reply = sizeof(struct proto_status),
		.request_fds_min = 1,
		.request_fds_max = 1 },
	[PROTO_POLICY_COMMIT] = { .request = sizeof(struct proto_header),
		.reply = sizeof(struct proto_policy_ack),
		.request_fds_min = 1,
		.request_fds_max = 1 },
	[PROTO_PORT_STATS] = { .request = sizeof(struct proto_cursor),
		.reply = sizeof(struct proto_stats_list),
		.entry = sizeof(struct proto_stats_entry),
		.n_at = 4 },
	[PROTO_DROPS] = { .request = sizeof(struct proto_port_id),
		.reply = sizeof(struct proto_drops),
		.entry = sizeof(((struct proto_drops *)0)->e[0]) },
	[PROTO_SESSIONS] = { .request = sizeof(struct proto_cursor),
		.reply = sizeof(struct proto_session_list),
		.entry = sizeof(struct proto_session_entry),
		.n_at = 4 },
	[PROTO_LEASE_ANSWER] = { .request = sizeof(struct proto_lease_answer),
		.reply = sizeof(struct proto_status) },
	[PROTO_LEASE_SET] = { .request = sizeof(struct proto_lease_set),
		.reply = sizeof(struct proto_status) },
	[PROTO_LEASE_LIST] = { .request = sizeof(struct proto_cursor),
		.reply = sizeof(struct proto_lease_list),
		.entry = sizeof(struct proto_lease_entry),
		.n_at = 4 },
	[PROTO_SYNC] = { .request = sizeof(struct proto_header),
		.reply = sizeof(struct proto_status) },
	[PROTO_EVENT_LEASE] = { .event = sizeof(struct proto_lease_event) },
	[PROTO_EVENT_PORT] = { .event = sizeof(struct proto_port_event) },
	[PROTO_EVENT_ALIVE] = { .event = sizeof(struct proto_alive_event) },
};

void proto_header_init(struct proto_header *h, uint16_t type, uint32_t seq, size_t size)
{
	h->magic = PROTO_MAGIC;
	h->version = PROTO_VERSION;
	h->type = type;
	h->seq = seq;
	h->size = (uint32_t)size;
}

void proto_status_init(struct proto_status *s, const struct proto_header *request, size_t size,
	int error, const char *text)
{
	memset(s, 0, sizeof(*s));
	proto_header_init(&s->h, (uint16_t)(request->type | PROTO_REPLY), request->seq, size);
	s->error = error;
	if (text)
		strncpy(s->text, text, sizeof(s->text) - 1);
}

int proto_send(int fd, const void *msg, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * PROTO_MAX_FDS)];
	} control;
	const struct proto_header *h = msg;
	struct iovec iov = { .iov_len = h->size };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (h->size < sizeof(*h) || h->size > PROTO_MAX_SIZE || n_fds > PROTO_MAX_FDS)
		return -EMSGSIZE;
	memcpy(&iov.iov_base, &msg, sizeof(msg)); // sendmsg does not write
	if (n_fds) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		ssize_t n = sendmsg(fd, &mh, MSG_NOSIGNAL);
		if (n >= 0)
			return (size_t)n == h->size ? 0 : -EMSGSIZE;
		if (errno != EINTR)
			return -errno;
	}
}

// Takes the fds out of the control data. False if other control data came too.
static bool collect_fds(struct msghdr *mh, struct proto_message *m)
{
	bool ok = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			ok = false;
			continue;
		}
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->n_fds < PROTO_MAX_FDS)
				m->fds[m->n_fds++] = fd;
			else
				close(fd), ok = false;
		}
	}
	return ok;
}

int proto_recv(int fd, struct proto_message *m)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * PROTO_MAX_FDS)];
	} control;
	struct iovec iov = { .iov_base = m->bytes, .iov_len = sizeof(m->bytes) };
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t n;

	m->n_fds = 0;
	m->size = 0;
	do
		n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	m->size = (size_t)n;
	bool fds_ok = collect_fds(&mh, m); // of an empty message too: they are ours now
	if (n == 0) {
		proto_message_clear(m);
		return -ECONNRESET;
	}
	if (!fds_ok || (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || m->size < sizeof(m->h) ||
		m->h.magic != PROTO_MAGIC || m->h.version != PROTO_VERSION ||
		m->h.size != m->size) {
		proto_message_clear(m);
		return -EBADMSG;
	}
	return 0;
}

void proto_message_clear(struct proto_message *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->n_fds = 0;
}

int proto_check_request(const struct proto_message *m)
{
	if (m->h.type >= PROTO_TYPE_COUNT || m->h.seq == 0)
		return -EBADMSG;
	const struct shape *s = &shapes[m->h.type];
	if (!s->request || m->size != s->request || m->n_fds < s->request_fds_min ||
		m->n_fds > s->request_fds_max)
		return -EBADMSG;
	if (m->h.type == PROTO_PORT_ADD) {
		const struct proto_port_add *a = (const void *)m->bytes;
		if (!memchr(a->name, 0, sizeof(a->name)) || !memchr(a->arg, 0, sizeof(a->arg)) ||
			a->n_queues > PROTO_MAX_QUEUES)
			return -EBADMSG;
	}
	return 0;
}

static bool strings_terminated(const struct proto_message *m, uint32_t n)
{
	if (m->h.type == (PROTO_PORT_LIST | PROTO_REPLY)) {
		const struct proto_port_list *l = (const void *)m->bytes;
		for (uint32_t i = 0; i < n; i++)
			if (!memchr(l->e[i].name, 0, sizeof(l->e[i].name)) ||
				!memchr(l->e[i].arg, 0, sizeof(l->e[i].arg)))
				return false;
	}
	if (m->h.type == (PROTO_DROPS | PROTO_REPLY)) {
		const struct proto_drops *d = (const void *)m->bytes;
		for (uint32_t i = 0; i < n; i++)
			if (!memchr(d->e[i].name, 0, sizeof(d->e[i].name)))
				return false;
	}
	return true;
}

int proto_check_reply(const struct proto_message *m, uint16_t type, uint32_t seq)
{
	if (type >= PROTO_TYPE_COUNT || m->h.type != (type | PROTO_REPLY) || m->h.seq != seq)
		return -EBADMSG;
	const struct shape *s = &shapes[type];
	if (!s->reply || m->size < sizeof(m->status) ||
		!memchr(m->status.text, 0, sizeof(m->status.text)) || m->status.error > 0 ||
		m->n_fds > s->reply_fds_max)
		return -EBADMSG;
	if (m->status.error != 0 && m->size == sizeof(m->status))
		return 0;
	if (!s->entry)
		return m->size == s->reply ? 0 : -EBADMSG;
	uint32_t n;
	if (m->size < s->reply)
		return -EBADMSG;
	memcpy(&n, m->bytes + sizeof(m->status) + s->n_at, sizeof(n));
	if (n > PROTO_MAX_SIZE || m->size != s->reply + (size_t)n * s->entry)
		return -EBADMSG;
	return strings_terminated(m, n) ? 0 : -EBADMSG;
}

int proto_check_event(const struct proto_message *m)
{
	if (m->h.type >= PROTO_TYPE_COUNT || m->h.seq != 0 || m->n_fds != 0)
		return -EBADMSG;
	if (!shapes[m->h.type].event || m->size != shapes[m->h.type].event)
		return -EBADMSG;
	if (m->h.type == PROTO_EVENT_LEASE) {
		const struct proto_lease_event *e = (const void *)m->bytes;
		if (e->kind >= PROTO_LEASE_KIND_COUNT || e->client_id_size > sizeof(e->client_id) ||
			!memchr(e->hostname, 0, sizeof(e->hostname)))
			return -EBADMSG;
	}
	return 0;
}
