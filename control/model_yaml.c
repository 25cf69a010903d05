// SPDX-License-Identifier: BSD-3-Clause
// The desired state from YAML: one table says every key, its type, range and place in struct model;
// a small engine reads the tree by it and reports what is wrong. What needs several values to be
// judged is in model_check.c; SCHEMA.md documents the table (a test compares). insulad's main
// thread.
#include "control/model_yaml.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_value.h"

enum field_type {
	FIELD_NUMBER, // uint32_t
	FIELD_NUMBER16, // uint16_t
	FIELD_NUMBER_RANGE16, // two uint16_t
	FIELD_CHOICE, // an enum, by index into `words`
	FIELD_SWITCH, // bool: words[0] is false, words[1] is true
	FIELD_NAME,
	FIELD_INTERFACE,
	FIELD_NETNS,
	FIELD_PATH,
	FIELD_TEXT,
	FIELD_MAC,
	FIELD_IPV4,
	FIELD_IPV4_RANGE, // two be32
	FIELD_IPV4_LIST, // be32[max], uint8_t count
	FIELD_ADDRESS, // be32, uint8_t prefix length
	FIELD_SUBNET, // likewise, without host bits
	FIELD_VLANS, // bit map of 512 bytes
	FIELD_OBJECT, // a map, read into the same structure
	FIELD_LIST, // pointer, unsigned count
};

struct object;

struct field {
	const char *key;
	enum field_type type;
	bool required;
	size_t at, at2; // where it goes; NOWHERE = checked only
	uint32_t min, max; // numbers; max: size of a text, length of a list
	const char *const *words; // NULL-terminated
	const struct object *object;
	const char *allowed; // for the message; NULL = made from type and range
};

struct object {
	const char *path; // as SCHEMA.md's headings say it
	size_t size;
	const struct field *fields;
	void (*set_defaults)(void *object, int line);
};

#define NOWHERE SIZE_MAX
#define AT(type, member) .at = offsetof(struct type, member)
#define AT2(type, member) .at2 = offsetof(struct type, member)
#define NAME_ALLOWED "1 to 31 letters, digits, '-' or '_'; a letter or digit first"

static const char *const off_on[] = { "false", "true", NULL };
static const char *const mode_words[] = { "adaptive", "poll", NULL };
static const char *const client_words[] = { "one", "many", NULL };
static const char *const uplink_words[] = { "nat", "routed", NULL };
static const char *const type_words[] = { "tap", "vhost-user", "packet", "ethdev", NULL };
static const char *const kind_words[] = { "external", NULL };

static void uplink_defaults(void *object, int line)
{
	*(struct model_uplink *)object = (struct model_uplink){ .mode = MODEL_UPLINK_ROUTED,
		.mtu = 1500,
		.nat_port_first = 1024,
		.nat_port_last = 65535,
		.line = line };
}

static void trunk_defaults(void *object, int line)
{
	*(struct model_trunk *)object =
		(struct model_trunk){ .learn_limit = 1024, .storm_pps = 1000, .line = line };
}

static void network_defaults(void *object, int line)
{
	*(struct model_network *)object =
		(struct model_network){ .mtu = 1500, .lease_s = 3600, .line = line };
}

static void nic_defaults(void *object, int line)
{
	*(struct model_nic *)object =
		(struct model_nic){ .name = "eth0", .storm_pps = 1000, .line = line };
}

static void instance_defaults(void *object, int line)
{
	((struct model_instance *)object)->line = line;
}

static void tenant_defaults(void *object, int line)
{
	((struct model_tenant *)object)->line = line;
}

// clang-format off
static const struct field settings_fields[] = {
	{ "workers", FIELD_NUMBER, AT(model, workers), .min = 1, .max = 16 },
	{ "mode", FIELD_SWITCH, AT(model, poll), .words = mode_words },
	{ 0 }
};
static const struct object settings_object = { "settings", sizeof(struct model), settings_fields, NULL };

