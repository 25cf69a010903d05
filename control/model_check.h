// SPDX-License-Identifier: BSD-3-Clause
// What the parts of the check share: model_check.c (the host's side), model_check_tenant.c and
// model_check_value.c. Main thread.
#pragma once

#include "control/devargs.h"
#include "control/model_yaml.h"

// A set of names in one scope, each with the line it was first seen in.
struct seen {
	void *root; // of tsearch
	struct report *r;
};

struct seen_entry {
	int line;
	unsigned index;
	char key[];
};

struct checker {
	const struct model *m;
	struct report *r;
	struct seen uplinks, host_ports, tenants, vlans, interfaces, sockets, devargs, disks;
	unsigned n_ports, n_segments, n_devices, n_vhost_places;
};

// The two ways of writing an address, for messages.
struct text {
	char s[32];
};

// Behind a message: ": red, blue".
struct names {
	char s[200];
};

// model_check_value.c

// Enters a key; returns the entry that was there already, else NULL.
const struct seen_entry *seen_add(struct seen *s, int line, unsigned index, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
const struct seen_entry *seen_find(const struct seen *s, const char *key);
void seen_free(struct seen *s);

// The line a key's value stands in, else the object's own.
int line_of(const struct yaml_node *map, const char *key);
const struct yaml_node *first_of(const struct yaml_node *map, const char *key);
// Does the key have that word for a value?
bool says(const struct yaml_node *map, const char *key, const char *word);
struct text addr(be32 a);
struct text cidr(be32 a, uint8_t prefix_len);
bool prefixes_overlap(be32 a, uint8_t a_len, be32 b, uint8_t b_len);
// One more of the names that would have been right; what is too much is left out.
void add_name(struct names *list, const char *name);

void check_name(struct checker *c, struct seen *s, const struct yaml_node *n, const char *name,
	unsigned index);
// Two users of one kernel interface would take it from each other.
void check_device(
	struct checker *c, const struct yaml_node *n, const char *netns, const char *interface);
// A wire that others are on, which the loopback is not.
void check_wire(struct checker *c, const struct yaml_node *n, const char *interface);
// Two users of one socket or DPDK device, as of an interface.
void check_once(struct checker *c, struct seen *s, const struct yaml_node *n, const char *key,
	const char *value);
// A DPDK device: named as it must be, and once, and not one too many.
void check_devargs(
	struct checker *c, const struct yaml_node *n, const char *devargs, enum devargs_user user);
// Room in the switch for one more vhost-user port.
void check_vhost_places(struct checker *c, const struct yaml_node *n, const struct model_nic *nic);
// Can a host of this subnet have that address?
bool check_host(struct checker *c, int line, const char *key, be32 address, be32 subnet,
	uint8_t prefix_len);

// model_check_vm.c
void check_vm(struct checker *c, const struct model_instance *in, const struct yaml_node *n);
void check_vm_nic(struct checker *c, const struct model_nic *nic, const struct yaml_node *n);

// model_check_tenant.c
void check_tenant(
	struct checker *c, const struct model_tenant *t, const struct yaml_node *n, unsigned index);
