// SPDX-License-Identifier: BSD-3-Clause
// A socket device's words on the command line: see virtio_vsock.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/virtio_vsock.h"

enum { WORD_CID, WORD_SOCKET };
enum { CID_MIN = 3 }; // 5.10.4: 0 and 1 are reserved, 2 is the host

static bool set(struct virtio_vsock_options *o, int word, const char *value)
{
	unsigned long long n;
	char *end;

	if (!value || !*value)
		return false;
	if (word == WORD_SOCKET) {
		o->path = value;
		return value[strlen(value) - 1] != '/';
	}
	errno = 0;
	n = strtoull(value, &end, 10);
	o->cid = (uint32_t)n;
	return *value >= '0' && *value <= '9' && !*end && !errno && n >= CID_MIN && n < UINT32_MAX;
}

int virtio_vsock_parse(struct virtio_vsock_options *ret_options, char *text, struct error *e)
{
	char *const words[] = { [WORD_CID] = "cid", [WORD_SOCKET] = "socket", NULL };
	struct virtio_vsock_options o = { 0 };
	char *value;

	while (*text) {
		int word = getsubopt(&text, words, &value);

		if (word < 0 || !set(&o, word, value))
			return error_set(e, EINVAL,
				"--vsock: '%s%s%s': allowed are cid=N (3 to 4294967294) and "
				"socket=PATH",
				word < 0 ? value : words[word], word < 0 || !value ? "" : "=",
				word < 0 || !value ? "" : value);
	}
	if (!o.cid || !o.path)
		return error_set(e, EINVAL, "--vsock: cid=N and socket=PATH are needed");
	*ret_options = o;
	return 0;
}
