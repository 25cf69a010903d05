// SPDX-License-Identifier: BSD-3-Clause
// The files that a machine is to be made of, before it is: whether they are there, and whether it
// may have them. Used by vms.c and vm.c.
#pragma once

#include <stddef.h>
#include "control/desired.h"
#include "control/vm_spec.h"

// Folders whose files are no machine's disks by their path: images, volumes and instances' own
// disks are in there, and the state.
struct vm_owned {
	const char *state_dir, *run_dir;
};

// Are they there, its image being there, and each disk one file of its own? A disk's path that
// leads into a folder of ours, by symbolic links or as another name of a file there, is refused
// (but not by another mount of it). 0, or -errno with a sentence in err.
int vm_files_check(
	const struct desired_instance *in, const struct vm_owned *own, char *err, size_t err_size);

// At its start, when other files may be at the disks' paths than were there when it was applied:
// `spec` with each such disk told to be the file (inode=) that was found to be none of ours, so
// that insula-vmm opens that one or none. 0, or -errno with a sentence in err; vm_spec_clear
// either way.
int vm_files_pin(const struct vm_spec *spec, const struct desired_instance *in,
	const struct vm_owned *own, struct vm_spec *ret_spec, char *err, size_t err_size);
