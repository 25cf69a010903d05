// SPDX-License-Identifier: BSD-3-Clause
// Taps, see tap.h. Called by ports.c and host_nat.c on the main thread. A second queue on a tap
// that the switch already serves would swallow the packets hashed to it: callers get the fds back
// from the switch instead (PROTO_PORT_FDS) and open only what is missing.
#include "control/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/link.h"
#include "control/log.h"
#include "control/netns.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define ALIAS_PREFIX "insula "

static const char *where(const struct tap_params *p)
{
	return p->netns[0] ? p->netns : "the host";
}

static int open_queue(const struct tap_params *p, int *ret_fd, char *err, size_t err_size)
{
	// A multi-queue tap has 256 queues in the kernel, whatever is opened: a hundred times the
	// time to bring it up. One queue is a single-queue tap.
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						  (p->n_queues > 1 ? IFF_MULTI_QUEUE : 0)) };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return log_reason(-errno, err, err_size,
			"cannot open /dev/net/tun (%m); load it with `modprobe tun`, or in a "
			"container `mkdir -p /dev/net; mknod /dev/net/tun c 10 200`");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->ifname);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		int r = -errno;
		close(fd);
		return log_reason(r, err, err_size, "cannot make tap %s in %s: %s%s", p->ifname,
			where(p), strerror(-r),
			r == -EPERM    ? "; insulad needs CAP_NET_ADMIN, run it as root"
			: r == -EINVAL ? "; one of another kind is there"
				       : "");
	}
	// USO since Linux 6.2; without it a tap takes the older set.
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	if (ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) < 0 &&
		ioctl(fd, TUNSETOFFLOAD, offloads) < 0) {
		int r = -errno;
		close(fd);
		return log_reason(r, err, err_size, "tap %s: cannot set offloads: %s", p->ifname,
			strerror(-r));
	}
	*ret_fd = fd;
	return 0;
}

static int refuse_name(
	const struct tap_params *p, const struct link_info *info, char *err, size_t err_size)
{
	bool ours = strncmp(info->alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) == 0;

	// It is likely to be the one towards the network, which must not be deleted.
	if (!ours)
		return log_reason(-EEXIST, err, err_size,
			"interface %s in %s exists already and is not this port's; %s", p->ifname,
			where(p),
			p->host_nat ? "with mode nat, `interface` is the tap that insulad makes: "
				      "give it another name, or leave it out"
				    : "`interface` is the tap that insulad makes: give it "
				      "another name");
	return log_reason(-EEXIST, err, err_size,
		"interface %s in %s exists already as the tap of port %s; name another, or, if "
		"that port is no more, delete it with `ip %s%s%slink del %s`",
		p->ifname, where(p), info->alias + strlen(ALIAS_PREFIX), p->netns[0] ? "-n " : "",
		p->netns, p->netns[0] ? " " : "", p->ifname);
}

// One fd for a queue, and some for a moment.
static int refuse_fds(const struct tap_params *p, int r, char *err, size_t err_size)
{
	return log_reason(r, err, err_size,
		"tap %s in %s: insulad has too many open files; raise their limit, with `ulimit -n "
		"524288` before `insula start` or `LimitNOFILE=524288` in its unit",
		p->ifname, where(p));
}

static int refuse_netns(const struct tap_params *p, int r, char *err, size_t err_size)
{
	if (r == -ENOENT)
		return log_reason(r, err, err_size,
			"network namespace %s does not exist; make it with `ip netns add %s`",
			p->netns, p->netns);
	if (r == -EMFILE)
		return refuse_fds(p, r, err, err_size);
	return log_reason(
		r, err, err_size, "cannot enter network namespace %s: %s", p->netns, strerror(-r));
}

static bool is_of(const struct link_info *info, const char *port)
{
	char alias[128];

	snprintf(alias, sizeof(alias), ALIAS_PREFIX "%s", port);
	return strcmp(info->alias, alias) == 0;
}

// By its alias: the port's, that of whom it was noted for, or, of the noted device, of any of our
// ports: an apply that was killed may have handed it on.
static bool is_ours(const struct tap_params *p, const struct link_info *info)
{
	bool handed = p->ifindex && info->ifindex == p->ifindex &&
		      strncmp(info->alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) == 0;

	return p->adopt &&
	       (handed || is_of(info, p->port) || (p->former && is_of(info, p->former)));
}

