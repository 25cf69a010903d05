// SPDX-License-Identifier: BSD-3-Clause
// Bytes of the control protocol, through the real socket code and the checks of both ends. Input:
// one message; magic, version and size are mended when the first byte is odd.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/proto_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proto_message *m = malloc(sizeof(*m));
	uint8_t *copy;
	int fds[2];

	if (size < 2 || size > 4096 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) < 0) {
		free(m);
		return 0;
	}
	copy = malloc(size - 1);
	memcpy(copy, data + 1, size - 1);
	if ((data[0] & 1) && size - 1 >= sizeof(struct proto_header)) {
		struct proto_header h;

		memcpy(&h, copy, sizeof(h));
		proto_header_init(&h, h.type, h.seq, size - 1);
		memcpy(copy, &h, sizeof(h));
	}
	if (send(fds[0], copy, size - 1, 0) >= 0 && proto_recv(fds[1], m) == 0) {
		if (m->size != size - 1)
			abort();
		proto_check_request(m);
		proto_check_reply(m, m->h.type & 0x7fff, m->h.seq);
		proto_check_event(m);
		proto_message_clear(m);
	}
	close(fds[0]);
	close(fds[1]);
	free(copy);
	free(m);
	return 0;
}
