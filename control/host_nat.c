// SPDX-License-Identifier: BSD-3-Clause
// The laptop's uplink, see host_nat.h. Called by ports.c, main thread.
#include "control/host_nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/link.h"
#include "control/log.h"
#include "control/nft.h"
#include "control/sysctl.h"

#define NOTE STORE_HOST "nft:insula"

// Adding before deleting makes the deletion succeed whether or not a table was there: one
// transaction, so there is never a moment without masquerading.
static const char ruleset[] =
	"add table ip insula\n"
	"delete table ip insula\n"
	"add table ip insula { comment \"Insula, uplink mode nat; removed when Insula stops\"; }\n"
	"add chain ip insula postrouting { type nat hook postrouting priority srcnat; policy "
	"accept; }\n"
	"add rule ip insula postrouting " HOST_NAT_RULE "\n";

static int run_nft(const char *commands, char *err, size_t err_size)
{
	char *text;
	int r = nft_run(commands, 0, &text);

	if (r == -EIO)
		log_reason(r, err, err_size,
			"nftables refused table ip insula: %.*s; nf_tables and nft_masq are needed "
			"(`modprobe nft_masq`) and CAP_NET_ADMIN",
			(int)strcspn(text, "\n"), text);
	else if (r < 0)
		log_reason(r, err, err_size, "table ip insula: libnftables: %s", strerror(-r));
	free(text);
	return r;
}

static int set_address(const struct port_spec *tap, const char *ifname, char *err, size_t err_size)
{
	struct nl_sock *nl;
	struct link_info info;
	int r = link_socket_open(&nl);

	if (r == 0) {
		r = link_get(nl, ifname, &info);
		if (r == 0)
			r = link_add_address(nl, info.ifindex, tap->nat_host, tap->nat_prefix);
		link_socket_close(nl);
	}
	if (r == -EEXIST)
		r = 0;
	if (r < 0)
		log_reason(r, err, err_size, "tap %s: cannot add its address: %s", ifname,
			strerror(-r));
	return r;
}

// Appends to a list with commas.
__attribute__((format(printf, 3, 4))) static void add_word(
	char *list, size_t size, const char *format, ...)
{
	size_t used = strlen(list);
	va_list args;

	if (used && used + 2 < size)
		used += (size_t)snprintf(list + used, size - used, ", ");
	va_start(args, format);
	vsnprintf(list + used, size - used, format, args);
	va_end(args);
}

// An MTU too small for IPv4 takes the address away: that comes last.
static int mend_link(struct nl_sock *nl, const struct port_spec *tap, char *ret_what, size_t size)
{
	char address[INET_ADDRSTRLEN];
	struct link_change change = { 0 };
	struct link_info info;
	int r = link_get(nl, tap->ifname, &info);

	if (r < 0)
		return r;
	change.up = !(info.flags & IFF_UP);
	if (change.up)
		add_word(ret_what, size, "set down");
	if (info.mtu != tap->mtu) {
		change.mtu = tap->mtu;
		add_word(ret_what, size, "MTU %u", info.mtu);
	}
	if (!mac_equal(&info.mac, &tap->mac)) {
		change.mac = &tap->mac;
		add_word(ret_what, size, "another MAC");
	}
	r = ret_what[0] ? link_set(nl, info.ifindex, &change) : 0;
	if (r < 0)
		return r;
	r = link_add_address(nl, info.ifindex, tap->nat_host, tap->nat_prefix);
	if (r != -EEXIST)
		add_word(ret_what, size, "without its address %s",
			inet_ntop(AF_INET, &tap->nat_host, address, sizeof(address)));
	return r == -EEXIST ? 0 : r;
}

int host_nat_mend_tap(const struct port_spec *tap, char *ret_what, size_t size)
{
	struct nl_sock *nl;
	int r = link_socket_open(&nl);

	ret_what[0] = 0;
	if (r < 0)
		return r;
	r = mend_link(nl, tap, ret_what, size);
	link_socket_close(nl);
	return r < 0 ? r : ret_what[0] != 0;
}

int host_nat_up(struct store *s, const struct port_spec *tap, const char *ifname, char *err,
	size_t err_size)
{
	char commands[sizeof(ruleset) + 64], address[INET_ADDRSTRLEN], late[512];
	bool owned = host_nat_is_owned();
	int r = host_nat_own(err, err_size);

	if (r == 0)
		r = set_address(tap, ifname, err, err_size);
	if (r == 0) {
		r = store_note(s, NOTE, tap->ifname);
		if (r < 0)
			log_reason(r, err, err_size, "state: %s", store_error(s));
	}
	if (r < 0) {
		if (!owned)
			host_nat_disown();
		return r;
	}
	inet_ntop(AF_INET, &tap->nat_switch, address, sizeof(address));
	snprintf(commands, sizeof(commands), ruleset, address, tap->ifname);
	r = run_nft(commands, err, err_size);
	host_nat_table_made(r == 0);
	if (r == 0)
		r = sysctl_forwarding_on(s, err, err_size);
	if (r < 0 && host_nat_down(s, late, sizeof(late)) < 0)
		log_warning("%s", late);
	return r;
}

static void found(void *arg, const char *key, const char *value)
{
	*(bool *)arg = true;
}

int host_nat_adopt(struct store *s, const struct port_spec *tap, char *err, size_t err_size)
{
	bool noted = false;
	int r = host_nat_own(err, err_size);

	store_each_note(s, NOTE, found, &noted);
	if (r < 0 || noted)
		return r;
	log_warning("the notes of how this host was are gone: if nobody else needs forwarding, "
		    "turn it off after `insula stop` with `sysctl -w net.ipv4.ip_forward=0`");
	r = store_note(s, NOTE, tap->ifname);
	return r < 0 ? log_reason(r, err, err_size, "state: %s", store_error(s)) : 0;
}

int host_nat_down(struct store *s, char *err, size_t err_size)
{
	bool noted = false;
	char why[256];
	int r, forwarding;

	store_each_note(s, NOTE, found, &noted);
	if (!noted)
		return 0;
	// Of one that was killed, another insulad may have it by now: not before that one lets it
	// go.
	r = host_nat_own(why, sizeof(why));
	if (r == -EADDRINUSE)
		return log_reason(
			r, err, err_size, "table ip insula and forwarding stay on: %s", why);
	r = run_nft("add table ip insula\ndelete table ip insula\n", why, sizeof(why));
	if (r == 0)
		host_nat_table_made(false);
	else
		log_reason(r, err, err_size, "table ip insula stays: %s", why);
	forwarding = sysctl_forwarding_restore(s);
	if (forwarding < 0 && r == 0)
		r = log_reason(forwarding, err, err_size,
			"forwarding (net.ipv4) cannot be put back: %s", strerror(-forwarding));
	if (r < 0)
		return r; // noted still: the next sweep tries again
	store_forget_note(s, NOTE);
	host_nat_disown();
	return 0;
}

static void take_name(void *arg, const char *key, const char *value)
{
	snprintf(arg, 16, "%s", value);
}

bool host_nat_uses(struct store *s, const char *ifname)
{
	char noted[16] = "";

	store_each_note(s, NOTE, take_name, noted);
	return noted[0] && strcmp(noted, ifname) == 0;
}
