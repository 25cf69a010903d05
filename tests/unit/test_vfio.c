// SPDX-License-Identifier: BSD-3-Clause
// What insulad says of a PCI device that cannot be a port, from a folder that looks like sysfs.
// With devices that are one: tests/e2e/pci_device.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/vfio.h"

static char root[] = "/tmp/insula-test-vfio-XXXXXX";

static void make_folder(const char *format, const char *name)
{
	char path[256], rest[128];

	snprintf(rest, sizeof(rest), format, name);
	snprintf(path, sizeof(path), "%s/%s", root, rest);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void make_link(const char *from, const char *to)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, from);
	unlink(path);
	assert_int_equal(symlink(to, path), 0);
}

// A device as sysfs shows it; group 0 = no IOMMU.
static void make_device(const char *address, const char *driver, unsigned group)
{
	char from[128], to[128];

	make_folder("%s", address);
	snprintf(from, sizeof(from), "%s/driver", address);
	snprintf(to, sizeof(to), "../../../bus/pci/drivers/%s", driver);
	if (driver[0])
		make_link(from, to);
	if (group == 0)
		return;
	snprintf(to, sizeof(to), "group%u", group);
	make_folder("%s", to);
	make_folder("%s/devices", to);
	snprintf(from, sizeof(from), "group%u/devices/%s", group, address);
	snprintf(to, sizeof(to), "../../%s", address);
	make_link(from, to);
	// its number is the last part, as in /sys/kernel/iommu_groups/7
	snprintf(from, sizeof(from), "%u", group);
	snprintf(to, sizeof(to), "group%u", group);
	make_link(from, to);
	snprintf(from, sizeof(from), "%s/iommu_group", address);
	snprintf(to, sizeof(to), "../%u", group);
	make_link(from, to);
}

static int setup(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void refused(const char *devargs, int r, const char *words)
{
	unsigned group;
	char err[256] = "";

	assert_int_equal(vfio_check_in(root, devargs, &group, err, sizeof(err)), r);
	if (!strstr(err, words))
		fail_msg("%s: %s; expected: %s", devargs, err, words);
	assert_true(strlen(err) < sizeof(err) - 1);
}

static void accepted(const char *devargs, unsigned expected)
{
	unsigned group = 0;
	char err[256] = "";

	assert_int_equal(vfio_check_in(root, devargs, &group, err, sizeof(err)), 0);
	assert_int_equal(group, expected);
}

static void one_device(void **state)
{
	accepted("net_null0", 0);
	refused("0000:01:00.0", -ENODEV, "there is no PCI device 0000:01:00.0; `lspci -D`");
	make_device("0000:01:00.0", "e1000e", 0);
	refused("01:00.0", -ENOTSUP, "intel_iommu=on");
	make_device("0000:01:00.0", "e1000e", 7);
	refused("01:00.0", -EBUSY,
		"it has driver e1000e; give it to vfio-pci with `modprobe "
		"vfio-pci; driverctl set-override 0000:01:00.0 vfio-pci`");
	make_device("0000:02:00.0", "", 8);
	refused("0000:02:00.0", -EBUSY, "it has no driver; give it");
	make_device("0000:01:00.0", "vfio-pci", 7);
	accepted("pci:01:00.0,x=1", 7);
}

static void a_group(void **state)
{
	make_device("0000:03:00.0", "vfio-pci", 9);
	make_device("0000:00:03.0", "pcieport", 9);
	make_device("0000:03:00.1", "vfio-pci", 9);
	make_device("0000:03:00.2", "", 9);
	accepted("0000:03:00.0", 9);
	make_device("0000:03:00.3", "igb", 9);
	refused("0000:03:00.0", -EBUSY,
		"IOMMU group 9 also has 0000:03:00.3 (driver igb); devices of a group change hands "
		"together: `driverctl set-override 0000:03:00.3 vfio-pci`");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_device),
		cmocka_unit_test(a_group),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
