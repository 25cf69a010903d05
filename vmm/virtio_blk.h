// SPDX-License-Identifier: BSD-3-Clause
// A disk (Virtual I/O Device 1.2, 5.2) that is a raw file or a block device of the host's. What is
// in it is never looked at: raw is raw. Each queue has a thread and a restricted io_uring
// (blk_queue.c); requests are checked in blk_request.c. Or another process serves its rings
// (vhost_blk.c).
#pragma once
#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine.h"
#include "vmm/rate.h"
#include "vmm/seldom.h"
#include "vmm/vhost_user.h"
#include "vmm/virtio.h"

enum { VIRTIO_BLK_QUEUES = 16, VIRTIO_BLK_QUEUE_SIZE = 128, VIRTIO_BLK_SECTOR = 512 };

struct virtio_blk_options {
	// One of the two, the other NULL.
	const char *path; // of the file
	const char *vhost_user; // path of a back end's socket
	const char *serial; // at most VIRTIO_BLK_ID_BYTES bytes
	uint16_t queues;
	bool read_only;
	bool direct; // past the host's page cache
	bool has_inode; // the file at the path is this one, or none that is wanted:
	uint64_t dev, ino; // as stat(2) has them
	struct rate_limits limits; // of a file: of all its queues together
};

struct blk_queue;

struct blk_errors {
	pthread_mutex_t lock; // of told
	struct seldom told;
};

struct virtio_blk {
	struct virtio_device device;
	struct machine *machine;
	struct virtio_blk_options options; // constant, as is all but wce in `space`
	int fd;
	bool is_device; // a block device
	uint64_t size; // bytes, whole sectors
	uint32_t alignment; // of what direct I/O is about, in bytes; 0: not direct
	struct virtio_blk_config space; // wce: atomic
	struct blk_queue *queues;
	struct rate rate;
	struct blk_errors errors;
	// with vhost_user, and then none of fd, is_device, size, alignment, queues, rate
	// and errors:
	struct vhost_user vhost;
	struct loop_source requests; // the back end's own; fd -1: none
};

// Parses "file=PATH[,readonly][,direct][,queues=N][,serial=S][,inode=DEV:INO]" and limits by
// their RATE_NAMES, or "vhost-user=PATH[,queues=N]"; changes `text`, which has to live as long as
// the disk.
int virtio_blk_parse(struct virtio_blk_options *ret_options, char *text, struct error *e);
// Opens the file, or connects to the back end, and plugs the disk in.
int virtio_blk_init(struct virtio_blk *b, struct machine *m,
	const struct virtio_blk_options *options, struct error *e);
// One of one queue and without file, not plugged in.
int virtio_blk_init_spare(struct virtio_blk *b, struct machine *m, struct error *e);
// A spare becomes the disk of `options`, whose path names the file that is open as `fd`, which is
// its own then. The options' texts live as long.
int virtio_blk_take(
	struct virtio_blk *b, const struct virtio_blk_options *options, int fd, struct error *e);
// Once it is unplugged: a spare, its file closed.
void virtio_blk_release(struct virtio_blk *b);
// Not before the machine was freed, which stops the disk.
void virtio_blk_free(struct virtio_blk *b);
// Other limits, at once, whatever waits for the former. -EOPNOTSUPP: its requests are another
// process's. On the device thread.
int virtio_blk_limit(struct virtio_blk *b, const struct rate_limits *limits);
