// SPDX-License-Identifier: BSD-3-Clause
// A PCI device for a port of kind ethdev: can the switch have it through VFIO, and the fds it needs
// for that, which it may not open itself. Main thread only.
#pragma once

#include <stddef.h>

enum {
	VFIO_MAX_FDS = 2, // container, group: as in vswitch/vfio.h
};

// What keeps the device from being used, as far as the folder of all PCI devices (sysfs, or a
// test's) tells. 0, also for devargs that name none, or -errno with a sentence that says what to
// do. -ENODEV: it is not there.
int vfio_check_in(
	const char *devices, const char *devargs, unsigned *ret_group, char *err, size_t err_size);
int vfio_check(const char *devargs, char *err, size_t err_size);
// Checks, and opens what there is to open: two fds; one if somebody has the group already, which
// may be another port; none if the devargs name no PCI device. The caller closes them. 0 or -errno
// with a sentence.
int vfio_open(const char *devargs, int ret_fds[VFIO_MAX_FDS], unsigned *ret_n_fds, char *err,
	size_t err_size);
