// SPDX-License-Identifier: BSD-3-Clause
// Follows the host, see host_care.h. nftables tells of deleted tables by netlink; resolv.conf is
// read again now and then: it is often a link into folders that come and go, where a watch would
// watch the wrong one. Main thread, from the loop.
#include "control/host_care.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "control/daemon_internal.h"
#include "control/host_nat.h"
#include "control/log.h"
#include "control/netlink.h"
#include "control/resolv.h"
#include "control/tap_care.h"

#define RESOLV_INTERVAL_NS 5000000000ull

struct host_care {
	struct daemon *d;
	struct mnl_socket *nft; // NULL: this kernel has no nf_tables
	struct loop_source *source, *timer;
	struct tap_care *taps;
};

static const struct port_spec *nat_tap(const struct daemon *d)
{
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		if (p && p->n_fds && !p->broken && port_spec_of(p)->host_nat)
			return port_spec_of(p);
	}
	return NULL;
}

// Whoever reloads the host's own rules flushes all tables.
static void restore_table(struct daemon *d)
{
	const struct port_spec *tap = nat_tap(d);
	char err[512];

	if (!tap || !tap->nat_host || host_nat_table_exists())
		return;
	if (host_nat_up(d->store, tap, tap->ifname, err, sizeof(err)) < 0)
		log_error("uplink mode nat: %s", err);
	else
		log_warning("nft table ip insula was deleted underneath: it is there again");
}

static int on_message(const struct nlmsghdr *h, void *data)
{
	bool *deleted = data;

	if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE))
		*deleted = true;
	return MNL_CB_OK;
}

bool host_care_table_deleted(const void *messages, size_t size)
{
	bool deleted = false;

	mnl_cb_run(messages, netlink_whole(messages, size), 0, 0, on_message, &deleted);
	return deleted;
}

static void on_readable(void *arg, uint32_t events)
{
	struct host_care *c = arg;
	char buffer[16384] __attribute__((aligned(8)));
	bool deleted = false;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(c->nft, buffer, sizeof(buffer));
		if (n < 0 && errno == ENOBUFS)
			deleted = true; // events were lost
		else if (n <= 0)
			break;
		else if (host_care_table_deleted(buffer, (size_t)n))
			deleted = true;
	}
	if (deleted)
		restore_table(c->d);
}

static void on_timer(void *arg)
{
	struct host_care *c = arg;
	struct daemon *d = c->d;
	be32 dns[POLICY_MAX_DNS];
	unsigned n = resolv_host(NULL, NULL, dns);
	json_t *result = NULL;

	loop_timer_arm(c->timer, RESOLV_INTERVAL_NS);
	if (!d->has_config || d->held || !d->client ||
		(n == d->n_dns && memcmp(dns, d->dns, n * sizeof(dns[0])) == 0))
		return;
	log_info("the host's name servers changed: applying %s again", d->file);
	daemon_apply(d, d->file, d->yaml, d->yaml_size, &result); // it logs why not
	json_decref(result);
}

static void watch_nft(struct host_care *c)
{
	int group = NFNLGRP_NFTABLES;

	c->nft = mnl_socket_open2(NETLINK_NETFILTER, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (c->nft && mnl_socket_bind(c->nft, 0, MNL_SOCKET_AUTOPID) == 0 &&
		mnl_socket_setsockopt(c->nft, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0 &&
		loop_add(c->d->loop, mnl_socket_get_fd(c->nft), EPOLLIN, on_readable, c,
			&c->source) == 0)
		return;
	if (c->nft)
		mnl_socket_close(c->nft);
	c->nft = NULL;
}

int host_care_new(struct daemon *d, struct host_care **ret_care)
{
	struct host_care *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->d = d;
	int r = loop_add_timer(d->loop, on_timer, c, &c->timer);
	if (r == 0)
		r = tap_care_new(d, &c->taps);
	if (r < 0) {
		host_care_free(c);
		return r;
	}
	watch_nft(c);
	loop_timer_arm(c->timer, RESOLV_INTERVAL_NS);
	*ret_care = c;
	return 0;
}

void host_care_free(struct host_care *c)
{
	if (!c)
		return;
	tap_care_free(c->taps);
	loop_remove(c->d->loop, c->source);
	loop_remove(c->d->loop, c->timer);
	if (c->nft)
		mnl_socket_close(c->nft);
	free(c);
}
