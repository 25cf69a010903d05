// SPDX-License-Identifier: BSD-3-Clause
// PCI devices through VFIO, see vfio.h. Called by ports.c.
// Source: Linux Documentation/driver-api/vfio.rst.
#include "control/vfio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/devargs.h"
#include "control/log.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

enum { VFIO_NAME_SIZE = 64 };

// The last part of what a link points to; "" = no such link, or a name no driver has.
static void link_target(const char *folder, const char *name, char ret_target[VFIO_NAME_SIZE])
{
	char path[1024], target[512];

	ret_target[0] = 0;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = 0;
	const char *slash = strrchr(target, '/'), *last = slash ? slash + 1 : target;
	if (strlen(last) < VFIO_NAME_SIZE)
		memcpy(ret_target, last, strlen(last) + 1);
}

// The kernel hands out a group only as a whole; bridges' and stub drivers do no DMA of their own.
static bool goes_along(const char *driver)
{
	static const char *const harmless[] = { "", "pcieport", "pci-stub" };

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(driver, harmless[i]) == 0)
			return true;
	return strncmp(driver, "vfio", 4) == 0;
}

static int check_group(
	const char *folder, const char *address, unsigned group, char *err, size_t err_size)
{
	char path[300], driver[VFIO_NAME_SIZE];
	const struct dirent *e;
	int r = 0;

	snprintf(path, sizeof(path), "%s/iommu_group/devices", folder);
	DIR *dir = opendir(path);
	if (!dir)
		return log_reason(-errno, err, err_size, "%s: %s", path, strerror(errno));
	while (r == 0 && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, address) == 0)
			continue;
		char other[600];
		snprintf(other, sizeof(other), "%s/%s", path, e->d_name);
		link_target(other, "driver", driver);
		if (!goes_along(driver))
			r = log_reason(-EBUSY, err, err_size,
				"IOMMU group %u also has %s (driver %s); devices of a group change "
				"hands together: `driverctl set-override %s vfio-pci`",
				group, e->d_name, driver, e->d_name);
	}
	closedir(dir);
	return r;
}

int vfio_check_in(
	const char *devices, const char *devargs, unsigned *ret_group, char *err, size_t err_size)
{
	char address[DEVARGS_ADDRESS_SIZE], folder[256], driver[VFIO_NAME_SIZE],
		group[VFIO_NAME_SIZE];

	if (!devargs_address(devargs, address))
		return 0;
	snprintf(folder, sizeof(folder), "%s/%s", devices, address);
	if (access(folder, F_OK) < 0)
		return log_reason(-ENODEV, err, err_size,
			"there is no PCI device %s; `lspci -D` lists them", address);
	link_target(folder, "iommu_group", group);
	if (!group[0])
		return log_reason(-ENOTSUP, err, err_size,
			"no IOMMU protects the host from it; turn VT-d or AMD-Vi on in the "
			"firmware, and boot with intel_iommu=on on Intel");
	link_target(folder, "driver", driver);
	if (strcmp(driver, "vfio-pci") != 0)
		return log_reason(-EBUSY, err, err_size,
			"it has %s%s; give it to vfio-pci with `modprobe vfio-pci; driverctl "
			"set-override %s vfio-pci`",
			driver[0] ? "driver " : "no driver", driver, address);
	*ret_group = (unsigned)strtoul(group, NULL, 10);
	return check_group(folder, address, *ret_group, err, err_size);
}

int vfio_check(const char *devargs, char *err, size_t err_size)
{
	unsigned group;

	return vfio_check_in(PCI_DEVICES, devargs, &group, err, err_size);
}

static int open_path(const char *path, int *ret_fd, char *err, size_t err_size)
{
	*ret_fd = open(path, O_RDWR | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	return log_reason(-errno, err, err_size, "cannot open %s: %s%s", path, strerror(errno),
		errno == ENOENT ? "; without an IOMMU it is not there" : "");
}

int vfio_open(const char *devargs, int ret_fds[VFIO_MAX_FDS], unsigned *ret_n_fds, char *err,
	size_t err_size)
{
	char address[DEVARGS_ADDRESS_SIZE], path[64];
	unsigned group = 0;
	int r = vfio_check_in(PCI_DEVICES, devargs, &group, err, err_size);

	*ret_n_fds = 0;
	if (r < 0 || !devargs_address(devargs, address))
		return r;
	r = open_path("/dev/vfio/vfio", &ret_fds[0], err, err_size);
	if (r < 0)
		return r;
	*ret_n_fds = 1;
	snprintf(path, sizeof(path), "/dev/vfio/%u", group);
	r = open_path(path, &ret_fds[1], err, err_size);
	if (r == 0)
		*ret_n_fds = 2;
	else if (r != -EBUSY) // the switch knows whether it is itself who has it
		close(ret_fds[--*ret_n_fds]);
	return r == -EBUSY ? 0 : r;
}
