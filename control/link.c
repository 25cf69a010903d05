// SPDX-License-Identifier: BSD-3-Clause
// Interfaces by libnl-route-3, see link.h. Called by tap.c, packet_socket.c, host_nat.c and
// host_address.c on the main thread.
#include "control/link.h"

#include <errno.h>
#include <linux/if.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <sys/random.h>

// libnl's own error numbers, as errno.
static int nl_errno(int r)
{
	switch (-r) {
	case 0:
		return 0;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_BUSY:
		return -EBUSY;
	case NLE_INVAL:
		return -EINVAL;
	case NLE_RANGE:
		return -ERANGE;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

int link_socket_open(struct nl_sock **ret_socket)
{
	struct nl_sock *s = nl_socket_alloc();
	if (!s)
		return -ENOMEM;
	int r = nl_connect(s, 0 /* NETLINK_ROUTE */);
	if (r < 0) {
		nl_socket_free(s);
		return nl_errno(r);
	}
	*ret_socket = s;
	return 0;
}

void link_socket_close(struct nl_sock *s)
{
	if (s)
		nl_socket_free(s);
}

static void read_link(struct rtnl_link *link, struct link_info *ret_info)
{
	*ret_info = (struct link_info){ .ifindex = rtnl_link_get_ifindex(link),
		.flags = rtnl_link_get_flags(link),
		.mtu = rtnl_link_get_mtu(link) };
	struct nl_addr *mac = rtnl_link_get_addr(link);
	if (mac && nl_addr_get_len(mac) == sizeof(struct mac))
		memcpy(&ret_info->mac, nl_addr_get_binary_addr(mac), sizeof(struct mac));
	const char *alias = rtnl_link_get_ifalias(link);
	const char *kind = rtnl_link_get_type(link);
	const char *name = rtnl_link_get_name(link);
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", name ? name : "");
	snprintf(ret_info->alias, sizeof(ret_info->alias), "%s", alias ? alias : "");
	snprintf(ret_info->kind, sizeof(ret_info->kind), "%s", kind ? kind : "");
}

// By index, or by name if that is 0.
static int ask(struct nl_sock *s, int ifindex, const char *ifname, struct link_info *ret_info)
{
	struct rtnl_link *link = NULL;
	int r = rtnl_link_get_kernel(s, ifindex, ifname, &link);

	if (r < 0)
		return nl_errno(r);
	if (!link) // an answer without an interface in it
		return -EIO;
	read_link(link, ret_info);
	rtnl_link_put(link);
	return 0;
}

int link_get(struct nl_sock *s, const char *ifname, struct link_info *ret_info)
{
	return ask(s, 0, ifname, ret_info);
}

int link_get_by_index(struct nl_sock *s, int ifindex, struct link_info *ret_info)
{
	return ask(s, ifindex, NULL, ret_info);
}

int link_each(struct nl_sock *s, void (*fn)(void *arg, const struct link_info *info), void *arg)
{
	struct link_info info;
	struct nl_cache *all;
	int r = rtnl_link_alloc_cache(s, AF_UNSPEC, &all);

	if (r < 0)
		return nl_errno(r);
	for (struct nl_object *o = nl_cache_get_first(all); o; o = nl_cache_get_next(o)) {
		read_link((struct rtnl_link *)o, &info);
		fn(arg, &info);
	}
	nl_cache_free(all);
	return 0;
}

int link_set(struct nl_sock *s, int ifindex, const struct link_change *change)
{
	int r = -ENOMEM;
	struct nl_addr *mac = NULL;
	struct rtnl_link *which = rtnl_link_alloc();
	struct rtnl_link *to = rtnl_link_alloc();

	if (!which || !to)
		goto out;
	rtnl_link_set_ifindex(which, ifindex);
	if (change->mac) {
		mac = nl_addr_build(AF_LLC, change->mac, sizeof(*change->mac));
		if (!mac)
			goto out;
		rtnl_link_set_addr(to, mac);
	}
	if (change->mtu)
		rtnl_link_set_mtu(to, change->mtu);
	if (change->alias) {
		rtnl_link_set_ifalias(to, change->alias);
		if (!rtnl_link_get_ifalias(to)) // libnl would copy from there
			goto out;
	}
	if (change->name)
		rtnl_link_set_name(to, change->name);
	if (change->up)
		rtnl_link_set_flags(to, IFF_UP);
	if (change->down)
		rtnl_link_unset_flags(to, IFF_UP);
	r = nl_errno(rtnl_link_change(s, which, to, 0));
out:
	if (mac)
		nl_addr_put(mac);
	if (which)
		rtnl_link_put(which);
	if (to)
		rtnl_link_put(to);
	return r;
}

int link_add_address(struct nl_sock *s, int ifindex, be32 address, unsigned prefix_len)
{
	int r = -ENOMEM;
	struct rtnl_addr *a = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(AF_INET, &address, sizeof(address));

	if (!a || !local)
		goto out;
	nl_addr_set_prefixlen(local, (int)prefix_len);
	rtnl_addr_set_ifindex(a, ifindex);
	r = nl_errno(rtnl_addr_set_local(a, local));
	if (r == 0)
		r = nl_errno(rtnl_addr_add(s, a, 0));
out:
	if (local)
		nl_addr_put(local);
	if (a)
		rtnl_addr_put(a);
	return r;
}

int link_find_address(struct nl_sock *s, be32 address, int *ret_ifindex)
{
	struct nl_cache *all;
	int r = rtnl_addr_alloc_cache(s, &all);

	if (r < 0)
		return nl_errno(r);
	r = -ENOENT;
	for (struct nl_object *o = nl_cache_get_first(all); r < 0 && o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;
		const struct nl_addr *local = rtnl_addr_get_local(a);
		if (!local || nl_addr_get_family(local) != AF_INET ||
			nl_addr_get_len(local) != sizeof(address) ||
			memcmp(nl_addr_get_binary_addr(local), &address, sizeof(address)) != 0)
			continue;
		*ret_ifindex = rtnl_addr_get_ifindex(a);
		r = 0;
	}
	nl_cache_free(all);
	return r;
}

// One request about interfaces by name (NULL = by the group alone): libnl has neither.
static int group_request(struct nl_sock *s, int type, const char *ifname, uint32_t group)
{
	struct ifinfomsg any = { .ifi_family = AF_UNSPEC };
	struct nl_msg *msg = nlmsg_alloc_simple(type, 0);

	if (!msg)
		return -ENOMEM;
	if (nlmsg_append(msg, &any, sizeof(any), NLMSG_ALIGNTO) < 0 ||
		(ifname && nla_put_string(msg, IFLA_IFNAME, ifname) < 0) ||
		nla_put_u32(msg, IFLA_GROUP, group) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return nl_errno(nl_send_sync(s, msg)); // frees msg
}

int link_delete_many(struct nl_sock *s, const char *const *ifnames, unsigned n)
{
	uint32_t group, joined = 0;

	// A random group: nobody else's interfaces are in it.
	if (getrandom(&group, sizeof(group), 0) != sizeof(group))
		return -errno;
	group = (group & 0x3fffffff) | 0x40000000;
	for (unsigned i = 0; i < n; i++)
		joined += group_request(s, RTM_SETLINK, ifnames[i], group) == 0;
	return joined ? group_request(s, RTM_DELLINK, NULL, group) : 0;
}
