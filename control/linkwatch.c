// SPDX-License-Identifier: BSD-3-Clause
// RTNLGRP_LINK through libmnl, see linkwatch.h. Main thread, from the loop.
#include "control/linkwatch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "control/netlink.h"

struct linkwatch {
	struct mnl_socket *socket;
	struct loop *loop;
	struct loop_source *source;
	struct linkwatch_handler handler;
};

static int on_attr(const struct nlattr *attr, void *data)
{
	const char **ifname = data;

	if (mnl_attr_get_type(attr) == IFLA_IFNAME &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*ifname = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int on_message(const struct nlmsghdr *h, void *data)
{
	const struct linkwatch_handler *handler = data;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
	const char *ifname = NULL;

	if ((h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) ||
		mnl_nlmsg_get_payload_len(h) < sizeof(*info))
		return MNL_CB_OK;
	mnl_attr_parse(h, sizeof(*info), on_attr, &ifname);
	if (ifname && strlen(ifname) < IFNAMSIZ)
		handler->link(handler->arg, ifname, h->nlmsg_type == RTM_DELLINK,
			(info->ifi_flags & IFF_RUNNING) != 0);
	return MNL_CB_OK;
}

void linkwatch_read(const void *messages, size_t size, const struct linkwatch_handler *handler)
{
	mnl_cb_run(messages, netlink_whole(messages, size), 0, 0, on_message,
		(void *)(uintptr_t)handler);
}

static void on_readable(void *arg, uint32_t events)
{
	struct linkwatch *w = arg;
	char buffer[16384] __attribute__((aligned(8)));

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(w->socket, buffer, sizeof(buffer));
		if (n < 0 && errno == ENOBUFS) {
			w->handler.lost(w->handler.arg);
			continue;
		}
		if (n <= 0)
			return;
		linkwatch_read(buffer, (size_t)n, &w->handler);
	}
}

int linkwatch_new(
	struct loop *l, const struct linkwatch_handler *handler, struct linkwatch **ret_watch)
{
	int r = -ENOMEM;
	struct linkwatch *w = calloc(1, sizeof(*w));

	if (!w)
		return r;
	w->loop = l;
	w->handler = *handler;
	w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!w->socket || mnl_socket_bind(w->socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_add(l, mnl_socket_get_fd(w->socket), EPOLLIN, on_readable, w, &w->source);
	if (r < 0)
		goto fail;
	*ret_watch = w;
	return 0;
fail:
	linkwatch_free(w);
	return r;
}

void linkwatch_free(struct linkwatch *w)
{
	if (!w)
		return;
	loop_remove(w->loop, w->source);
	if (w->socket)
		mnl_socket_close(w->socket);
	free(w);
}
