// SPDX-License-Identifier: BSD-3-Clause
// Devargs as insulad and the switch read them: what is a PCI address, what a driver, and what of
// DPDK's own syntax is neither.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "control/devargs.h"

#define LETTERS_64 "net_567890123456789012345678901234567890123456789012345678901234"

static void addresses(void **state)
{
	const struct {
		const char *devargs, *address;
	} cases[] = { { "0000:01:00.0", "0000:01:00.0" }, { "01:00.0", "0000:01:00.0" },
		{ "pci:01:00.1,mrg_rxbuf=0", "0000:01:00.1" }, { "10000:0a:1f.7", "10000:0a:1f.7" },
		{ "fffffff0:FF:1F.7", "fffffff0:ff:1f.7" }, { "0:1:2.3", "0000:01:02.3" },
		{ "0000:01:00", NULL }, { "0000:01:00.0x", NULL }, { "0000:01:00.8", NULL },
		{ "0000:01:20.0", NULL }, { "0000:001:00.0", NULL }, { "123456789:01:00.0", NULL },
		{ "-1:00:00.0", NULL }, { " 1:00:00.0", NULL }, { "+1:00.0", NULL },
		{ "0x1:00:00.0", NULL }, { "00:-1.0", NULL }, { "0000:00:03.0/../..", NULL },
		{ "pci:0000:00:zz.0", NULL }, { "pci:pci:01:00.0", NULL }, { ":00.0", NULL },
		{ "net_null0", NULL }, { "pci:", NULL }, { "", NULL },
		{ "net_af_packet0,iface=01:00.0", NULL } };
	char address[DEVARGS_ADDRESS_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (devargs_address(cases[i].devargs, address) != (cases[i].address != NULL))
			fail_msg("%s", cases[i].devargs);
		if (cases[i].address)
			assert_string_equal(address, cases[i].address);
	}
}

static void mistakes(void **state)
{
	const struct {
		const char *devargs, *words;
	} cases[] = { { "net_null0", NULL }, { "eth_null0,size=64,copy=1", NULL },
		{ "0000:01:00.0,x=y", NULL }, { "net_virtio_user0,path=/run/x/y", NULL },
		{ "net_null0,", NULL }, { "class=eth", "selects" }, { "bus=pci", "selects" },
		{ "bus=vdev,name=net_null0", "selects" }, { "driver=net_null", "selects" },
		{ "net_null0/class=eth", "selects" }, { "net_null0,x=/y/class=", "selects" },
		{ "0000:00:03.0/bus=", "selects" }, { "net_null0,/driver=x", "selects" },
		{ "net_null0/x", "names no device" }, { "bus", "names no device" },
		{ "pci", "names no device" }, { "vdevxnet_null0", "names no device" },
		{ ",", "names no device" }, { "", "names no device" }, { "a b", "names no device" },
		{ "net_nüll0", "names no device" }, { LETTERS_64, "names no device" },
		{ "vdev:net_null0", "malformed PCI address" }, { "pci:", "malformed PCI address" },
		{ "pci:0000:00:zz.0", "malformed PCI address" },
		{ "-1:00:00.0", "malformed PCI address" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *said = devargs_mistake(cases[i].devargs);

		if (!said != !cases[i].words || (said && !strstr(said, cases[i].words)))
			fail_msg("%s: %s", cases[i].devargs, said ? said : "taken");
	}
}

static void rights_the_switch_never_has(void **state)
{
	const struct {
		const char *devargs, *needs, *instead;
		enum devargs_user user;
	} cases[] = { { "net_af_packet0,iface=eth1", "CAP_NET_RAW",
			      "use `interface`, of a nic with `type: packet` instead",
			      DEVARGS_NIC },
		{ "eth_af_packet0,iface=eth1", "CAP_NET_RAW", "`type: packet`", DEVARGS_NIC },
		{ "net_af_packet0", "CAP_NET_RAW", "`interface`", DEVARGS_NIC },
		{ "net_af_packet0", "CAP_NET_RAW", "use `interface` instead", DEVARGS_TRUNK },
		{ "net_af_xdp0", "CAP_NET_RAW", "use `interface` instead", DEVARGS_UPLINK },
		{ "net_tap0", "CAP_NET_ADMIN", "use a nic of `type: tap` instead", DEVARGS_NIC },
		{ "net_tap0", "CAP_NET_ADMIN", "use `interface` instead", DEVARGS_TRUNK },
		{ "net_virtio_user0,path=/dev/vhost-net", "CAP_NET_ADMIN", "`type: tap`",
			DEVARGS_NIC },
		{ "net_virtio_user0,path=/dev/vhost-net", "CAP_NET_ADMIN",
			"use `mode: nat` instead", DEVARGS_UPLINK },
		{ "net_virtio_user0,path=/run/x", NULL, NULL, DEVARGS_NIC },
		{ "net_null0", NULL, NULL, DEVARGS_NIC },
		{ "net_null0,x=net_tap", NULL, NULL, DEVARGS_NIC },
		{ "0000:01:00.0", NULL, NULL, DEVARGS_NIC } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[240] = "";

		if (devargs_out_of_reach(cases[i].devargs, cases[i].user, text, sizeof(text)) !=
			(cases[i].needs != NULL))
			fail_msg("%s: %s", cases[i].devargs, text);
		if (cases[i].needs &&
			(!strstr(text, cases[i].needs) || !strstr(text, cases[i].instead)))
			fail_msg("%s: %s", cases[i].devargs, text);
	}
}

static void drivers_not_linked_in(void **state)
{
	const char *const known[] = { "net_null0", "net_null0,size=64", "net_virtio_user0,path=/x",
		"0000:01:00.0", "eth_null0" };
	char text[240] = "";

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (devargs_unknown(known[i], text, sizeof(text)))
			fail_msg("%s: %s", known[i], text);
	assert_true(devargs_unknown("net_foo0,x=net_null0", text, sizeof(text)));
	assert_non_null(strstr(text, "no driver for 'net_foo0,x=net_null0'; linked in are "));
	assert_non_null(strstr(text, "net_null"));
	assert_true(devargs_unknown("net_nul", text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(rights_the_switch_never_has),
		cmocka_unit_test(drivers_not_linked_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
