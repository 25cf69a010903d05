// SPDX-License-Identifier: BSD-3-Clause
// The desired state as insulad works with it: what one YAML file says, checked and with defaults
// filled in. Read from YAML by model_yaml.c (which reports every mistake by line), compiled to
// policy sections by compile.c, compared with what is by plan.c. Main thread only.
#pragma once

#include "control/policy.h"
#include "control/switch_settings.h"

enum model_uplink_mode {
	MODEL_UPLINK_NAT, // a tap into the host and one nftables masquerade table
	MODEL_UPLINK_ROUTED, // the switch is an IP host on an interface or DPDK device
	MODEL_UPLINK_MODE_COUNT
};

struct model_uplink {
	char name[POLICY_NAME_SIZE];
	enum model_uplink_mode mode;
	char interface[16]; // routed: kernel interface for AF_PACKET; nat: name of the host's tap
	char devargs[256]; // routed: DPDK device, tried first; "" = none
	be32 address; // the switch's own; nat: from the transit subnet
	uint8_t prefix_len;
	be32 gateway; // 0 = none; nat: the host's end of the tap
	uint16_t mtu;
	uint16_t nat_port_first, nat_port_last;
	int line; // in the YAML file, for later errors
};

struct model_trunk {
	char name[POLICY_NAME_SIZE];
	char interface[16];
	char devargs[256];
	uint16_t native_vid, outer_vid;
	uint8_t allowed[512];
	uint32_t learn_limit, storm_pps;
	int line;
};

struct model_network {
	char name[POLICY_NAME_SIZE];
	uint16_t vlan, mtu;
	be32 subnet, gateway;
	uint8_t prefix_len;
	uint8_t n_dns; // 0 = the host's real upstreams
	be32 dns[POLICY_MAX_DNS];
	be32 pool_first, pool_last;
	uint32_t lease_s;
	char snat[POLICY_NAME_SIZE]; // uplink's name, "" = none
	int line;
};

enum model_nic_type {
	MODEL_NIC_TAP,
	MODEL_NIC_VHOST_USER,
	MODEL_NIC_PACKET,
	MODEL_NIC_ETHDEV,
	MODEL_NIC_TYPE_COUNT
};

struct model_nic {
	char name[POLICY_NAME_SIZE]; // "eth0" by default; the port is called INSTANCE.NAME
	char network[POLICY_NAME_SIZE];
	enum model_nic_type type;
	char interface[16]; // tap: device name inside netns; packet: kernel interface
	char netns[64]; // tap: name under /run/netns, "" = insulad's own
	char socket[108]; // vhost-user: path, "" = RUN_DIR/vhost/TENANT.INSTANCE.NIC
	bool vhost_server; // the switch listens
	char devargs[256];
	struct mac mac; // all zero = allocated
	be32 address; // 0 = allocated from the subnet (unless clients_many)
	bool clients_many;
	bool allow_non_ip;
	uint32_t storm_pps;
	uint16_t n_queues; // 0 = by kind, see port_spec.c
	int line;
};

enum model_instance_kind {
	MODEL_INSTANCE_EXTERNAL, // somebody else runs it
	MODEL_INSTANCE_VM, // insulad does, by insula-vmm
	MODEL_INSTANCE_KIND_COUNT
};

enum model_restart {
	MODEL_RESTART_ON_FAILURE, // unless the guest powered itself off
	MODEL_RESTART_ALWAYS,
	MODEL_RESTART_NEVER,
	MODEL_RESTART_COUNT
};

struct model_disk {
	char *path; // raw file or block device; of a volume: its file, once it is resolved
	char volume[POLICY_NAME_SIZE]; // instead of a path; "" = none
	bool readonly, direct;
	uint16_t n_queues;
	int line;
};

struct model_instance {
	char name[POLICY_NAME_SIZE];
	enum model_instance_kind kind;
	unsigned n_nics, n_disks;
	struct model_nic *nics;
	// Of a VM; texts that the file leaves out are NULL.
	struct model_disk *disks;
	char *kernel, *initrd, *cmdline, *user_data;
	char image[POLICY_NAME_SIZE]; // what its first disk is made of; "" = it has none
	uint32_t cpus, memory_mib;
	bool hugepages;
	enum model_restart restart;
	uint32_t stop_timeout_s; // from the power button to the kill
	int line;
};

struct model_tenant {
	char name[POLICY_NAME_SIZE];
	unsigned n_networks, n_instances;
	struct model_network *networks;
	struct model_instance *instances;
	int line;
};

struct model {
	char *file; // as the user named it
	struct switch_settings settings;
	unsigned n_uplinks, n_trunks, n_tenants;
	struct model_uplink *uplinks;
	struct model_trunk *trunks;
	struct model_tenant *tenants;
};

struct model_errors {
	unsigned n;
	char **text; // "file:line: what is wrong; what is allowed"
};

// Reads and checks a whole document. 0 with *ret_model; -EINVAL with at least one error text
// (all mistakes found, not only the first); -ENOMEM. `yaml` need not be terminated. An empty
// document is an empty model.
int model_from_yaml(const char *file, const char *yaml, size_t size, struct model **ret_model,
	struct model_errors *errors);
void model_free(struct model *m);
void model_errors_free(struct model_errors *e);
