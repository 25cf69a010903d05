// SPDX-License-Identifier: BSD-3-Clause
// Frames of hostile tenants and a hostile uplink through the whole pipeline, and the one promise
// above all: nothing that red sends reaches blue, nothing that blue sends reaches red. Input:
// frames, each a byte that chooses the port and whether to mend the checksums, a 16-bit size, the
// bytes.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_switch.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
static const uint32_t ports[] = { RED_1, RED_2, BLUE_1, BLUE_2, UPLINK, TRUNK };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return fixture_eal(NULL) < 0 ? -1 : fixture_setup(NULL);
}

static void mend_l4(uint8_t *ip, size_t size, size_t ihl)
{
	size_t at = ip[9] == IPPROTO_TCP ? 16 : ip[9] == IPPROTO_UDP ? 6 : 2;
	uint32_t sum = ip[9] == IPPROTO_ICMP ? 0
					     : csum_pseudo_ipv4(((struct ipv4_hdr *)ip)->src,
						       ((struct ipv4_hdr *)ip)->dst, ip[9],
						       (uint16_t)(size - ihl));
	be16 csum;

	if (ihl + at + 2 > size)
		return;
	memset(ip + ihl + at, 0, 2);
	csum = csum_finish(csum_add(sum, ip + ihl, size - ihl));
	memcpy(ip + ihl + at, &csum, 2);
}

// Makes an untagged or once tagged IPv4 packet's sums right, if it is one.
static void mend(uint8_t *frame, size_t size)
{
	size_t off = size > 18 && frame[12] == 0x81 && frame[13] == 0 ? 18 : 14, ihl, total;
	uint8_t *ip = frame + off;
	be16 csum;

	if (size < off + 20)
		return;
	ihl = (ip[0] & 15) * 4u;
	total = (size_t)ip[2] << 8 | ip[3];
	if (ihl < 20 || off + ihl > size)
		return;
	if (total >= ihl && off + total <= size)
		mend_l4(ip, total, ihl);
	memset(ip + 10, 0, 2);
	csum = csum_finish(csum_add(0, ip, ihl));
	memcpy(ip + 10, &csum, 2);
}

static void check_isolation(uint32_t from)
{
	bool red = from == RED_1 || from == RED_2, blue = from == BLUE_1 || from == BLUE_2;

	if (red && (wires[BLUE_1]->n_out || wires[BLUE_2]->n_out))
		abort();
	// VLAN 20 is not on the trunk: blue reaches only its own and the uplink
	if (blue && (wires[RED_1]->n_out || wires[RED_2]->n_out || wires[TRUNK]->n_out))
		abort();
	if (from == TRUNK && (wires[BLUE_1]->n_out || wires[BLUE_2]->n_out))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size >= 3) {
		uint32_t from = ports[(data[0] & 0x7f) % 6];
		bool fix = data[0] & 0x80;
		size_t n = ((size_t)data[1] << 8 | data[2]) & 0x7ff;
		uint8_t frame[2048];

		data += 3;
		size -= 3;
		n = n < size ? n : size;
		memcpy(frame, data, n);
		if (fix)
			mend(frame, n);
		fixture_clear();
		if (n)
			fixture_send(from, frame, n);
		check_isolation(from);
		data += n;
		size -= n;
	}
	fuzz_forget();
	return 0;
}
