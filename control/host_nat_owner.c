// SPDX-License-Identifier: BSD-3-Clause
// Whose table `ip insula` is, see host_nat.h. The mark is a second, empty table with the flag
// `owner` (linux/netfilter/nf_tables.h, Linux 5.12): like what it marks it is one for a network
// namespace, only CAP_NET_ADMIN makes one, nobody else changes or deletes it (EPERM; `nft flush
// ruleset` leaves it), and the kernel takes it from the dead. Called by host_nat.c, main thread.
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/host_nat.h"
#include "control/log.h"

#define MARK "owner_of_insula"

enum {
	FIRST = 2, // the sequence number of the first message behind the batch's head
	DYING_TRIES = 50,
	DYING_US = 10000,
};

static struct mnl_socket *owner; // the table ends with it
static bool waited; // for a dying one

// Appends a message, returns where the next one goes. name: a table's, NULL = none.
static char *put(char *at, unsigned type, unsigned flags, uint32_t seq, const char *name,
	uint32_t table_flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *message = mnl_nlmsg_put_extra_header(h, sizeof(*message));

	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = seq;
	message->nfgen_family = name ? AF_INET : AF_UNSPEC;
	message->version = NFNETLINK_V0;
	message->res_id = htons(name ? 0 : NFNL_SUBSYS_NFTABLES);
	if (name)
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, name);
	if (table_flags)
		mnl_attr_put_u32(h, NFTA_TABLE_FLAGS, htonl(table_flags));
	return at + h->nlmsg_len;
}

// A table of that name without an owner (of a saved rule set, say) is replaced: one that has
// another owner cannot be added to, which is the first message and the first answer.
static int make_mark(struct mnl_socket *nl)
{
	const unsigned nft = NFNL_SUBSYS_NFTABLES << 8;
	char buffer[1024] __attribute__((aligned(8))), *end = buffer;
	const struct nlmsghdr *h = (const void *)buffer;
	const struct nlmsgerr *e;

	end = put(end, NFNL_MSG_BATCH_BEGIN, 0, FIRST - 1, NULL, 0);
	end = put(end, nft | NFT_MSG_NEWTABLE, NLM_F_CREATE, FIRST, MARK, 0);
	end = put(end, nft | NFT_MSG_DELTABLE, 0, FIRST + 1, MARK, 0);
	end = put(end, nft | NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, FIRST + 2,
		MARK, NFT_TABLE_F_OWNER);
	end = put(end, NFNL_MSG_BATCH_END, 0, FIRST + 3, NULL, 0);
	if (mnl_socket_sendto(nl, buffer, (size_t)(end - buffer)) < 0)
		return -errno;
	// Answered before sendto returns.
	ssize_t n = recv(mnl_socket_get_fd(nl), buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (!mnl_nlmsg_ok(h, (int)n) || h->nlmsg_type != NLMSG_ERROR ||
		mnl_nlmsg_get_payload_len(h) < sizeof(*e))
		return -EPROTO;
	e = mnl_nlmsg_get_payload(h);
	// Without CAP_NET_ADMIN the batch's head is refused.
	return e->error == -EPERM && h->nlmsg_seq == FIRST ? -EADDRINUSE : e->error;
}

static int try_to_own(void)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int r;

	if (!nl)
		return -errno;
	r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : make_mark(nl);
	if (r == 0)
		owner = nl;
	else
		mnl_socket_close(nl);
	return r;
}

int host_nat_own(char *err, size_t err_size)
{
	int r = owner ? 0 : try_to_own();

	// A killed one has it until the kernel has closed all it had. Ours is not among them later.
	for (int i = 0; r == -EADDRINUSE && !waited && i < DYING_TRIES; i++) {
		usleep(DYING_US);
		r = try_to_own();
	}
	waited = true;
	if (r == -EADDRINUSE)
		return log_reason(r, err, err_size,
			"another insulad on this host has an uplink of mode nat (nft table "
			"ip " MARK "); one of them can");
	return r < 0 ? log_reason(
			       r, err, err_size, "cannot claim table ip insula: %s", strerror(-r))
		     : 0;
}

bool host_nat_is_owned(void)
{
	return owner != NULL;
}

void host_nat_disown(void)
{
	if (owner)
		mnl_socket_close(owner);
	owner = NULL;
}
