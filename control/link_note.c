// SPDX-License-Identifier: BSD-3-Clause
// Notes of interfaces, see link_note.h. Called by ports.c and remains.c.
#include "control/link_note.h"

#include <stdio.h>
#include <string.h>
#include "control/ports.h"

void link_note_key(int ifindex, char ret_key[LINK_NOTE_KEY_SIZE])
{
	snprintf(ret_key, LINK_NOTE_KEY_SIZE, LINK_NOTE "#%d", ifindex);
}

struct found {
	char key[LINK_NOTE_KEY_SIZE]; // "" = none
	struct packet_link link;
};

struct search {
	int ifindex;
	const char *ifname;
	struct found own, former; // of that index; of that name, but another index
};

static void look(void *arg, const char *key, const char *value)
{
	struct search *f = arg;
	struct found n;

	if (!packet_link_parse(value, &n.link))
		return;
	snprintf(n.key, sizeof(n.key), "%s", key);
	if (!n.link.name[0])
		snprintf(n.link.name, sizeof(n.link.name), "%s", key + strlen(LINK_NOTE));
	bool same_name = strcmp(n.link.name, f->ifname) == 0;
	if (n.link.ifindex == f->ifindex || (!n.link.ifindex && same_name))
		f->own = n;
	else if (same_name)
		f->former = n;
}

static bool in_use(const struct ports *ports, int ifindex)
{
	for (uint32_t id = 1; id <= ports->max_id; id++) {
		const struct port *p = ports->by_id[id];
		if (p && !p->broken && p->n_fds && p->ifindex == ifindex &&
			port_spec_of(p)->kind == PROTO_PORT_PACKET)
			return true;
	}
	return false;
}

int link_note_take(struct store *s, const struct ports *ports, const struct packet_link *link)
{
	struct search f = { .ifindex = link->ifindex, .ifname = link->name };
	struct packet_link noted = *link;
	char key[LINK_NOTE_KEY_SIZE], value[64], own[64];

	store_each_note(s, LINK_NOTE, look, &f);
	if (f.former.key[0] && !in_use(ports, f.former.link.ifindex)) {
		packet_socket_restore(f.former.link.name, &f.former.link);
		store_forget_note(s, f.former.key);
	}
	if (f.own.key[0]) {
		noted.mtu = f.own.link.mtu;
		noted.up = f.own.link.up;
	}
	link_note_key(link->ifindex, key);
	packet_link_print(&noted, value, sizeof(value));
	packet_link_print(&f.own.link, own, sizeof(own));
	if (strcmp(f.own.key, key) == 0 && strcmp(own, value) == 0)
		return 0; // what is noted needs no room on a full disk
	int r = store_set_note(s, key, value);
	if (r == 0 && f.own.key[0] && strcmp(f.own.key, key) != 0)
		store_forget_note(s, f.own.key); // as a former version wrote it
	return r;
}

void link_note_restore(struct store *s, int ifindex, const char *ifname)
{
	struct search f = { .ifindex = ifindex, .ifname = ifname };

	store_each_note(s, LINK_NOTE, look, &f);
	if (f.own.key[0] && packet_socket_restore(ifname, &f.own.link) == 0)
		store_forget_note(s, f.own.key);
}
