// SPDX-License-Identifier: BSD-3-Clause
// A disk's words on the command line: see virtio_blk.h.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/virtio_blk.h"

enum {
	WORD_FILE,
	WORD_VHOST_USER,
	WORD_READONLY,
	WORD_DIRECT,
	WORD_QUEUES,
	WORD_SERIAL,
	WORD_INODE,
	WORD_RATE
};

// DEV:INO in hexadecimal digits.
static bool set_inode(struct virtio_blk_options *o, const char *value)
{
	int n = 0;

	o->has_inode = sscanf(value, "%16" SCNx64 ":%16" SCNx64 "%n", &o->dev, &o->ino, &n) == 2;
	return o->has_inode && !value[n] && !strpbrk(value, "-+ xX");
}

static bool set(struct virtio_blk_options *o, int word, const char *value)
{
	char *end;
	unsigned long n;

	switch (word) {
	case WORD_FILE:
		o->path = value;
		return value && *value;
	case WORD_VHOST_USER:
		o->vhost_user = value;
		return value && *value;
	case WORD_READONLY:
		o->read_only = true;
		return !value;
	case WORD_DIRECT:
		o->direct = true;
		return !value;
	case WORD_QUEUES:
		n = value && *value != '-' ? strtoul(value, &end, 10) : 0;
		o->queues = (uint16_t)n;
		return n >= 1 && n <= VIRTIO_BLK_QUEUES && !*end;
	case WORD_SERIAL:
		o->serial = value;
		return value && strlen(value) <= VIRTIO_BLK_ID_BYTES;
	case WORD_INODE:
		return value && set_inode(o, value);
	default:
		return word >= WORD_RATE &&
		       rate_limits_parse(&o->limits, (unsigned int)(word - WORD_RATE), value);
	}
}

static int check(const struct virtio_blk_options *o, struct error *e)
{
	if (!o->path == !o->vhost_user)
		return error_set(
			e, EINVAL, "--disk: either file=PATH or vhost-user=PATH is needed");
	if (o->vhost_user && (o->read_only || o->direct || o->has_inode || *o->serial))
		return error_set(e, EINVAL,
			"--disk: vhost-user=%s: readonly, direct, inode and serial are its back "
			"end's",
			o->vhost_user);
	if (o->vhost_user && rate_limits_any(&o->limits))
		return error_set(e, EINVAL,
			"--disk: vhost-user=%s: its requests do not pass through here; "
			"qemu-storage-daemon limits them by driver=throttle",
			o->vhost_user);
	if (!rate_limits_sound(&o->limits))
		return error_set(e, EINVAL,
			"--disk: burst_bytes goes with bytes_per_s, burst_ops with ops_per_s");
	return 0;
}

int virtio_blk_parse(struct virtio_blk_options *ret_options, char *text, struct error *e)
{
	char *const words[] = { [WORD_FILE] = "file",
		[WORD_VHOST_USER] = "vhost-user",
		[WORD_READONLY] = "readonly",
		[WORD_DIRECT] = "direct",
		[WORD_QUEUES] = "queues",
		[WORD_SERIAL] = "serial",
		[WORD_INODE] = "inode",
		[WORD_RATE] = RATE_NAMES,
		NULL };
	struct virtio_blk_options o = { .queues = 1, .serial = "" };
	char *value;
	int err;

	while (*text) {
		int word = getsubopt(&text, words, &value);

		if (word < 0 || !set(&o, word, value))
			return error_set(e, EINVAL,
				"--disk: '%s%s%s': allowed are file=PATH or vhost-user=PATH, "
				"queues=1..%d, and of a file readonly, direct, serial=WORD (up to "
				"%d bytes), inode=DEV:INO, bytes_per_s=N, burst_bytes=N, "
				"ops_per_s=N, "
				"burst_ops=N (up to 10^12)",
				word < 0 ? value : words[word], word < 0 || !value ? "" : "=",
				word < 0 || !value ? "" : value, VIRTIO_BLK_QUEUES,
				VIRTIO_BLK_ID_BYTES);
	}
	err = check(&o, e);
	if (err < 0)
		return err;
	*ret_options = o;
	return 0;
}
