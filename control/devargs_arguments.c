// SPDX-License-Identifier: BSD-3-Clause
// Which arguments a DPDK driver is given, see devargs.h: what is not listed here never reaches it.
// Drivers take more than is good for the switch: one takes a pointer, one waits for a client, one
// writes frames of any size into buffers of ours. Called by devargs.c; any thread.
#include <stdint.h>
#include <string.h>
#include "control/devargs_internal.h"

enum kind {
	KIND_NUMBER, // min to max
	KIND_POWER, // of two, min to max
	KIND_MAC,
	KIND_PATH, // of a unix socket: min to max characters
	KIND_NAME, // min to max characters
};

struct argument {
	const char *key;
	enum kind kind;
	uint32_t min, max;
};

enum {
	ARGUMENTS_MAX = 4,
};

static const struct driver {
	const char *name; // behind net or eth: each has both names
	struct argument arguments[ARGUMENTS_MAX];
	const char *needs; // or NULL
	const char *mistake;
} drivers[] = {
	// It fills the size in whatever buffer it gets; what is shorter is no Ethernet frame.
	{ "_null",
		{ { "size", KIND_NUMBER, 60, 1514 }, { "copy", KIND_NUMBER, 0, 1 },
			{ "no-rx", KIND_NUMBER, 0, 1 } },
		NULL,
		"has arguments that net_null is not given; allowed: size=60 to 1514, and copy=1 or "
		"no-rx=1" },
	// `internal` is an address in this process; `nodeaction` takes other ports' rings.
	{ "_ring", { { NULL, KIND_NUMBER, 0, 0 } }, NULL,
		"has arguments, which net_ring is not given; allowed: the name alone" },
	{ "_af_packet",
		{ { "iface", KIND_NAME, 1, 15 }, { "qpairs", KIND_NUMBER, 1, 16 },
			{ "qdisc_bypass", KIND_NUMBER, 0, 1 } },
		NULL,
		"has arguments that net_af_packet is not given; allowed: iface=NAME, qpairs=1 to "
		"16, qdisc_bypass=0 or 1" },
	// The queues of 22.11's driver: VIRTIO_MAX_VIRTQUEUE_PAIRS. A longer path would be cut.
	{ "_virtio_user",
		{ { "path", KIND_PATH, 2, 107 }, { "mac", KIND_MAC, 0, 0 },
			{ "queues", KIND_NUMBER, 1, 8 }, { "queue_size", KIND_POWER, 64, 1024 } },
		"path",
		"has no path or arguments that net_virtio_user is not given; allowed: path=/SOCKET "
		"and mac=, queues=1 to 8, queue_size=64, 128, 256, 512 or 1024" },
};

static const struct driver *driver_of(const char *devargs)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strncmp(devargs + 3, drivers[i].name, strlen(drivers[i].name)) == 0)
			return &drivers[i];
	return NULL;
}

static bool is_number(const char *s, size_t len, uint32_t *ret_value)
{
	uint32_t value = 0;

	if (len == 0 || len > 9 || strspn(s, "0123456789") < len || (len > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++)
		value = value * 10 + (uint32_t)(s[i] - '0');
	*ret_value = value;
	return true;
}

static bool is_mac(const char *s, size_t len)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	if (len != 17)
		return false;
	for (size_t i = 0; i < len; i++)
		if (i % 3 == 2 ? s[i] != ':' : !memchr(digits, s[i], sizeof(digits) - 1))
			return false;
	return true;
}

static bool fits(const struct argument *a, const char *s, size_t len)
{
	uint32_t n;

	switch (a->kind) {
	case KIND_NUMBER:
	case KIND_POWER:
		return is_number(s, len, &n) && n >= a->min && n <= a->max &&
		       (a->kind == KIND_NUMBER || (n & (n - 1)) == 0);
	case KIND_MAC:
		return is_mac(s, len);
	case KIND_PATH:
	case KIND_NAME:
		return len >= a->min && len <= a->max && (s[0] == '/') == (a->kind == KIND_PATH);
	}
	return false;
}

// The argument s[len], KEY=VALUE, in the driver's list; ARGUMENTS_MAX: it is not, or not so.
static unsigned find(const struct driver *d, const char *s, size_t len)
{
	for (unsigned i = 0; i < ARGUMENTS_MAX && d->arguments[i].key; i++) {
		size_t key = strlen(d->arguments[i].key);
		if (len > key && s[key] == '=' && strncmp(s, d->arguments[i].key, key) == 0)
			return fits(&d->arguments[i], s + key + 1, len - key - 1) ? i
										  : ARGUMENTS_MAX;
	}
	return ARGUMENTS_MAX;
}

static bool has(const char *s, const char *argument)
{
	return strncmp(s, argument, strlen(argument)) == 0;
}

// All of them, each once: DPDK's drivers differ in what they make of a second one.
static const char *check(const struct driver *d, const char *s)
{
	bool seen[ARGUMENTS_MAX] = { false }, copy = false, no_rx = false, needed = false;

	for (; *s; s += strcspn(s, ",")) {
		s += *s == ',';
		size_t len = strcspn(s, ",");
		if (len == 0)
			continue;
		// Lists, to DPDK's parser.
		unsigned i = strcspn(s, "[]") < len ? ARGUMENTS_MAX : find(d, s, len);
		if (d->needs && has(s, "server="))
			return "has server=, with which the whole switch would wait for a client; "
			       "allowed: without; a nic of `type: vhost-user` serves a socket";
		if (i == ARGUMENTS_MAX || seen[i])
			return d->mistake;
		seen[i] = true;
		copy |= has(s, "copy=1");
		no_rx |= has(s, "no-rx=1");
		needed |= d->needs && strcmp(d->needs, d->arguments[i].key) == 0;
	}
	return (copy && no_rx) || (d->needs && !needed) ? d->mistake : NULL;
}

const char *devargs_arguments_mistake(const char *devargs, bool pci)
{
	const struct driver *d = pci ? NULL : driver_of(devargs);
	const char *arguments = devargs + strcspn(devargs, ",");

	if (d)
		return check(d, arguments);
	if (arguments[strspn(arguments, ",")] == 0)
		return NULL;
	return pci ? "has arguments, which no PCI device is given; allowed: the address alone"
		   : "has arguments, which this driver is not given; allowed: the name alone";
}
