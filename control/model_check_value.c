// SPDX-License-Identifier: BSD-3-Clause
// What the checks share: sets of what was seen, addresses as words, devices and names that may be
// used once. Called by model_check.c and model_check_tenant.c, main thread.
#include "control/model_check.h"

#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/desired.h"
#include "control/ports.h"
#include "control/proto.h"

void seen_free(struct seen *s)
{
	tdestroy(s->root, free);
}

static int seen_compare(const void *a, const void *b)
{
	const struct seen_entry *x = a, *y = b;

	return strcmp(x->key, y->key);
}

const struct seen_entry *seen_add(struct seen *s, int line, unsigned index, const char *format, ...)
{
	struct seen_entry *e, **found;
	char key[320];
	va_list ap;

	va_start(ap, format);
	vsnprintf(key, sizeof(key), format, ap);
	va_end(ap);
	e = malloc(sizeof(*e) + strlen(key) + 1);
	found = NULL;
	if (e != NULL) {
		*e = (struct seen_entry){ .line = line, .index = index };
		strcpy(e->key, key);
		found = tsearch(e, &s->root, seen_compare);
	}
	if (found == NULL) {
		free(e);
		s->r->no_memory = true;
		return NULL;
	}
	if (*found == e)
		return NULL;
	free(e);
	return *found;
}

const struct seen_entry *seen_find(const struct seen *s, const char *key)
{
	_Alignas(struct seen_entry) char buf[sizeof(struct seen_entry) + 320];
	struct seen_entry *e = (void *)buf, **found;

	if (strlen(key) >= 320)
		return NULL;
	strcpy(e->key, key);
	found = tfind(e, (void *const *)&s->root, seen_compare);
	return found != NULL ? *found : NULL;
}

int line_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL ? n->key_line : map->line;
}

const struct yaml_node *first_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL ? n->first : NULL;
}

struct text addr(be32 a)
{
	struct text t;

	inet_ntop(AF_INET, &a, t.s, sizeof(t.s));
	return t;
}

struct text cidr(be32 a, uint8_t prefix_len)
{
	struct text t = addr(a & htonl(ipv4_mask(prefix_len)));
	size_t n = strlen(t.s);

	snprintf(t.s + n, sizeof(t.s) - n, "/%u", prefix_len);
	return t;
}

void check_name(struct checker *c, struct seen *s, const struct yaml_node *n, const char *name,
	unsigned index)
{
	const struct seen_entry *twin;
	int line = line_of(n, "name");

	if (name[0] == '\0')
		return;
	twin = seen_add(s, line, index, "%s", name);
	if (twin != NULL)
		report(c->r, line,
			"the name \"%s\" is used twice, first in line %d; each name once", name,
			twin->line);
}

// Devices that insulad makes by itself: what a tap is called for a moment (ports.h), in whichever
// namespace, and in the host's the tap that an uplink falls back to (desired.h).
static bool is_insulads(const struct yaml_node *n, const char *netns, const char *interface)
{
	return strncmp(interface, PORT_TEMPORARY_PREFIX, strlen(PORT_TEMPORARY_PREFIX)) == 0 ||
	       (netns[0] == '\0' && strcmp(interface, DESIRED_NAT_INTERFACE) == 0 &&
		       !says(n, "mode", "nat"));
}

void check_device(
	struct checker *c, const struct yaml_node *n, const char *netns, const char *interface)
{
	const struct seen_entry *twin;
	int line = line_of(n, "interface");

	if (interface[0] == '\0')
		return;
	if (is_insulads(n, netns, interface)) {
		report(c->r, line,
			"interface \"%s\" is what insulad calls a device of its own; allowed: "
			"neither " DESIRED_NAT_INTERFACE " in the host, but for an uplink of mode "
			"nat, nor what begins with " PORT_TEMPORARY_PREFIX,
			interface);
		return;
	}
	twin = seen_add(&c->interfaces, line, 0, "%s/%s", netns, interface);
	if (twin != NULL)
		report(c->r, line,
			"interface \"%s\"%s%s is used twice, first in line %d; one port per "
			"interface",
			interface, netns[0] != '\0' ? " in netns " : "", netns, twin->line);
}

