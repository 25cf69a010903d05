// SPDX-License-Identifier: BSD-3-Clause
// What only a VM has, what it needs, and what it cannot have. Called by model_check_tenant.c, main
// thread.
#include "control/model_check.h"

#include <string.h>

enum { VM_NICS = 8, VM_DISKS = 16 }; // of insula-vmm

static void check_kind(
	struct checker *c, const struct model_instance *in, const struct yaml_node *n)
{
	static const char *const keys[] = { "image", "kernel", "initrd", "cmdline", "disks",
		"user_data", "cpus", "memory", "hugepages", "restart", "stop_timeout" };

	if (in->kind == MODEL_INSTANCE_VM) {
		if (!yaml_has(n, "kernel") && !yaml_has(n, "image"))
			report(c->r, n->line,
				"kernel is missing; an instance of kind vm needs one, like "
				"/boot/vmlinuz, or an image that has one");
		return;
	}
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (yaml_get(n, keys[i]) != NULL)
			report(c->r, line_of(n, keys[i]),
				"%s does not go with kind external; allowed: with kind vm",
				keys[i]);
}

// Whoever writes to a disk has it alone.
static void check_disks(
	struct checker *c, const struct model_instance *in, const struct yaml_node *n)
{
	const struct yaml_node *child = first_of(n, "disks");

	for (unsigned i = 0; i < in->n_disks; i++, child = child->next) {
		const struct model_disk *disk = &in->disks[i];
		const struct seen_entry *twin;
		bool is_volume = disk->volume[0] != '\0';
		int line = line_of(child, is_volume ? "volume" : "path");

		if (child->kind == YAML_MAP && yaml_has(child, "path") == yaml_has(child, "volume"))
			report(c->r, child->line,
				"a disk has either a path, like /srv/db.raw, or a volume");
		if (disk->path == NULL && !is_volume)
			continue;
		twin = seen_add(&c->disks, line, disk->readonly, "%s%.300s",
			is_volume ? "volume " : "", is_volume ? disk->volume : disk->path);
		if (twin != NULL && !(disk->readonly && twin->index))
			report(c->r, line,
				"%s \"%s\" is used twice, first in line %d; one instance per "
				"disk, unless all have it readonly",
				is_volume ? "volume" : "disk",
				is_volume ? disk->volume : disk->path, twin->line);
	}
}

void check_vm(struct checker *c, const struct model_instance *in, const struct yaml_node *n)
{
	if (n->kind != YAML_MAP ||
		(yaml_has(n, "kind") && !says(n, "kind", "vm") && !says(n, "kind", "external")))
		return;
	check_kind(c, in, n);
	check_disks(c, in, n);
	unsigned more = (in->user_data != NULL) + (in->image[0] != '\0');
	if (in->n_disks + more > VM_DISKS)
		report(c->r, line_of(n, "disks"),
			"%u disks, and %s; an instance of kind vm has at most %d", in->n_disks,
			more == 2               ? "user_data and the image's are two more"
			: in->user_data != NULL ? "user_data is one more"
						: "the image's is one more",
			VM_DISKS);
	if (in->kind == MODEL_INSTANCE_VM && in->n_nics > VM_NICS)
		report(c->r, line_of(n, "nics"), "%u nics; an instance of kind vm has at most %d",
			in->n_nics, VM_NICS);
}

void check_vm_nic(struct checker *c, const struct model_nic *nic, const struct yaml_node *n)
{
	static const char *const keys[] = { "interface", "netns", "socket", "server", "devargs" };

	if (nic->type != MODEL_NIC_VHOST_USER)
		report(c->r, line_of(n, "type"),
			"type does not go with kind vm; allowed: vhost-user, or no type");
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (yaml_get(n, keys[i]) != NULL)
			report(c->r, line_of(n, keys[i]),
				"%s does not go with kind vm, where insulad chooses; leave it out",
				keys[i]);
}