#define UPLINK(member) AT(model_uplink, member)
static const struct field uplink_fields[] = {
	{ "name", FIELD_NAME, true, UPLINK(name), .max = POLICY_NAME_SIZE },
	{ "mode", FIELD_CHOICE, true, UPLINK(mode), .words = uplink_words },
	{ "interface", FIELD_INTERFACE, UPLINK(interface), .max = 16 },
	{ "devargs", FIELD_TEXT, UPLINK(devargs), .max = 256 },
	{ "address", FIELD_ADDRESS, UPLINK(address), AT2(model_uplink, prefix_len) },
	{ "gateway", FIELD_IPV4, UPLINK(gateway) },
	{ "mtu", FIELD_NUMBER16, UPLINK(mtu), .min = 576, .max = 9216 },
	{ "nat_ports", FIELD_NUMBER_RANGE16, UPLINK(nat_port_first), AT2(model_uplink, nat_port_last),
		.min = 1, .max = 65535, .allowed = "FIRST-LAST within 1..65535, like 1024-65535" },
	{ 0 }
};
static const struct object uplink_object = {
	"uplinks[]", sizeof(struct model_uplink), uplink_fields, uplink_defaults };

#define TRUNK(member) AT(model_trunk, member)
static const struct field trunk_fields[] = {
	{ "name", FIELD_NAME, true, TRUNK(name), .max = POLICY_NAME_SIZE },
	{ "interface", FIELD_INTERFACE, TRUNK(interface), .max = 16 },
	{ "devargs", FIELD_TEXT, TRUNK(devargs), .max = 256 },
	{ "allowed", FIELD_VLANS, true, TRUNK(allowed), .min = 1, .max = 4094,
		.allowed = "a list of VLANs and ranges within 1..4094, like [10, 20-29]" },
	{ "native_vlan", FIELD_NUMBER16, TRUNK(native_vid), .min = 1, .max = 4094 },
	{ "outer_vlan", FIELD_NUMBER16, TRUNK(outer_vid), .min = 1, .max = 4094 },
	{ "learn_limit", FIELD_NUMBER, TRUNK(learn_limit), .min = 1, .max = 65536 },
	{ "storm_pps", FIELD_NUMBER, TRUNK(storm_pps), .min = 0, .max = 10000000 },
	{ 0 }
};
static const struct object trunk_object = {
	"trunks[]", sizeof(struct model_trunk), trunk_fields, trunk_defaults };

#define NETWORK(member) AT(model_network, member)
static const struct field network_fields[] = {
	{ "name", FIELD_NAME, true, NETWORK(name), .max = POLICY_NAME_SIZE },
	{ "vlan", FIELD_NUMBER16, true, NETWORK(vlan), .min = 1, .max = 4094 },
	{ "subnet", FIELD_SUBNET, true, NETWORK(subnet), AT2(model_network, prefix_len) },
	{ "gateway", FIELD_IPV4, NETWORK(gateway) },
	{ "mtu", FIELD_NUMBER16, NETWORK(mtu), .min = 576, .max = 9216 },
	{ "dns", FIELD_IPV4_LIST, NETWORK(dns), AT2(model_network, n_dns), .max = POLICY_MAX_DNS },
	{ "pool", FIELD_IPV4_RANGE, NETWORK(pool_first), AT2(model_network, pool_last) },
	{ "lease", FIELD_NUMBER, NETWORK(lease_s), .min = 60, .max = 31536000,
		.allowed = "60..31536000 seconds" },
	{ "snat", FIELD_NAME, NETWORK(snat), .max = POLICY_NAME_SIZE },
	{ 0 }
};
static const struct object network_object = {
	"tenants[].networks[]", sizeof(struct model_network), network_fields, network_defaults };

#define NIC(member) AT(model_nic, member)
static const struct field nic_fields[] = {
	{ "name", FIELD_NAME, NIC(name), .max = POLICY_NAME_SIZE },
	{ "network", FIELD_NAME, true, NIC(network), .max = POLICY_NAME_SIZE },
	{ "type", FIELD_CHOICE, NIC(type), .words = type_words },
	{ "interface", FIELD_INTERFACE, NIC(interface), .max = 16 },
	{ "netns", FIELD_NETNS, NIC(netns), .max = 64 },
	{ "socket", FIELD_PATH, NIC(socket), .max = 108 },
	{ "server", FIELD_SWITCH, NIC(vhost_server), .words = off_on },
	{ "devargs", FIELD_TEXT, NIC(devargs), .max = 256 },
	{ "mac", FIELD_MAC, NIC(mac) },
	{ "address", FIELD_IPV4, NIC(address) },
	{ "clients", FIELD_SWITCH, NIC(clients_many), .words = client_words },
	{ "allow_non_ip", FIELD_SWITCH, NIC(allow_non_ip), .words = off_on },
	{ "storm_pps", FIELD_NUMBER, NIC(storm_pps), .min = 0, .max = 10000000 },
	{ "queues", FIELD_NUMBER16, NIC(n_queues), .min = 1, .max = 16 },
	{ 0 }
};
static const struct object nic_object = {
	"tenants[].instances[].nics[]", sizeof(struct model_nic), nic_fields, nic_defaults };

