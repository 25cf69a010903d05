// SPDX-License-Identifier: BSD-3-Clause
// Follows the host, see host_care.h. nftables tells of what is done to tables by netlink;
// resolv.conf is read again now and then: it is often a link into folders that come and go, where a
// watch would watch the wrong one. Main thread, from the loop.
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
	bool table_seen; // was the nat table as it should be at the last look?
	char trouble[512]; // why it cannot be made again, as logged
	char dns_trouble[1024]; // why new name servers cannot be applied, as logged
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

// Whoever reloads the host's own rules flushes all tables, or only the rules of all.
static void restore_table(struct host_care *c)
{
	const struct port_spec *tap = nat_tap(c->d);
	char err[sizeof(c->trouble)] = "";

	c->table_seen = !tap || !tap->nat_host;
	if (c->table_seen)
		return;
	enum host_nat_table is = host_nat_table_look(tap);
	c->table_seen = is == HOST_NAT_TABLE_WHOLE ||
			host_nat_up(c->d->store, tap, tap->ifname, err, sizeof(err)) == 0;
	if (!c->table_seen && strcmp(err, c->trouble) != 0)
		log_error("uplink mode nat: %s", err);
	else if (c->table_seen && (is == HOST_NAT_TABLE_GONE || is == HOST_NAT_TABLE_CHANGED))
		log_warning("nft table ip insula was %s",
			is == HOST_NAT_TABLE_GONE ? "deleted underneath: it is there again"
						  : "changed underneath: it is as before");
	memcpy(c->trouble, err, sizeof(err));
}

void host_care_look(struct host_care *c)
{
	restore_table(c);
}

// Tables, chains and rules all have their table's name in the first attribute.
static int on_attr(const struct nlattr *attr, void *data)
{
	bool *touched = data;

	_Static_assert((int)NFTA_TABLE_NAME == (int)NFTA_CHAIN_TABLE &&
			       (int)NFTA_TABLE_NAME == (int)NFTA_RULE_TABLE,
		"one attribute for all");
	if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
		strcmp(mnl_attr_get_str(attr), "insula") == 0)
		*touched = true;
	return MNL_CB_OK;
}

static int on_message(const struct nlmsghdr *h, void *data)
{
	const struct nfgenmsg *message = mnl_nlmsg_get_payload(h);

	if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
		mnl_nlmsg_get_payload_len(h) < sizeof(*message) || message->nfgen_family != AF_INET)
		return MNL_CB_OK;
	switch (h->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		mnl_attr_parse(h, sizeof(*message), on_attr, data);
		break;
	}
	return MNL_CB_OK;
}

bool host_care_table_touched(const void *messages, size_t size)
{
	bool touched = false;

	mnl_cb_run(messages, netlink_whole(messages, size), 0, 0, on_message, &touched);
	return touched;
}

static void on_readable(void *arg, uint32_t events)
{
	struct host_care *c = arg;
	char buffer[16384] __attribute__((aligned(8)));
	bool touched = false;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(c->nft, buffer, sizeof(buffer));
		if (n < 0 && errno == ENOBUFS)
			touched = true; // events were lost
		else if (n <= 0)
			break;
		else if (host_care_table_touched(buffer, (size_t)n))
			touched = true;
	}
	if (touched && !c->trouble[0]) // else by us, in vain: later again
		restore_table(c);
}

static void tell_of_dns(struct host_care *c, const json_t *result)
{
	const char *why = json_string_value(json_array_get(json_object_get(result, "errors"), 0));

	if (!why || strcmp(why, c->dns_trouble) == 0)
		return;
	snprintf(c->dns_trouble, sizeof(c->dns_trouble), "%s", why);
	log_error("the host's new name servers: %s; trying again every 5 s", why);
}

static void on_timer(void *arg)
{
	struct host_care *c = arg;
	struct daemon *d = c->d;
	be32 dns[POLICY_MAX_DNS];
	unsigned n = resolv_host(NULL, NULL, dns);
	json_t *result = NULL;

	loop_timer_arm(c->timer, RESOLV_INTERVAL_NS);
	if (!c->table_seen)
		restore_table(c);
	if (!d->has_config || d->held || !d->client ||
		(n == d->n_dns && memcmp(dns, d->dns, n * sizeof(dns[0])) == 0))
		return;
	if (!c->dns_trouble[0])
		log_info("the host's name servers changed: applying %s again", d->file);
	if (daemon_apply(d, d->file, d->yaml, d->yaml_size, &result) < 0)
		tell_of_dns(c, result);
	else
		c->dns_trouble[0] = 0;
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
