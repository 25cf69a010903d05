// SPDX-License-Identifier: BSD-3-Clause
// The desired state with everything filled in that the file leaves open: numbers, MACs, addresses,
// names of taps. Made by alloc.c from a model and the store; compiled by compile.c, realised by
// apply.c. It is the middle of insulad: immutable but for an uplink's fallback. Main thread only.
#pragma once

#include "control/image_store.h"
#include "control/model.h"
#include "control/store.h"

enum {
	DESIRED_NAME_SIZE = 3 * POLICY_NAME_SIZE, // TENANT/INSTANCE.NIC
};

// The subnet between the switch and the host in mode `nat`.
#define DESIRED_NAT_SUBNET 0x647ffffcu // 100.127.255.252/30, RFC 6598
#define DESIRED_NAT_HOST (DESIRED_NAT_SUBNET + 1)
#define DESIRED_NAT_SWITCH (DESIRED_NAT_SUBNET + 2)
#define DESIRED_NAT_PREFIX 30
#define DESIRED_NAT_INTERFACE "insula-nat0"

struct desired_segment {
	uint32_t id;
	unsigned tenant; // index
	const struct model_network *network;
	char name[DESIRED_NAME_SIZE]; // TENANT/NETWORK
	struct mac gateway_mac;
	uint32_t snat_port; // port id of the uplink, 0 = none
};

enum desired_port_kind { DESIRED_UPLINK, DESIRED_TRUNK, DESIRED_NIC, DESIRED_PORT_KIND_COUNT };

struct desired_port {
	uint32_t id;
	enum desired_port_kind kind;
	char name[DESIRED_NAME_SIZE];
	const struct model_uplink *uplink; // one of these three
	const struct model_trunk *trunk;
	const struct model_nic *nic;
	const struct model_instance *instance; // nic: whose
	unsigned tenant; // nic: index
	unsigned segment; // nic: index into segments
	struct mac mac; // nic: the guest's; uplink: the switch's own
	struct mac host_mac; // uplink in mode nat: the host's end
	be32 address; // nic: the guest's, 0 = dynamic; uplink: the switch's own
	uint16_t mtu;
	// Uplink, as it turned out: a fallback to nat changes these.
	bool nat;
	uint8_t prefix_len;
	be32 gateway;
	bool no_nat; // uplink: it has no such fallback, whose subnet would overlap another
};

// An image as it is, and where its files are; "" = it has no such file.
struct desired_image {
	struct image about;
	char disk[IMAGE_PATH_SIZE], kernel[IMAGE_PATH_SIZE], initrd[IMAGE_PATH_SIZE];
};

struct desired_instance {
	uint32_t id; // of a VM; else 0
	unsigned tenant; // index
	const struct model_instance *instance;
	char name[DESIRED_NAME_SIZE]; // TENANT/INSTANCE
	unsigned first_port, n_ports;
	struct desired_image *image; // owned; NULL = it names none, or there is none of that name
};

enum { DESIRED_MAX_INSTANCES = POLICY_MAX_PORTS };

struct desired_tenant {
	uint32_t id;
	const struct model_tenant *tenant;
	unsigned first_segment, n_segments, first_port, n_ports;
	unsigned first_instance, n_instances;
};

struct desired {
	struct model *model; // owned
	uint64_t round; // of the store's allocation
	unsigned n_tenants, n_segments, n_ports, n_uplinks, n_trunks, n_instances;
	struct desired_tenant *tenants;
	struct desired_segment *segments;
	struct desired_port *ports; // uplinks, then trunks, then nics by tenant
	struct desired_instance *instances; // by tenant
};

// Gives everything its number, MAC and address, in a new round of the store and inside the caller's
// transaction. Takes the model (freed on failure too). -EINVAL with error texts, else -errno.
int alloc_desired(struct store *s, struct model *m, struct desired **ret_desired,
	struct model_errors *errors);
void desired_free(struct desired *d);

// The uplink turns to mode nat (its interface and device cannot be had).
void desired_uplink_to_nat(struct desired_port *p);
// The uplink whose mode is nat in the file: there is one at most. NULL = none.
const struct desired_port *desired_nat_uplink(const struct desired *d);

const struct desired_port *desired_port_by_id(const struct desired *d, uint32_t id);
const struct desired_port *desired_port_by_name(const struct desired *d, const char *name);
// TENANT/INSTANCE; NULL = there is none.
const struct desired_instance *desired_instance_by_name(const struct desired *d, const char *name);