static const struct field instance_fields[] = {
	{ "name", FIELD_NAME, true, AT(model_instance, name), .max = POLICY_NAME_SIZE },
	{ "kind", FIELD_CHOICE, .at = NOWHERE, .words = kind_words },
	{ "nics", FIELD_LIST, AT(model_instance, nics), AT2(model_instance, n_nics), .max = 64,
		.object = &nic_object },
	{ 0 }
};
static const struct object instance_object = { "tenants[].instances[]", sizeof(struct model_instance),
	instance_fields, instance_defaults };

static const struct field tenant_fields[] = {
	{ "name", FIELD_NAME, true, AT(model_tenant, name), .max = POLICY_NAME_SIZE },
	{ "networks", FIELD_LIST, AT(model_tenant, networks), AT2(model_tenant, n_networks),
		.max = 4094, .object = &network_object },
	{ "instances", FIELD_LIST, AT(model_tenant, instances), AT2(model_tenant, n_instances),
		.max = POLICY_MAX_PORTS, .object = &instance_object },
	{ 0 }
};
static const struct object tenant_object = {
	"tenants[]", sizeof(struct model_tenant), tenant_fields, tenant_defaults };

static const struct field top_fields[] = {
	{ "version", FIELD_NUMBER, true, .at = NOWHERE, .min = 1, .max = 1, .allowed = "1" },
	{ "settings", FIELD_OBJECT, .at = 0, .object = &settings_object },
	{ "uplinks", FIELD_LIST, AT(model, uplinks), AT2(model, n_uplinks),
		.max = POLICY_MAX_UPLINKS, .object = &uplink_object },
	{ "trunks", FIELD_LIST, AT(model, trunks), AT2(model, n_trunks), .max = 1024,
		.object = &trunk_object },
	{ "tenants", FIELD_LIST, AT(model, tenants), AT2(model, n_tenants),
		.max = POLICY_MAX_SECTIONS - 1, .object = &tenant_object },
	{ 0 }
};
static const struct object top_object = { "", sizeof(struct model), top_fields, NULL };
// clang-format on

struct reader {
	struct report *r;
	unsigned n_objects; // bounds what a hostile document can make us allocate
};

enum { MAX_OBJECTS = 4 * POLICY_MAX_PORTS };

static void read_object(
	struct reader *rd, const struct object *o, const struct yaml_node *n, void *object);
static void fill_defaults(struct model *m);

