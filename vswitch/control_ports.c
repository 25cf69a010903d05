// SPDX-License-Identifier: BSD-3-Clause
// Control requests about ports: adding one with its fds, giving the fds back to a restarted
// insulad.
#include <errno.h>
#include <unistd.h>
#include "vswitch/control.h"

void control_port_add(struct control *c)
{
	const struct proto_port_add *q = (const void *)c->in->bytes;
	struct port_params params = { .id = q->id,
		.kind = (enum proto_port_kind)q->kind,
		.flags = q->flags,
		.mtu = q->mtu,
		.n_queues = q->n_queues };
	char err[PROTO_TEXT_SIZE] = "";
	int r;

	memcpy(params.name, q->name, sizeof(params.name));
	memcpy(params.arg, q->arg, sizeof(params.arg));
	if (q->n_queues < 1 || q->n_queues > PORT_MAX_QUEUES || q->mtu < 68 || q->mtu > 65535 ||
		c->in->n_fds > PORT_MAX_QUEUES) {
		control_reply_status(c, -EINVAL, "queues, MTU or fds out of range");
		return;
	}
	params.n_fds = c->in->n_fds;
	for (unsigned i = 0; i < params.n_fds; i++) {
		params.fds[i] = c->in->fds[i];
		c->in->fds[i] = -1; // the switch's now, whatever comes of it
	}
	r = switch_port_add(c->sw, &params, err, sizeof(err));
	control_reply_status(c, r, err);
	if (r == 0)
		control_watch_port(c, switch_port(c->sw, params.id));
}

void control_port_fds(struct control *c)
{
	const struct proto_port_id *q = (const void *)c->in->bytes;
	struct port *p = switch_port(c->sw, q->id);
	struct proto_status s;
	int fds[PORT_MAX_QUEUES];
	unsigned n;

	if (!p) {
		control_reply_status(c, -ENOENT, "no such port");
		return;
	}
	n = p->ops->get_fds ? p->ops->get_fds(p, fds) : 0;
	proto_status_init(&s, &c->in->h, sizeof(s), 0, NULL);
	control_reply(c, &s, fds, n);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}
