// SPDX-License-Identifier: BSD-3-Clause
// VFIO for a process that may not open it, see vfio.h. Called by port_ethdev.c.
//
// DPDK opens VFIO's container and groups by path, when a device is probed; by then the switch is an
// ordinary user. So insulad opens them, as it opens taps, and the linker leads every open() of this
// program through here (--wrap in meson.build).
#include "vswitch/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <rte_vfio.h>
#include "control/devargs.h"
#include "vswitch/eal.h"

#define FOLDER "/dev/vfio/"

int __real_open(const char *path, int flags, ...);
int __real_open64(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

// What is lent on this thread; -1 = not there.
static _Thread_local int lent[VFIO_FD_COUNT] = { -1, -1 };
static _Thread_local bool lending, refused;

static int open_lent(const char *path)
{
	int fd = lent[strcmp(path + strlen(FOLDER), "vfio") == 0 ? VFIO_FD_CONTAINER
								 : VFIO_FD_GROUP];

	if (fd < 0) {
		refused = true;
		errno = EBUSY;
		return -1;
	}
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool is_lent(const char *path)
{
	return lending && strncmp(path, FOLDER, strlen(FOLDER)) == 0;
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	int fd = is_lent(path) ? open_lent(path) : __real_open(path, flags, mode_of(flags, args));
	va_end(args);
	return fd;
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	int fd = is_lent(path) ? open_lent(path) : __real_open64(path, flags, mode_of(flags, args));
	va_end(args);
	return fd;
}

bool vfio_is_pci(const char *devargs)
{
	char address[DEVARGS_ADDRESS_SIZE];

	return devargs_address(devargs, address);
}

int vfio_lend(const int *fds, unsigned n_fds, char *err, size_t err_size)
{
	size_t allowed, needed;

	if (!eal_may_lock(&allowed, &needed)) {
		snprintf(err, err_size,
			"a PCI device needs %zu MiB of memory locked, %zu MiB are allowed; start "
			"insulad under `ulimit -l unlimited`",
			needed >> 20, allowed >> 20);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < VFIO_FD_COUNT; i++)
		lent[i] = i < n_fds ? fds[i] : -1;
	lending = n_fds > 0;
	// At start its module may not have been there yet.
	if (!rte_vfio_is_enabled("vfio") &&
		(rte_vfio_enable("vfio") != 0 || !rte_vfio_is_enabled("vfio"))) {
		vfio_lend_end();
		snprintf(err, err_size,
			"DPDK cannot use /dev/vfio/vfio; load it with `modprobe "
			"vfio-pci`, see `dmesg`");
		return -ENODEV;
	}
	return 0;
}

bool vfio_lend_end(void)
{
	bool all = !refused;

	lending = refused = false;
	return all;
}