int model_from_yaml(const char *file, const char *yaml, size_t size, struct model **ret_model,
	struct model_errors *errors)
{
	struct report r = { .file = file };
	struct reader rd = { .r = &r };
	struct yaml_tree tree;
	struct model *m;
	int rc;

	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	rc = yaml_tree_read(&tree, yaml, size, &r);
	if (rc < 0)
		goto out;
	m->file = strdup(file);
	if (m->file == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	if (tree.root != NULL && !yaml_is_null(tree.root)) {
		read_object(&rd, &top_object, tree.root, m);
		fill_defaults(m);
		model_check(m, tree.root, &r);
	}
	rc = report_failed(&r) ? -EINVAL : 0;
out:
	if (r.no_memory)
		rc = -ENOMEM;
	if (rc == -EINVAL && report_finish(&r, errors) < 0)
		rc = -ENOMEM;
	report_free(&r);
	yaml_tree_free(&tree);
	if (rc == 0)
		*ret_model = m;
	else
		model_free(m);
	return rc;
}

static void keys_of(const struct object *o,
	void (*each)(void *arg, const char *object, const char *key), void *arg)
{
	for (const struct field *f = o->fields; f->key != NULL; f++) {
		each(arg, o->path, f->key);
		if (f->object != NULL)
			keys_of(f->object, each, arg);
	}
}

void model_yaml_keys(void (*each)(void *arg, const char *object, const char *key), void *arg)
{
	keys_of(&top_object, each, arg);
}

// Appends to a bounded text.
static void append(char *buf, size_t size, const char *word)
{
	size_t n = strlen(buf);

	snprintf(buf + n, size - n, "%s", word);
}

static const char *allowed_for(const struct field *f, char *buf, size_t size)
{
	if (f->allowed != NULL)
		return f->allowed;
	buf[0] = '\0';
	switch (f->type) {
	case FIELD_NUMBER:
	case FIELD_NUMBER16:
	case FIELD_NUMBER_RANGE16:
		snprintf(buf, size, "%u..%u", f->min, f->max);
		return buf;
	case FIELD_CHOICE:
	case FIELD_SWITCH:
		for (unsigned i = 0; f->words[i] != NULL; i++) {
			if (i > 0)
				append(buf, size, f->words[i + 1] != NULL ? ", " : " or ");
			append(buf, size, f->words[i]);
		}
		return buf;
	case FIELD_NAME:
		return NAME_ALLOWED;
	case FIELD_INTERFACE:
		return "1 to 15 printable characters without '/', ':', '%' and blanks";
	case FIELD_NETNS:
		return "a name under /run/netns: 1 to 63 letters, digits, '-', '_' or '.'";
	case FIELD_PATH:
		return "an absolute path of at most 107 printable characters";
	case FIELD_TEXT:
		snprintf(buf, size, "1 to %u printable characters", f->max - 1);
		return buf;
	case FIELD_MAC:
		return "a unicast MAC address, like 02:00:00:00:00:01";
	case FIELD_IPV4:
		return "an address, like 10.0.0.1";
	case FIELD_IPV4_RANGE:
		return "FIRST-LAST, like 10.0.0.100-10.0.0.199";
	case FIELD_IPV4_LIST:
		snprintf(buf, size, "a list of 1 to %u addresses, like [10.0.0.53]", f->max);
		return buf;
	case FIELD_ADDRESS:
		return "an address with a prefix length of 8..30, like 192.0.2.2/24";
	case FIELD_SUBNET:
		return "a subnet with a prefix length of 8..30, like 10.0.0.0/24";
	case FIELD_VLANS:
		return "a list of VLANs";
	case FIELD_OBJECT:
		return "a map of keys and values";
	case FIELD_LIST:
		snprintf(buf, size, "a list of at most %u", f->max);
		return buf;
	}
	return "";
}

static void bad_value(
	struct reader *rd, const struct field *f, const struct yaml_node *n, const char *problem)
{
	static const char *const kinds[] = { "a text", "a list", "a map" };
	char buf[128];

