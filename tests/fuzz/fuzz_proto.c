// SPDX-License-Identifier: BSD-3-Clause
// Bytes of the control protocol, through the real socket code and the checks of both ends. Input:
// one message; magic, version and size are mended when the first byte is odd, the rest of that byte
// says how many fds come with it.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/proto_io.h"
#include "tests/fuzz/fuzz.h"

enum { FDS_MAX = 80 }; // more than are taken

static bool send_message(int to, void *data, size_t size, int fd, size_t n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control = { 0 };
	struct iovec iov = { data, size };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = &control.align;

	if (n_fds > 0) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	}
	return sendmsg(to, &mh, MSG_NOSIGNAL) >= 0;
}

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
	if (send_message(fds[0], copy, size - 1, fds[1], (data[0] >> 1) % (FDS_MAX + 1)) &&
		proto_recv(fds[1], m) == 0) {
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
