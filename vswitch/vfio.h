// SPDX-License-Identifier: BSD-3-Clause
// PCI devices of port kind ethdev: DPDK reaches them through VFIO. Control thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// insulad has opened these two for a port, in this order; the switch's user may not.
enum vfio_fd {
	VFIO_FD_CONTAINER, // /dev/vfio/vfio
	VFIO_FD_GROUP, // /dev/vfio/N; absent if another port of ours has the group open
	VFIO_FD_COUNT,
};

// Do the devargs name a PCI device ("0000:01:00.0", "pci:01:00.0,…")?
bool vfio_is_pci(const char *devargs);
// From here on to vfio_lend_end, when DPDK opens /dev/vfio/… on this thread, it gets a duplicate of
// these; without any it opens them itself. 0, or -errno with a sentence: what keeps DPDK from using
// any PCI device.
int vfio_lend(const int *fds, unsigned n_fds, char *err, size_t err_size);
// Did DPDK get all it asked for? Else the group is somebody else's.
bool vfio_lend_end(void);
