// SPDX-License-Identifier: BSD-3-Clause
// Ping answered in place. Input: how many bytes of the frame are contiguous (16 bits, 0 = all),
// then the frame. A refused frame is untouched; an answered one has right checksums where the
// request had.
#include <stdlib.h>
#include "dhcp/icmp_echo.h"
#include "tests/fuzz/fuzz.h"

static bool icmp_csum_right(const uint8_t *frame)
{
	struct ipv4_hdr ip;

	memcpy(&ip, frame + ETH_HDR_SIZE, sizeof(ip));
	return csum_finish(csum_add(0, frame + 34, ntohs(ip.total_len) - sizeof(ip))) == 0;
}

static void check_reply(const uint8_t *request, const uint8_t *reply, size_t size)
{
	CHECK(memcmp(reply, request + 6, 6) == 0 && memcmp(reply + 6, request, 6) == 0);
	CHECK(memcmp(reply + 26, request + 30, 4) == 0);
	CHECK(memcmp(reply + 30, request + 26, 4) == 0);
	CHECK(csum_finish(csum_add(0, reply + ETH_HDR_SIZE, IPV4_MIN_HDR_SIZE)) == 0);
	CHECK(reply[22] == 64 && reply[34] == ICMP_ECHO_REPLY && reply[35] == 0);
	CHECK(memcmp(reply + 38, request + 38, size - 38) == 0);
	CHECK(icmp_csum_right(request) == icmp_csum_right(reply));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t frame_size = size - 2;
	size_t here = (size_t)data[0] << 8 | data[1];
	if (here == 0 || here > frame_size)
		here = frame_size;

	uint8_t *copy = malloc(here > 0 ? here : 1);
	uint8_t *reply = malloc(frame_size > 0 ? frame_size : 1);
	CHECK(copy != NULL && reply != NULL);
	memcpy(copy, data + 2, here);
	int r = icmp_echo_reply_in_place(copy, here, frame_size);
	if (r != 0) {
		CHECK(memcmp(copy, data + 2, here) == 0);
	} else {
		memcpy(reply, data + 2, frame_size);
		memcpy(reply, copy, here);
		check_reply(data + 2, reply, frame_size);
	}
	free(copy);
	free(reply);
	return 0;
}