// Refuses a device that someone else made, before TUNSETIFF would attach to it. *ret_info: the one
// that is there and ours, perhaps renamed by others; without ifindex there is none.
static int check_name(struct nl_sock *nl, const struct tap_params *p, struct link_info *ret_info,
	char *err, size_t err_size)
{
	struct link_info info;
	int r = link_get(nl, p->ifname, &info);

	*ret_info = (struct link_info){ 0 };
	if (r < 0 && r != -ENODEV)
		return log_reason(r, err, err_size, "cannot ask for interface %s in %s: %s",
			p->ifname, where(p), strerror(-r));
	if (r == 0 && is_ours(p, &info)) {
		*ret_info = info;
		return 0;
	}
	struct link_info renamed;
	if (p->ifindex && link_get_by_index(nl, p->ifindex, &renamed) == 0 &&
		is_ours(p, &renamed)) {
		*ret_info = renamed;
		return 0;
	}
	return r == 0 ? refuse_name(p, &info, err, err_size) : 0;
}

// if_nametoindex says ENOENT when there is no fd for its socket.
static int index_of(const char *ifname)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	int r = ioctl(fd, SIOCGIFINDEX, &ifr) < 0 ? -errno : ifr.ifr_ifindex;
	close(fd);
	return r;
}

// The very device that was noted, under its name: nobody needs to be asked whose it is. By its MAC
// too: a namespace made anew counts from the same index.
static bool is_noted(const struct tap_params *p)
{
	struct ifreq ifr = { 0 };

	if (!p->adopt || !p->ifindex || index_of(p->ifname) != p->ifindex)
		return false;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->ifname);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool same = fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0 &&
		    memcmp(ifr.ifr_hwaddr.sa_data, &p->mac, sizeof(p->mac)) == 0;
	if (fd >= 0)
		close(fd);
	return same;
}

// MAC, MTU, alias, up: what is not so yet. Every question about a link and every change to one
// makes the kernel walk all IPv6 routes once its carrier has changed, as it has by an open queue:
// among a thousand taps that is most of a restart. So a new one is not asked for, and one that
// is found running is left as it is.
static int adjust(struct nl_sock *nl, const struct tap_params *p, const struct link_info *found)
{
	char alias[128];
	struct link_info now = *found;
	int ifindex = found->ifindex ? found->ifindex : index_of(p->ifname);
	struct link_change change = { 0 };

	snprintf(alias, sizeof(alias), ALIAS_PREFIX "%s", p->port);
	// One that was without a carrier is asked for, which makes it send from now on, and then
	// has its MAC set again: the kernel forgets neighbours that it asked for in vain meanwhile,
	// and asks at once. Without either it does a second later.
	if (found->ifindex && !(found->flags & IFF_RUNNING)) {
		int r = link_get(nl, p->ifname, &now);
		if (r < 0)
			return r;
		change.mac = &p->mac;
	}
	change.up = !p->down && !(now.flags & IFF_UP);
	if (!mac_equal(&now.mac, &p->mac))
		change.mac = &p->mac;
	if (now.mtu != p->mtu)
		change.mtu = p->mtu;
	if (strcmp(now.alias, alias) != 0)
		change.alias = alias;
	if (ifindex < 0)
		return ifindex;
	if (!change.up && !change.mac && !change.mtu && !change.alias)
		return 0;
	return link_set(nl, ifindex, &change);
}

static int make(const struct tap_params *p, int fds[], unsigned n_have, bool *ret_made, char *err,
	size_t err_size)
{
	struct tap_params here = *p;
	struct nl_sock *nl = NULL;
	struct link_info found;
	unsigned n = n_have;
	int r = link_socket_open(&nl);

	if (r < 0)
		return log_reason(
			r, err, err_size, "cannot open a netlink socket: %s", strerror(-r));
	if (!n_have && is_noted(p)) { // and how it is, adjust asks, once for all
		found = (struct link_info){ .ifindex = p->ifindex };
		snprintf(found.name, sizeof(found.name), "%s", p->ifname);
	} else if (!n_have) {
		r = check_name(nl, p, &found, err, err_size);
	} else if ((r = link_get(nl, p->ifname, &found)) < 0) {
		log_reason(r, err, err_size, "cannot ask for interface %s in %s: %s", p->ifname,
			where(p), strerror(-r));
	}
	if (r == 0 && found.ifindex)
		here.ifname = found.name;
	while (r == 0 && n < p->n_queues) {
		r = open_queue(&here, &fds[n], err, err_size);
		n += r == 0;
	}
	if (r < 0)
		goto out;
	*ret_made = !found.ifindex;
	r = adjust(nl, &here, &found);
	if (r < 0)
		log_reason(r, err, err_size, "tap %s in %s: cannot set MAC, MTU %u and up: %s",
			here.ifname, where(p), p->mtu, strerror(-r));
out:
	while (r < 0 && n > n_have)
		close(fds[--n]);
	link_socket_close(nl);
	return r;
}

