// SPDX-License-Identifier: BSD-3-Clause
// The YAML schema as one table: every key, its type, range, default and place in struct model.
// SCHEMA.md documents it, a test compares the two. Constant data, read by model_yaml.c.
#include "control/model_schema.h"

#include <stdio.h>
#include <string.h>

#define AT(type, member) .at = offsetof(struct type, member)
#define AT2(type, member) .at2 = offsetof(struct type, member)
enum { MAX_FILE = 1024, MAX_CMDLINE = 2048, MAX_USER_DATA = 64 << 10 };

#define NAME_ALLOWED "1 to 31 letters, digits, '-' or '_'; a letter or digit first"

static const char *const off_on[] = { "false", "true", NULL };
static const char *const mode_words[] = { "adaptive", "poll", NULL };
static const char *const hugepage_words[] = { "none", "2M", NULL };
static const char *const client_words[] = { "one", "many", NULL };
static const char *const uplink_words[] = { "nat", "routed", NULL };
static const char *const type_words[] = { "tap", "vhost-user", "packet", "ethdev", NULL };
static const char *const kind_words[] = { "external", "vm", NULL };
static const char *const restart_words[] = { "on-failure", "always", "never", NULL };

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
	*(struct model_nic *)object = (struct model_nic){ .name = "eth0",
		.type = MODEL_NIC_TYPE_COUNT, // by the instance's kind
		.storm_pps = 1000,
		.line = line };
}

static void instance_defaults(void *object, int line)
{
	*(struct model_instance *)object = (struct model_instance){
		.cpus = 1, .memory_mib = 256, .stop_timeout_s = 30, .line = line
	};
}

static void disk_defaults(void *object, int line)
{
	*(struct model_disk *)object = (struct model_disk){ .n_queues = 1, .line = line };
}

static void tenant_defaults(void *object, int line)
{
	((struct model_tenant *)object)->line = line;
}

// clang-format off
#define SETTING(member) AT(model, settings.member)
static const struct field settings_fields[] = {
	{ "workers", FIELD_NUMBER, SETTING(workers), .min = 1, .max = 16 },
	{ "mode", FIELD_SWITCH, SETTING(poll), .words = mode_words },
	{ "sessions", FIELD_NUMBER, SETTING(sessions), .min = 1024, .max = 4194304 },
	{ "sessions_per_tenant", FIELD_NUMBER, SETTING(sessions_per_tenant), .min = 1,
		.max = 4194304 },
	{ "sessions_per_port", FIELD_NUMBER, SETTING(sessions_per_port), .min = 1,
		.max = 4194304 },
	{ "hugepages", FIELD_CHOICE, SETTING(hugepages), .words = hugepage_words },
	{ 0 }
};
static const struct object settings_object = {
	"settings", sizeof(struct model), settings_fields, NULL };