void check_wire(struct checker *c, const struct yaml_node *n, const char *interface)
{
	if (strcmp(interface, "lo") == 0)
		report(c->r, line_of(n, "interface"),
			"interface \"lo\" is the host's loopback; allowed: one with others behind "
			"it, "
			"like a network card's or a veth's");
}

void check_once(struct checker *c, struct seen *s, const struct yaml_node *n, const char *key,
	const char *value)
{
	const struct seen_entry *twin;
	int line = line_of(n, key);

	if (value[0] == '\0')
		return;
	twin = seen_add(s, line, 0, "%s", value);
	if (twin != NULL)
		report(c->r, line, "%s \"%s\" is used twice, first in line %d; one port each", key,
			value, twin->line);
}

void check_devargs(
	struct checker *c, const struct yaml_node *n, const char *devargs, enum devargs_user user)
{
	const char *mistake = devargs[0] != '\0' ? devargs_mistake(devargs) : NULL;
	char text[320];

	c->n_devices += devargs[0] != '\0';
	if (devargs[0] != '\0' && c->n_devices == PROTO_MAX_DEVICES + 1)
		report(c->r, line_of(n, "devargs"), "more than %d DPDK devices; at most that many",
			PROTO_MAX_DEVICES);
	// With other arguments it could not be had either.
	if (mistake != NULL && devargs_out_of_reach(devargs, user, text, sizeof(text)))
		report(c->r, line_of(n, "devargs"), "devargs: %s", text);
	else if (mistake != NULL)
		report(c->r, line_of(n, "devargs"), "devargs \"%s\" %s", devargs, mistake);
	else
		check_once(c, &c->devargs, n, "devargs", devargs);
}

void check_vhost_places(struct checker *c, const struct yaml_node *n, const struct model_nic *nic)
{
	unsigned had = c->n_vhost_places;

	if (nic->type != MODEL_NIC_VHOST_USER)
		return;
	c->n_vhost_places += nic->vhost_server ? 2 : 1; // it listens, and is connected
	if (had <= PROTO_MAX_VHOST_PLACES && c->n_vhost_places > PROTO_MAX_VHOST_PLACES)
		report(c->r, line_of(n, "type"),
			"more vhost-user ports than the switch can serve; at most %d, those with "
			"`server: true` counted twice",
			PROTO_MAX_VHOST_PLACES);
}

bool prefixes_overlap(be32 a, uint8_t a_len, be32 b, uint8_t b_len)
{
	return ipv4_in_prefix(a, b, a_len < b_len ? a_len : b_len);
}

bool check_host(
	struct checker *c, int line, const char *key, be32 address, be32 subnet, uint8_t prefix_len)
{
	uint32_t host = ntohl(address) & ~ipv4_mask(prefix_len);
	const char *what = NULL;

	if (address == 0 || prefix_len == 0)
		return false;
	if (!ipv4_in_prefix(address, subnet, prefix_len))
		what = "is outside";
	else if (host == 0)
		what = "is the network address of";
	else if (host == (uint32_t)~ipv4_mask(prefix_len))
		what = "is the broadcast address of";
	if (what == NULL)
		return true;
	report(c->r, line, "%s %s %s %s; allowed: %s to %s", key, addr(address).s, what,
		cidr(subnet, prefix_len).s,
		addr(htonl((ntohl(subnet) & ipv4_mask(prefix_len)) + 1)).s,
		addr(htonl((ntohl(subnet) | ~ipv4_mask(prefix_len)) - 1)).s);
	return false;
}

bool says(const struct yaml_node *map, const char *key, const char *word)
{
	const struct yaml_node *n = yaml_get(map, key);

	return n != NULL && n->kind == YAML_SCALAR && strcmp(n->text, word) == 0;
}

void add_name(struct names *list, const char *name)
{
	size_t used = strlen(list->s), more = strlen(name) + 2;

	if (name[0] == '\0') // could not be read
		return;
	if (used + more + sizeof(", …") <= sizeof(list->s))
		snprintf(list->s + used, more + 1, "%s%s", used ? ", " : ": ", name);
	else if (strcmp(list->s + used - strlen("…"), "…") != 0)
		strcat(list->s, ", …");
}