	// The line of an empty value is that of its key: libyaml places it at the next token.
	int line = n->kind == YAML_SCALAR && n->text[0] == '\0' && n->key != NULL ? n->key_line
										  : n->line;
	if (problem == NULL && n->kind == YAML_SCALAR && yaml_is_null(n))
		report(rd->r, line, "%s has no value; allowed: %s", f->key,
			allowed_for(f, buf, sizeof(buf)));
	else if (problem == NULL)
		report(rd->r, line, "%s is %s; allowed: %s", f->key, kinds[n->kind],
			allowed_for(f, buf, sizeof(buf)));
	else
		report(rd->r, line, "%s \"%.80s\" %s; allowed: %s", f->key, n->text, problem,
			allowed_for(f, buf, sizeof(buf)));
}

// Index of a word, or -1.
static int find_word(const char *const *words, const char *text)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

static const char *read_number(const struct field *f, const char *text, char *at, char *at2)
{
	const char *problem;
	uint32_t a = 0, b = 0;

	problem = f->type == FIELD_NUMBER_RANGE16 ? value_number_range(text, f->min, f->max, &a, &b)
						  : value_number(text, f->min, f->max, &a);
	if (problem != NULL || at == NULL)
		return problem;
	if (f->type == FIELD_NUMBER) {
		memcpy(at, &a, sizeof(a));
	} else {
		memcpy(at, &(uint16_t){ (uint16_t)a }, sizeof(uint16_t));
		if (f->type == FIELD_NUMBER_RANGE16)
			memcpy(at2, &(uint16_t){ (uint16_t)b }, sizeof(uint16_t));
	}
	return NULL;
}

static const char *read_word(const struct field *f, const char *text, char *at)
{
	int i = find_word(f->words, text);

	if (i < 0)
		return "is not known";
	if (at == NULL)
		return NULL;
	if (f->type == FIELD_SWITCH)
		memcpy(at, &(bool){ i == 1 }, sizeof(bool));
	else
		memcpy(at, &(unsigned){ (unsigned)i }, sizeof(unsigned)); // enums are unsigned here
	return NULL;
}

static const char *read_string(const struct field *f, const char *text, char *at)
{
	const char *problem = NULL;

	if (f->type == FIELD_NAME)
		problem = value_name(text, f->max);
	else if (f->type == FIELD_INTERFACE)
		problem = value_interface(text);
	else if (f->type == FIELD_NETNS)
		problem = value_netns(text, f->max);
	else if (f->type == FIELD_PATH)
		problem = value_path(text, f->max);
	else
		problem = value_text(text, f->max);
	if (problem == NULL) {
		memset(at, 0, f->max);
		memcpy(at, text, strlen(text));
	}
	return problem;
}

// struct model's addresses are aligned; the casts go through void.
static const char *read_address(const struct field *f, const char *text, void *at, void *at2)
{
	if (f->type == FIELD_MAC)
		return value_mac(text, at);
	if (f->type == FIELD_IPV4)
		return value_ipv4(text, at);
	if (f->type == FIELD_IPV4_RANGE)
		return value_ipv4_range(text, at, at2);
	return value_cidr(text, f->type == FIELD_SUBNET, at, at2);
}

static void read_scalar(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	char *at = f->at != NOWHERE ? object + f->at : NULL;
	char *at2 = object + f->at2;
	const char *problem;

	if (n->kind != YAML_SCALAR || yaml_is_null(n)) {
		bad_value(rd, f, n, NULL);
		return;
	}
	if (f->type <= FIELD_NUMBER_RANGE16)
		problem = n->quoted ? "is a text in quotes" : read_number(f, n->text, at, at2);
	else if (f->type <= FIELD_SWITCH)
		problem = read_word(f, n->text, at);
	else if (f->type <= FIELD_TEXT)
		problem = read_string(f, n->text, at);
	else
		problem = read_address(f, n->text, at, at2);
	if (problem != NULL)
		bad_value(rd, f, n, problem);
}

static void read_ipv4_list(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	uint8_t count = 0;

	if (n->kind != YAML_LIST) {
		bad_value(
			rd, f, n, n->kind == YAML_SCALAR && !yaml_is_null(n) ? "is no list" : NULL);
		return;
	}
	if (n->n == 0 || n->n > f->max) {
		report(rd->r, n->line, "%s has %u entries; allowed: 1 to %u addresses", f->key,
			n->n, f->max);
		return;
	}
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const char *problem = NULL;
		be32 a = 0;

		if (c->kind == YAML_SCALAR)
			problem = value_ipv4(c->text, &a);
		if (c->kind != YAML_SCALAR || problem != NULL)
			bad_value(rd, f, c, problem);
		memcpy(object + f->at + count * sizeof(a), &a, sizeof(a));
		count++;
	}
	memcpy(object + f->at2, &count, sizeof(count));
}

static void read_vlans(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	uint8_t *map = (uint8_t *)object + f->at;

	if (n->kind != YAML_LIST) {
		bad_value(
			rd, f, n, n->kind == YAML_SCALAR && !yaml_is_null(n) ? "is no list" : NULL);
		return;
	}
	if (n->n == 0)
		report(rd->r, n->line, "%s is empty; allowed: %s", f->key, f->allowed);
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const char *problem = NULL;
		uint32_t a = 1, b = 0;

		if (c->kind == YAML_SCALAR)
			problem = value_number_range(c->text, f->min, f->max, &a, &b);
		if (c->kind != YAML_SCALAR || problem != NULL)
			bad_value(rd, f, c, problem);
		for (uint32_t v = a; v <= b; v++)
			map[v / 8] |= (uint8_t)(1u << (v % 8));
	}
}

static void read_list(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	char *items;

	if (n->kind != YAML_LIST) {
		if (!yaml_is_null(n)) // "tenants:" with nothing behind it is an empty list
			bad_value(rd, f, n, n->kind == YAML_SCALAR ? "is no list" : NULL);
		return;
	}
	if (n->n > f->max) {
		report(rd->r, n->line, "%s has %u entries; allowed: at most %u", f->key, n->n,
			f->max);
		return;
	}
	if (n->n > MAX_OBJECTS - rd->n_objects) {
		report(rd->r, n->line, "the document describes more than %u things; split it",
			(unsigned)MAX_OBJECTS);
		return;
	}
	rd->n_objects += n->n;
	items = calloc(n->n + 1, f->object->size);
	if (items == NULL) {
		rd->r->no_memory = true;
		return;
	}
	memcpy(object + f->at, &items, sizeof(items));
	memcpy(object + f->at2, &n->n, sizeof(n->n));
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		f->object->set_defaults(items, c->line);
		read_object(rd, f->object, c, items);
		items += f->object->size;
	}
}