#define UPLINK(member) AT(model_uplink, member)
static const struct field uplink_fields[] = {
	{ "name", FIELD_NAME, true, UPLINK(name), .max = POLICY_NAME_SIZE },
	{ "mode", FIELD_CHOICE, true, UPLINK(mode), .words = uplink_words },
	{ "interface", FIELD_INTERFACE, UPLINK(interface), .max = 16 },
	{ "devargs", FIELD_TEXT, UPLINK(devargs), .max = 256 },
	{ "address", FIELD_ADDRESS, UPLINK(address), AT2(model_uplink, prefix_len) },
	{ "gateway", FIELD_IPV4, UPLINK(gateway) },
	{ "mtu", FIELD_NUMBER16, UPLINK(mtu), .min = 576, .max = 9216 },
	{ "nat_ports", FIELD_NUMBER_RANGE16, UPLINK(nat_port_first),
		AT2(model_uplink, nat_port_last), .min = 1, .max = 65535,
		.allowed = "FIRST-LAST within 1..65535, like 1024-65535" },
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

#define DISK(member) AT(model_disk, member)
static const struct field disk_fields[] = {
	{ "path", FIELD_FILE, DISK(path), .max = MAX_FILE },
	{ "volume", FIELD_NAME, DISK(volume), .max = POLICY_NAME_SIZE },
	{ "readonly", FIELD_SWITCH, DISK(readonly), .words = off_on },
	{ "direct", FIELD_SWITCH, DISK(direct), .words = off_on },
	{ "queues", FIELD_NUMBER16, DISK(n_queues), .min = 1, .max = 8 },
	{ 0 }
};
static const struct object disk_object = {
	"tenants[].instances[].disks[]", sizeof(struct model_disk), disk_fields, disk_defaults };

#define INSTANCE(member) AT(model_instance, member)
static const struct field instance_fields[] = {
	{ "name", FIELD_NAME, true, AT(model_instance, name), .max = POLICY_NAME_SIZE },
	{ "kind", FIELD_CHOICE, INSTANCE(kind), .words = kind_words },
	{ "nics", FIELD_LIST, AT(model_instance, nics), AT2(model_instance, n_nics), .max = 64,
		.object = &nic_object },
	{ "image", FIELD_NAME, INSTANCE(image), .max = POLICY_NAME_SIZE },
	{ "kernel", FIELD_FILE, INSTANCE(kernel), .max = MAX_FILE },
	{ "initrd", FIELD_FILE, INSTANCE(initrd), .max = MAX_FILE },
	{ "cmdline", FIELD_LINE, INSTANCE(cmdline), .max = MAX_CMDLINE },
	{ "disks", FIELD_LIST, INSTANCE(disks), AT2(model_instance, n_disks), .max = 16,
		.object = &disk_object },
	{ "user_data", FIELD_LINES, INSTANCE(user_data), .max = MAX_USER_DATA },
	{ "cpus", FIELD_NUMBER, INSTANCE(cpus), .min = 1, .max = 32 },
	{ "memory", FIELD_MEMORY, INSTANCE(memory_mib), .min = 2, .max = 1 << 20 },
	{ "hugepages", FIELD_SWITCH, INSTANCE(hugepages), .words = off_on },
	{ "restart", FIELD_CHOICE, INSTANCE(restart), .words = restart_words },
	{ "stop_timeout", FIELD_NUMBER, INSTANCE(stop_timeout_s), .min = 0, .max = 3600,
		.allowed = "0..3600 seconds" },
	{ 0 }
};
static const struct object instance_object = {
	"tenants[].instances[]", sizeof(struct model_instance), instance_fields,
	instance_defaults };

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
	{ "version", FIELD_NUMBER, true, .at = SCHEMA_NOWHERE, .min = 1, .max = 1, .allowed = "1" },
	{ "settings", FIELD_OBJECT, .at = 0, .object = &settings_object },
	{ "uplinks", FIELD_LIST, AT(model, uplinks), AT2(model, n_uplinks),
		.max = POLICY_MAX_UPLINKS, .object = &uplink_object },
	{ "trunks", FIELD_LIST, AT(model, trunks), AT2(model, n_trunks), .max = 1024,
		.object = &trunk_object },
	{ "tenants", FIELD_LIST, AT(model, tenants), AT2(model, n_tenants),
		.max = POLICY_MAX_SECTIONS - 1, .object = &tenant_object },
	{ 0 }
};
const struct object schema_top = { "", sizeof(struct model), top_fields, NULL };
// clang-format on

void schema_append(char *buf, size_t size, const char *word)
{
	size_t n = strlen(buf);

	snprintf(buf + n, size - n, "%s", word);
}

const char *schema_allowed(const struct field *f, char *buf, size_t size)
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
				schema_append(buf, size, f->words[i + 1] != NULL ? ", " : " or ");
			schema_append(buf, size, f->words[i]);
		}
		return buf;
	case FIELD_NAME:
		return NAME_ALLOWED;
	case FIELD_INTERFACE:
		return "1 to 15 printable characters without / : % * \" \\ and blanks; not all or "
		       "default";
	case FIELD_NETNS:
		return "a name under /run/netns: 1 to 63 letters, digits, '-', '_' or '.'";
	case FIELD_PATH:
		return "an absolute path of at most 107 printable characters, without \".\", "
		       "\"..\", \"//\" or a / at its end";
	case FIELD_FILE:
		return "an absolute path without , of at most 1023 printable characters";
	case FIELD_LINES:
		snprintf(buf, size, "1 to %u bytes of text, like |, then lines", f->max - 1);
		return buf;
	case FIELD_MEMORY:
		return "an even number of MiB or a number of GiB, like 512MiB or 2GiB; 2MiB to "
		       "1024GiB";
	case FIELD_TEXT:
	case FIELD_LINE:
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

void schema_fill_defaults(struct model *m)
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

				if (nic->type == MODEL_NIC_TYPE_COUNT)
					nic->type = in->kind == MODEL_INSTANCE_VM
							    ? MODEL_NIC_VHOST_USER
							    : MODEL_NIC_TAP;
				// In a namespace of its own a tap is called as the guest calls it.
				if ((nic->type == MODEL_NIC_TAP ||
					    nic->type == MODEL_NIC_VHOST_USER) &&
					nic->netns[0] != '\0' && nic->interface[0] == '\0' &&
					strlen(nic->name) < sizeof(nic->interface))
					strcpy(nic->interface, nic->name);
			}
		}
	}
}
