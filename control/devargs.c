// SPDX-License-Identifier: BSD-3-Clause
// Devargs by our own grammar, see devargs.h. Called by model_check_value.c, ports.c, control/vfio.c
// and, in the switch, port_ethdev.c and vswitch/vfio.c; any thread.
#include "control/devargs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "control/devargs_internal.h"

enum {
	NAME_MAX_LEN = 63, // RTE_DEV_NAME_MAX_LEN without its end
};

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// One to max_len hexadecimal digits and nothing else, as strtoul would take; NULL = they are not.
static const char *read_hex(const char *s, int max_len, uint32_t *ret_value)
{
	uint32_t value = 0;
	int n = 0;

	for (; n < max_len && digit(s[n]) >= 0; n++)
		value = value << 4 | (uint32_t)digit(s[n]);
	if (n == 0)
		return NULL;
	*ret_value = value;
	return s + n;
}

// BUS:DEVICE.FUNCTION, then the end or arguments.
static bool read_place(
	const char *s, uint32_t *ret_bus, uint32_t *ret_device, uint32_t *ret_function)
{
	s = read_hex(s, 2, ret_bus);
	if (!s || *s != ':')
		return false;
	s = read_hex(s + 1, 2, ret_device);
	if (!s || *s != '.' || *ret_device > 0x1f)
		return false;
	s = read_hex(s + 1, 1, ret_function);
	return s && *ret_function <= 7 && (*s == 0 || *s == ',');
}

bool devargs_address(const char *devargs, char ret_address[DEVARGS_ADDRESS_SIZE])
{
	const char *text = strncmp(devargs, "pci:", 4) == 0 ? devargs + 4 : devargs;
	uint32_t domain = 0, bus, device, function;

	if (!read_place(text, &bus, &device, &function)) {
		text = read_hex(text, 8, &domain);
		if (!text || *text != ':' || !read_place(text + 1, &bus, &device, &function))
			return false;
	}
	snprintf(ret_address, DEVARGS_ADDRESS_SIZE, "%04x:%02x:%02x.%x", domain, bus, device,
		function);
	return true;
}

// DPDK's other syntax: layers that begin with one of these, at first or behind a slash, be that in
// a path. The first of them, or NULL.
static const char *selection(const char *devargs)
{
	static const char *const keys[] = { "bus=", "class=", "driver=" };

	for (const char *s = devargs; s; s = strchr(s, '/')) {
		s += *s == '/';
		for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (strncmp(s, keys[i], strlen(keys[i])) == 0)
				return s;
	}
	return NULL;
}

// Drivers of network devices are called so (of virtio_user0 there is net_virtio_user0, too); a bus
// before the name would be split off by DPDK.
static bool is_driver(const char *devargs, size_t len)
{
	return len <= NAME_MAX_LEN &&
	       (strncmp(devargs, "net_", 4) == 0 || strncmp(devargs, "eth_", 4) == 0) &&
	       strspn(devargs, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
		       len;
}

const char *devargs_mistake(const char *devargs)
{
	size_t len = strcspn(devargs, ",");
	char address[DEVARGS_ADDRESS_SIZE];
	bool pci = devargs_address(devargs, address);
	const char *selected = selection(devargs);

	if (selected && selected > devargs + len)
		return "has bus=, class= or driver= behind a slash, by which DPDK selects devices "
		       "also in the middle of a path; allowed: another path";
	if (selected)
		return "selects devices by bus=, class= or driver=; allowed: the name of one, like "
		       "0000:01:00.0 or net_null0";
	if (pci || is_driver(devargs, len))
		return devargs_arguments_mistake(devargs, pci);
	if (memchr(devargs, ':', len))
		return "is a malformed PCI address; allowed: [DOMAIN:]BUS:DEVICE.FUNCTION in hex, "
		       "like 0000:01:00.0";
	return "names no device; allowed: a PCI address like 0000:01:00.0 or a network driver's "
	       "name like net_null0, which may have arguments behind a comma";
}

void devargs_no_driver(const char *devargs, char *text, size_t size)
{
	snprintf(text, size, "no driver for '%.60s'; linked in are " INSULA_DPDK_DRIVERS, devargs);
}

// DPDK takes the driver whose name the device's begins with. Its other names (eth_null0) are known
// to the switch only, as are those of PCI devices.
bool devargs_unknown(const char *devargs, char *text, size_t size)
{
	static const char all[] = INSULA_DPDK_DRIVERS;

	if (strncmp(devargs, "net_", 4) != 0)
		return false;
	for (const char *s = all; *s;) {
		size_t len = strcspn(s, ", ");
		if (len && strncmp(devargs, s, len) == 0)
			return false;
		s += len;
		s += strspn(s, ", ");
	}
	devargs_no_driver(devargs, text, size);
	return true;
}

// argument: KEY=VALUE; "" = any devargs have it.
static bool has_argument(const char *devargs, const char *argument)
{
	size_t len = strlen(argument);

	for (const char *s = strchr(devargs, ','); s && len; s = strchr(s, ',')) {
		s++;
		if (strncmp(s, argument, len) == 0 && (s[len] == 0 || s[len] == ','))
			return true;
	}
	return len == 0;
}

bool devargs_out_of_reach(const char *devargs, enum devargs_user user, char *text, size_t size)
{
	static const char *const on_interface[DEVARGS_USER_COUNT] = {
		"`interface`, of a nic with `type: packet`", "`interface`", "`interface`"
	};
	static const char *const to_host[DEVARGS_USER_COUNT] = { "a nic of `type: tap`",
		"`interface`", "`mode: nat`" };
	static const struct {
		const char *driver, *argument, *needs;
		const char *const *instead;
	} all[] = {
		{ "_af_packet", "", "CAP_NET_RAW", on_interface },
		{ "_af_xdp", "", "CAP_NET_RAW", on_interface },
		{ "_tap", "", "CAP_NET_ADMIN", to_host },
		{ "_tun", "", "CAP_NET_ADMIN", to_host },
		{ "_virtio_user", "path=/dev/vhost-net", "CAP_NET_ADMIN", to_host },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if ((strncmp(devargs, "net", 3) != 0 && strncmp(devargs, "eth", 3) != 0) ||
			strncmp(devargs + 3, all[i].driver, strlen(all[i].driver)) != 0 ||
			!has_argument(devargs, all[i].argument))
			continue;
		snprintf(text, size,
			"no device '%.60s': its driver needs %s, which the switch never has; use "
			"%s instead",
			devargs, all[i].needs, all[i].instead[user]);
		return true;
	}
	return false;
}
