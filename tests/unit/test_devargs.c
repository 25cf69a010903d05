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

// words: NULL = none is expected
static void check_mistake(const char *devargs, const char *words)
{
	const char *said = devargs_mistake(devargs);

	bool right = said && words ? strstr(said, words) != NULL : !said && !words;

	if (!right)
		fail_msg("%s: %s", devargs, said ? said : "taken");
}

static void mistakes(void **state)
{
	const struct {
		const char *devargs, *words;
	} cases[] = { { "net_null0", NULL }, { "eth_null0,size=64,copy=1", NULL },
		{ "net_virtio_user0,path=/run/x/y", NULL }, { "net_null0,", NULL },
		{ "class=eth", "selects" }, { "bus=pci", "selects" },
		{ "bus=vdev,name=net_null0", "selects" }, { "driver=net_null", "selects" },
		{ "net_null0/class=eth", "selects" }, { "net_null0,x=/y/class=", "selects" },
		{ "0000:00:03.0/bus=", "selects" }, { "net_null0,/driver=x", "selects" },
		{ "net_virtio_user0,path=/tmp/eb/bus=1",
			"middle of a path; allowed: another path" },
		{ "net_virtio_user0,path=/tmp/bus/x=bus=1", NULL },
		{ "net_null0/x", "names no device" }, { "bus", "names no device" },
		{ "pci", "names no device" }, { "vdevxnet_null0", "names no device" },
		{ ",", "names no device" }, { "", "names no device" }, { "a b", "names no device" },
		{ "net_nüll0", "names no device" }, { LETTERS_64, "names no device" },
		{ "vdev:net_null0", "malformed PCI address" }, { "pci:", "malformed PCI address" },
		{ "pci:0000:00:zz.0", "malformed PCI address" },
		{ "-1:00:00.0", "malformed PCI address" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_mistake(cases[i].devargs, cases[i].words);
}

// Nothing reaches a driver that is not known to be harmless.
static void arguments(void **state)
{
	static const char *const taken[] = { "net_null0,,size=60,", "net_null0,size=1514,no-rx=1",
		"eth_null0,copy=1,no-rx=0", "net_ring0", "eth_ring0,",
		"net_af_packet0,iface=port-a,qpairs=2", "0000:01:00.0,", "net_foo0",
		"net_virtio_user0,path=/x,mac=02:00:00:00:0A:ff,queues=8,queue_size=1024" };
	static const struct {
		const char *devargs, *words;
	} refused[] = { { "net_ring0,internal=0x1234", "the name alone" },
		{ "eth_ring5,internal=1", "the name alone" },
		{ "net_ring0,nodeaction=a:0:ATTACH", "the name alone" },
		{ "net_null0,size=0", "size=60 to 1514" }, { "net_null0,size=59", "size=60" },
		{ "net_null0,size=1515", "size=60" }, { "net_null0,size=9000000000", "size=60" },
		{ "net_null0,size=0x40", "size=60" }, { "net_null0,size=-1", "size=60" },
		{ "net_null0,size=", "size=60" }, { "net_null0,size", "size=60" },
		{ "net_null0,size=[64", "size=60" }, { "net_null0,size=064", "size=60" },
		{ "net_null0,size=64,size=65", "size=60" }, { "net_null0,copy=2", "size=60" },
		{ "net_null0,bogus=1", "size=60" }, { "net_null0,server=1", "size=60" },
		{ "net_null0,copy=1,no-rx=1", "copy=1 or no-rx=1" },
		{ "net_virtio_user0", "no path" }, { "net_virtio_user0,queues=1", "no path" },
		{ "net_virtio_user0,path=/x,server=1", "`type: vhost-user`" },
		{ "net_virtio_user0,server=1,path=/x", "`type: vhost-user`" },
		{ "net_virtio_user0,path=x", "path=/SOCKET" },
		{ "net_virtio_user0,path=[/x]", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,queues=9", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,queue_size=0", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,queue_size=100", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,mac=2", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,mac=02-00-00-00-00-01", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,vectorized=1", "path=/SOCKET" },
		{ "net_virtio_user0,path=/x,iface=eth0", "path=/SOCKET" },
		{ "net_af_packet0,framesz=9", "iface=NAME" }, { "net_foo0,x=1", "the name alone" },
		{ "0000:01:00.0,x=y", "no PCI device" },
		{ "pci:01:00.0,representor=0", "no PCI device" } };

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		check_mistake(taken[i], NULL);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		check_mistake(refused[i].devargs, refused[i].words);
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
		{ "net_virtio_user0,queues=2,path=/dev/vhost-net,", "CAP_NET_ADMIN", "`type: tap`",
			DEVARGS_NIC },
		{ "net_virtio_user0,path=/dev/vhost-network.sock", NULL, NULL, DEVARGS_NIC },
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
	assert_non_null(strstr(text, "net_virtio_user"));
	assert_null(strstr(text, "net_af_packet"));
	assert_true(devargs_unknown("net_nul", text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(arguments),
		cmocka_unit_test(rights_the_switch_never_has),
		cmocka_unit_test(drivers_not_linked_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
