// SPDX-License-Identifier: BSD-3-Clause
// What devargs name: "0000:01:00.0", "pci:01:00.0" or a driver's "net_null0,ARGS". insulad and
// the switch both ask: DPDK takes more (bus=, class=, other buses), and dies of some of it.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
	DEVARGS_ADDRESS_SIZE = 20, // the longest: 12345678:01:00.0
};

enum devargs_user { DEVARGS_NIC, DEVARGS_TRUNK, DEVARGS_UPLINK, DEVARGS_USER_COUNT };

// The PCI address as in sysfs ("0000:01:00.0") if they name a PCI device.
bool devargs_address(const char *devargs, char ret_address[DEVARGS_ADDRESS_SIZE]);
// What is wrong with them and what is right, to go on from "devargs X "; NULL = nothing.
const char *devargs_mistake(const char *devargs);
// Is no driver for such a name linked into the switch, as far as names tell? Then that is said.
bool devargs_unknown(const char *devargs, char *text, size_t size);
void devargs_no_driver(const char *devargs, char *text, size_t size);
// Does its driver need a right that the switch never has (an ordinary user, no capabilities, unix
// sockets only)? Then that is said, and what does the same for such a port.
bool devargs_out_of_reach(const char *devargs, enum devargs_user user, char *text, size_t size);
