// SPDX-License-Identifier: BSD-3-Clause
// Control groups (cgroup v2): each machine, and who serves its disk, in one of its own, which
// bounds its memory and threads and weighs its processor time and disk accesses against others'.
// Main thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroups {
	char base[300]; // where machines' groups are made; "" = nowhere
	char above[256]; // where `base` is made when there is a machine; "" = it is there
	char note[192]; // the file that remembers the next
	unsigned enabled; // of the controllers in `above`, bit by bit: by us
	char prefix[160]; // of their names: RUN_DIR's, as several may run
	char why_not[320]; // if nowhere; told with the first machine
	bool told;
};

struct cgroup_limits {
	uint32_t cpus, memory_mib; // the guest's
};

// Finds the place: $INSULA_CGROUP, else that of insula-guests.service, else, where no systemd minds
// the tree, below insulad's own group: that one is made and removed with machines.
void cgroups_open(struct cgroups *ret_groups, const char *run_dir);
// The group of machine `id`, made anew or as it is, with these limits: a descriptor for clone3. 0
// (no descriptor ever): there are no groups here; -errno with a sentence in err.
int cgroup_get(struct cgroups *g, uint32_t id, const struct cgroup_limits *limits, char *err,
	size_t err_size);
// Removed as soon as nobody is in it; else it stays.
void cgroup_remove(struct cgroups *g, uint32_t id);
// How often the kernel ended somebody in it for want of memory.
unsigned cgroup_oom_kills(const struct cgroups *g, uint32_t id);
// Its folder; "" without groups.
void cgroup_path(const struct cgroups *g, uint32_t id, char *ret_path, size_t size);