static void read_field(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	switch (f->type) {
	case FIELD_IPV4_LIST:
		read_ipv4_list(rd, f, n, object);
		break;
	case FIELD_VLANS:
		read_vlans(rd, f, n, object);
		break;
	case FIELD_OBJECT:
		if (!yaml_is_null(n))
			read_object(rd, f->object, n, object + f->at);
		break;
	case FIELD_LIST:
		read_list(rd, f, n, object);
		break;
	case FIELD_NUMBER:
	case FIELD_NUMBER16:
	case FIELD_NUMBER_RANGE16:
	case FIELD_CHOICE:
	case FIELD_SWITCH:
	case FIELD_NAME:
	case FIELD_INTERFACE:
	case FIELD_NETNS:
	case FIELD_PATH:
	case FIELD_TEXT:
	case FIELD_MAC:
	case FIELD_IPV4:
	case FIELD_IPV4_RANGE:
	case FIELD_ADDRESS:
	case FIELD_SUBNET:
		read_scalar(rd, f, n, object);
		break;
	}
}

// Edit distance, at most `limit` + 1. Keys are short; what is long is no misspelt key.
static unsigned distance(const char *a, const char *b, unsigned limit)
{
	unsigned row[32];
	size_t na = strlen(a), nb = strlen(b);

	if (na >= 32 || nb >= 32)
		return limit + 1;
	for (unsigned j = 0; j <= nb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[nb] <= limit ? row[nb] : limit + 1;
}

static void unknown_key(struct reader *rd, const struct object *o, const struct yaml_node *n)
{
	char allowed[512] = "";
	const char *near = NULL;
	unsigned best = 3;

	for (const struct field *f = o->fields; f->key != NULL; f++) {
		unsigned d = distance(n->key, f->key, 2);

		if (d < best && d < strlen(f->key)) {
			best = d;
			near = f->key;
		}
		append(allowed, sizeof(allowed), f == o->fields ? "" : ", ");
		append(allowed, sizeof(allowed), f->key);
	}
	if (near != NULL)
		report(rd->r, n->key_line,
			"unknown key \"%.80s\", did you mean \"%s\"?; allowed: %s", n->key, near,
			allowed);
	else
		report(rd->r, n->key_line, "unknown key \"%.80s\"; allowed: %s", n->key, allowed);
}

static void read_object(
	struct reader *rd, const struct object *o, const struct yaml_node *n, void *object)
{
	char buf[128];

	if (n->kind != YAML_MAP) {
		const struct field *first = o->fields;

		report(rd->r, n->line, "%s is %s; a map of keys and values, like \"%s: ...\"",
			o->path[0] != '\0' ? o->path : "the document",
			n->kind == YAML_LIST ? "a list" : "a text", first->key);
		return;
	}
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const struct field *f = o->fields;

		while (f->key != NULL && strcmp(f->key, c->key) != 0)
			f++;
		if (f->key != NULL)
			read_field(rd, f, c, object);
		else
			unknown_key(rd, o, c);
	}
	for (const struct field *f = o->fields; f->key != NULL; f++)
		if (f->required && yaml_get(n, f->key) == NULL)
			report(rd->r, n->line, "%s is missing; allowed: %s", f->key,
				allowed_for(f, buf, sizeof(buf)));
}

// Defaults that depend on other values.
static void fill_defaults(struct model *m)
{
	for (unsigned i = 0; i < m->n_uplinks; i++) {
		struct model_uplink *u = &m->uplinks[i];

		if (u->mode != MODEL_UPLINK_NAT)
			continue;
		if (u->interface[0] == '\0')
			strcpy(u->interface, "insula-nat0");
		if (u->address == 0 && u->gateway == 0) {
			// From the shared address space (RFC 6598), as far from carriers' habits as
			// it goes.
			u->address = htonl(0x647ffffe); // 100.127.255.254
			u->gateway = htonl(0x647ffffd); // 100.127.255.253
			u->prefix_len = 30;
		}
	}
	for (unsigned t = 0; t < m->n_tenants; t++) {
		for (unsigned i = 0; i < m->tenants[t].n_instances; i++) {
			struct model_instance *in = &m->tenants[t].instances[i];

			for (unsigned n = 0; n < in->n_nics; n++) {
				struct model_nic *nic = &in->nics[n];

				// In a namespace of its own a tap is called as the guest calls it.
				if (nic->type == MODEL_NIC_TAP && nic->netns[0] != '\0' &&
					nic->interface[0] == '\0' &&
					strlen(nic->name) < sizeof(nic->interface))
					strcpy(nic->interface, nic->name);
			}
		}
	}
}
