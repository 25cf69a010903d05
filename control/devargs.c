// SPDX-License-Identifier: BSD-3-Clause
// Devargs by our own grammar, see devargs.h. Called by model_check_value.c, control/vfio.c and, in
// the switch, port_ethdev.c and vswitch/vfio.c; any thread.
#include "control/devargs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

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

// DPDK's other syntax: layers that begin with one of these, at first or behind a slash.
static bool selects(const char *devargs)
{
	static const char *const keys[] = { "bus=", "class=", "driver=" };

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t len = strlen(keys[i]);
		for (const char *s = devargs; s; s = strchr(s, '/')) {
			s += *s == '/';
			if (strncmp(s, keys[i], len) == 0)
				return true;
		}
	}
	return false;
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

	if (selects(devargs))
		return "selects devices by bus=, class= or driver=; allowed: the name of one, like "
		       "0000:01:00.0 or net_null0";
	if (devargs_address(devargs, address) || is_driver(devargs, len))
		return NULL;
	if (memchr(devargs, ':', len))
		return "is a malformed PCI address; allowed: [DOMAIN:]BUS:DEVICE.FUNCTION in hex, "
		       "like 0000:01:00.0";
	return "names no device; allowed: a PCI address like 0000:01:00.0 or a network driver's "
	       "name like net_null0, each with arguments behind a comma";
}