int tap_open(const struct tap_params *p, int fds[PROTO_MAX_QUEUES], unsigned n_have, bool *ret_made,
	char *err, size_t err_size)
{
	struct tap_sight sight;
	int back;

	// By its name, nobody else's interface would be meant.
	if (n_have && tap_look(fds[0], p->netns, &sight) == 0 &&
		tap_is_odd(&sight, p->netns, p->ifname, err, err_size))
		return -ENODEV;
	int r = netns_enter(p->netns, &back);
	if (r < 0)
		return refuse_netns(p, r, err, err_size);
	r = make(p, fds, n_have, ret_made, err, err_size);
	netns_leave(back);
	if (r == -EMFILE)
		refuse_fds(p, r, err, err_size);
	return r;
}

int tap_check(const struct tap_params *p, char *err, size_t err_size)
{
	struct nl_sock *nl = NULL;
	struct link_info found;
	int back, r = netns_enter(p->netns, &back);

	if (r < 0)
		return refuse_netns(p, r, err, err_size);
	r = link_socket_open(&nl);
	// Without a socket nothing can be seen.
	r = r < 0 ? 0 : check_name(nl, p, &found, err, err_size);
	link_socket_close(nl);
	netns_leave(back);
	return r;
}

int tap_rename(const char *netns, const char *from, const char *to, char *err, size_t err_size)
{
	struct nl_sock *nl = NULL;
	struct link_info info;
	int back, r = netns_enter(netns, &back);

	if (r < 0)
		return log_reason(
			r, err, err_size, "network namespace %s: %s", netns, strerror(-r));
	r = link_socket_open(&nl);
	if (r == 0)
		r = link_get(nl, from, &info);
	if (r == 0) {
		struct link_change change = { .name = to, .up = true };
		r = link_set(nl, info.ifindex, &change);
	}
	link_socket_close(nl);
	netns_leave(back);
	if (r < 0)
		return log_reason(r, err, err_size, "tap %s cannot be renamed to %s: %s", from, to,
			strerror(-r));
	return 0;
}

static bool is_same(
	const struct link_info *info, int ifindex, const struct mac *mac, const char *port)
{
	return is_of(info, port) &&
	       (!mac || mac_is_zero(mac) || mac_equal(&info->mac, mac) || info->ifindex == ifindex);
}

int tap_delete(
	const char *netns, const char *ifname, int ifindex, const struct mac *mac, const char *port)
{
	struct nl_sock *nl = NULL;
	struct link_info info;
	const char *name = info.name;
	int back, r = netns_enter(netns, &back);

	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	r = link_socket_open(&nl);
	if (r == 0)
		r = link_get(nl, ifname, &info);
	if (ifindex && (r == -ENODEV || (r == 0 && !is_same(&info, ifindex, mac, port))))
		r = link_get_by_index(nl, ifindex, &info);
	if (r == 0)
		r = is_same(&info, ifindex, mac, port) ? link_delete_many(nl, &name, 1) : -ENODEV;
	link_socket_close(nl);
	netns_leave(back);
	return r;
}

struct ours {
	struct link_info *v;
	size_t n;
};

static void collect_ours(void *arg, const struct link_info *info)
{
	struct ours *l = arg;

	if (strcmp(info->kind, "tun") != 0 ||
		strncmp(info->alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) != 0)
		return;
	struct link_info *grown = realloc(l->v, (l->n + 1) * sizeof(*grown));
	if (!grown)
		return;
	l->v = grown;
	grown[l->n++] = *info;
}

// Whoever owns the namespace can give any tap there our alias: it costs him that tap, no one
// else's.
static void delete_strays_in(const char *netns, tap_is_stray *is_stray, void *arg)
{
	struct ours l = { 0 };
	struct nl_sock *nl = NULL;
	int back;

	if (netns_enter(netns, &back) < 0)
		return;
	if (link_socket_open(&nl) == 0)
		link_each(nl, collect_ours, &l);
	link_socket_close(nl);
	netns_leave(back);
	for (size_t i = 0; i < l.n; i++) {
		const char *port = l.v[i].alias + strlen(ALIAS_PREFIX);
		if (is_stray(arg, netns, port, &l.v[i].mac) &&
			tap_delete(netns, l.v[i].name, 0, NULL, port) == 0)
			log_warning("tap %s of port %s, moved to %s, is removed", l.v[i].name, port,
				netns[0] ? netns : "the host");
	}
	free(l.v);
}

