// SPDX-License-Identifier: BSD-3-Clause
// What on this host keeps guests behind the nat tap from getting out, as sentences with the command
// that mends it; see host_nat.h. Asked for by daemon_status.c and after an apply, main thread. A
// rule set is read as libnftables tells it, so iptables-nft's tables (docker's) are seen; those of
// iptables-legacy are not.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/route.h>
#include <nftables/libnftables.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/host_nat.h"
#include "control/nft.h"

// Runs one command; the output is a copy, NULL when nft refuses it.
static char *ask_nft(const char *command, unsigned flags)
{
	char *text;

	if (nft_run(command, flags, &text) == 0)
		return text;
	free(text);
	return NULL;
}

// The table as libnftables told of it when it was as it should be: no two versions write it alike.
static char *as_made;

void host_nat_table_made(bool is)
{
	free(as_made);
	as_made = is ? ask_nft("list table ip insula", 0) : NULL;
}

enum host_nat_table host_nat_table_look(const struct port_spec *tap)
{
	char *text = ask_nft("list table ip insula", 0);
	char address[INET_ADDRSTRLEN], rule[128];
	bool same;

	if (!text)
		return HOST_NAT_TABLE_GONE;
	if (as_made) {
		same = strcmp(text, as_made) == 0;
		free(text);
		return same ? HOST_NAT_TABLE_WHOLE : HOST_NAT_TABLE_CHANGED;
	}
	inet_ntop(AF_INET, &tap->nat_switch, address, sizeof(address));
	snprintf(rule, sizeof(rule), HOST_NAT_RULE, address, tap->ifname);
	same = strstr(text, rule) != NULL;
	free(text);
	return same ? HOST_NAT_TABLE_UNSURE : HOST_NAT_TABLE_CHANGED;
}

static const char *member(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

// A chain that drops what it does not know, in a table that never names our tap. Docker leaves one
// chain to the host's owner; rules elsewhere in its table it may put its own before.
static void check_chain(const json_t *chain, const char *ifname, json_t *list)
{
	const char *family = member(chain, "family"), *table = member(chain, "table");
	char command[256], quoted[24];

	if (strcmp(member(chain, "hook"), "forward") != 0 ||
		strcmp(member(chain, "policy"), "drop") != 0 ||
		(strcmp(family, "ip") != 0 && strcmp(family, "inet") != 0))
		return;
	snprintf(command, sizeof(command), "list table %s %s", family, table);
	char *rules = ask_nft(command, 0);
	if (!rules)
		return;
	snprintf(quoted, sizeof(quoted), "\"%s\"", ifname);
	const char *name =
		strstr(rules, "chain DOCKER-USER {") ? "DOCKER-USER" : member(chain, "name");
	if (!strstr(rules, quoted))
		json_array_append_new(list,
			json_sprintf(
				"uplink mode nat: chain %s of nft table %s %s drops what guests "
				"send through %s; let it pass with `nft insert rule %s %s %s "
				"iifname %s accept; nft insert rule %s %s %s oifname %s accept`",
				member(chain, "name"), family, table, ifname, family, table, name,
				ifname, family, table, name, ifname));
	free(rules);
}

// Does /proc/sys/net/ipv4/NAME say 0? Not where there is none.
static bool is_off(const char *name)
{
	char path[128], value = '1';
	bool off;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	off = read(fd, &value, 1) == 1 && value == '0';
	close(fd);
	return off;
}

// Where packets for everybody else leave: the default route of the main table with the least
// metric (proc_net(5)). The kernel lists by destination, that one's first. False: there is none.
static bool find_default_route(char ret_ifname[16])
{
	FILE *f = fopen("/proc/thread-self/net/route", "re");
	unsigned to, flags, metric, mask, best = UINT_MAX;
	char line[256], ifname[16];
	bool found = false;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%15s %x %*x %x %*d %*d %u %x", ifname, &to, &flags, &metric,
			    &mask) != 5)
			continue; // the heads of the columns
		if (to != 0)
			break;
		if (mask != 0 || (flags & RTF_REJECT) || (found && metric >= best))
			continue;
		found = true;
		best = metric;
		memcpy(ret_ifname, ifname, sizeof(ifname));
	}
	if (f)
		fclose(f);
	return found;
}

// The setting is that of the interface that a packet comes in by (Linux' ip-sysctl: conf/*). In
// what sysctl(8) takes for a name the dot of an interface's is a slash.
static void check_interface(const char *ifname, const char *what, json_t *list)
{
	char name[64], key[16];

	snprintf(name, sizeof(name), "conf/%s/forwarding", ifname);
	if (!is_off(name))
		return;
	snprintf(key, sizeof(key), "%s", ifname);
	for (char *p = key; (p = strchr(p, '.'));)
		*p = '/';
	json_array_append_new(list,
		json_sprintf("uplink mode nat: forwarding is off for what comes in by %s, %s; turn "
			     "it on with `sysctl -w net.ipv4.conf.%s.forwarding=1`",
			ifname, what, key));
}

// Off for all, it is off for each, and goes on for each again.
static void check_forwarding(const char *ifname, json_t *list)
{
	char out[16];

	if (is_off("ip_forward")) {
		json_array_append_new(list,
			json_string(
				"uplink mode nat: forwarding was turned off on this host; turn it "
				"on with `sysctl -w net.ipv4.ip_forward=1`"));
		return;
	}
	check_interface(ifname, "what guests send", list);
	if (find_default_route(out) && strcmp(out, ifname) != 0)
		check_interface(out, "the answers to guests", list);
}

void host_nat_check(const char *ifname, json_t *list)
{
	char *text = ask_nft("list chains", NFT_CTX_OUTPUT_JSON);
	json_t *answer = text ? json_loads(text, 0, NULL) : NULL, *o;
	size_t i;

	check_forwarding(ifname, list);
	json_array_foreach(json_object_get(answer, "nftables"), i, o) {
		const json_t *chain = json_object_get(o, "chain");
		if (chain)
			check_chain(chain, ifname, list);
	}
	json_decref(answer);
	free(text);
}