void tap_delete_strays(tap_is_stray *is_stray, void *arg)
{
	DIR *dir = opendir("/run/netns");

	delete_strays_in("", is_stray, arg);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.')
			delete_strays_in(e->d_name, is_stray, arg);
	if (dir)
		closedir(dir);
}

int tap_name(int fd, char ret_ifname[16])
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return -errno;
	memcpy(ret_ifname, ifr.ifr_name, 16);
	ret_ifname[15] = 0;
	return 0;
}

int tap_index(int fd, const char *netns)
{
	struct tap_sight sight = { 0 };
	int back, r = tap_look(fd, netns, &sight);

	// By its name, somebody else's would be meant.
	if (r == -EBADFD || sight.homeless || sight.moved || netns_enter(netns, &back) < 0)
		return 0;
	int ifindex = index_of(sight.ifname);
	netns_leave(back);
	return ifindex < 0 ? 0 : ifindex;
}

int tap_mac(int fd, struct mac *ret_mac)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	memcpy(ret_mac, ifr.ifr_hwaddr.sa_data, sizeof(*ret_mac));
	return 0;
}

int tap_set_persistent(int fd, bool on)
{
	return ioctl(fd, TUNSETPERSIST, on) < 0 ? -errno : 0;
}

// The namespace that SIOCGSKNS (where the queue was opened) or TUNGETDEVNETNS (where the device is)
// gives. An older kernel gives none.
static int namespace_of(int fd, unsigned long request, struct stat *ret_st)
{
	int ns = ioctl(fd, request);

	if (ns < 0)
		return -errno;
	int r = fstat(ns, ret_st) < 0 ? -errno : 0;
	close(ns);
	return r;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_up(const char *netns, const char *ifname)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP };
	int back;

	if (netns_enter(netns, &back) < 0)
		return true;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	bool up = s < 0 || ioctl(s, SIOCGIFFLAGS, &ifr) < 0 || ifr.ifr_flags & IFF_UP;
	if (s >= 0)
		close(s);
	netns_leave(back);
	return up;
}

int tap_look(int fd, const char *netns, struct tap_sight *ret_sight)
{
	char path[128];
	struct stat home, named, here;
	int r = tap_alive(fd) ? tap_name(fd, ret_sight->ifname) : -EBADFD;

	if (r == 0)
		r = namespace_of(fd, SIOCGSKNS, &home);
	if (r == 0)
		r = namespace_of(fd, TUNGETDEVNETNS, &here);
	if (r < 0)
		return r;
	ret_sight->homeless = false;
	if (netns[0]) {
		snprintf(path, sizeof(path), "/run/netns/%s", netns);
		r = stat(path, &named) < 0 ? -errno : 0;
		if (r < 0 && r != -ENOENT)
			return r;
		ret_sight->homeless = r < 0 || !same_file(&home, &named);
	}
	ret_sight->moved = !same_file(&home, &here);
	ret_sight->up = ret_sight->homeless || ret_sight->moved || is_up(netns, ret_sight->ifname);
	return 0;
}

bool tap_is_odd(const struct tap_sight *sight, const char *netns, const char *ifname,
	char *ret_text, size_t size)
{
	const char *in = netns[0] ? "-n " : "", *space = netns[0] ? " " : "";

	if (sight->homeless)
		return false;
	if (sight->moved && netns[0])
		snprintf(ret_text, size,
			"its tap was moved to another network namespace; `ip link set %s netns "
			"%s` there brings it back",
			sight->ifname, netns);
	else if (sight->moved)
		snprintf(ret_text, size,
			"its tap was moved to another network namespace; `ip link set %s netns "
			"%d` there brings it back",
			sight->ifname, getpid());
	else if (strcmp(sight->ifname, ifname) != 0)
		snprintf(ret_text, size,
			"its tap %s was renamed to %s; `ip %s%s%slink set %s down` and `ip "
			"%s%s%slink set %s name %s up` mend it",
			ifname, sight->ifname, in, netns, space, sight->ifname, in, netns, space,
			sight->ifname, ifname);
	else
		return false;
	return true;
}

bool tap_alive(int fd)
{
	struct ifreq ifr = { 0 };

	// A queue whose device was deleted is detached: EBADFD. Any other error says nothing of it.
	return ioctl(fd, TUNGETIFF, &ifr) < 0 ? errno != EBADFD
					      : !(ifr.ifr_flags & IFF_DETACH_QUEUE);
}
