// SPDX-License-Identifier: BSD-3-Clause
// See blk_queue.h. blk_io.c has what a request does on its ring.
#include "vmm/blk_queue.h"

#include <errno.h>
#include <linux/falloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "vmm/blk_error.h"
#include "vmm/blk_io.h"

// The ring's files, and what its completions are of that are no request's.
enum { FILE_KICK = BLK_IO_FILES, FILE_COMMAND, FILE_TIMER, FILES };
enum { ENTRIES = 2 * BLK_QUEUE_REQUESTS };

static void watch(struct blk_queue *q, unsigned int file)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	io_uring_prep_poll_add(sqe, (int)file, POLLIN);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, file);
}

static void drain(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return; // somebody else's reset has
}

static void take_command(struct blk_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->serves = q->want == BLK_QUEUE_SERVE;
	if (!q->serves && q->n_flying == 0 && !q->rests) {
		q->rests = true;
		pthread_cond_broadcast(&q->changed);
	}
	pthread_mutex_unlock(&q->lock);
}

// The disk's bytes, not the chain's, which has header and status too.
static void count_bytes(const struct blk_queue *q, const struct blk_request *r)
{
	struct virtio_queue *counted = q->virtq.counted;

	if (r->status != VIRTIO_BLK_S_OK)
		return;
	if (r->asked == BLK_READ)
		__atomic_fetch_add(&counted->n_read, r->size, __ATOMIC_RELAXED);
	else if (r->asked == BLK_WRITE)
		__atomic_fetch_add(&counted->n_written, r->size, __ATOMIC_RELAXED);
}

// Answers it; it is free again.
static void finish(struct blk_queue *q, struct blk_request *r)
{
	uint64_t written = r->written + (r->written == r->size_in);

	if (r->error)
		blk_error(q->disk, q->index, r);
	count_bytes(q, r);
	*(volatile uint8_t *)r->ret_status = r->status;
	virtq_push(&q->virtq, r->chain.head, written < UINT32_MAX ? (uint32_t)written : UINT32_MAX);
	r->next = q->free;
	q->free = r;
}

static void begin(struct blk_queue *q, struct blk_request *r)
{
	if (r->action == BLK_ANSWER || !blk_io_begin(q->disk, &q->ring, r))
		finish(q, r);
	else
		q->n_flying++;
}

// False: the disk's limits say not yet; the timer tells when.
static bool may_take(struct blk_queue *q)
{
	enum { SECOND_NS = 1000000000 };
	struct itimerspec when = { 0 };
	uint64_t ns;

	if (!__atomic_load_n(&q->disk->rate.limited, __ATOMIC_RELAXED))
		return true;
	ns = rate_begin(&q->disk->rate, rate_now_ns());
	if (!ns)
		return true;
	when.it_value.tv_sec = (time_t)(ns / SECOND_NS);
	when.it_value.tv_nsec = (long)(ns % SECOND_NS);
	q->waits = timerfd_settime(q->timer, 0, &when, NULL) == 0;
	return !q->waits;
}

// What the host moves for it. What is discarded is not.
static void pay(struct blk_queue *q, const struct blk_request *r)
{
	const bool moves = r->action == BLK_READ || r->action == BLK_WRITE ||
			   r->action == BLK_ZERO || r->action == BLK_ZERO_KEEP;

	if (moves && __atomic_load_n(&q->disk->rate.limited, __ATOMIC_RELAXED))
		rate_pay(&q->disk->rate, r->size, rate_now_ns());
}

// Bounded: a guest may offer new ones for ever.
static void take_some(struct blk_queue *q)
{
	for (unsigned int i = 0; i < BLK_QUEUE_REQUESTS; i++) {
		struct blk_request *r = q->free;

		if (!r || !may_take(q))
			return;
		if (virtq_next(&q->virtq, &r->chain) != 1) {
			rate_give_back(&q->disk->rate);
			return;
		}
		if (blk_request_check(r, q->disk) < 0) {
			virtq_break(&q->virtq);
			return;
		}
		r->asked = r->action;
		pay(q, r);
		q->free = r->next;
		begin(q, r);
	}
}

// True if there is more to take. While no request is free, kicks stay off: one that becomes free
// looks again.
static bool serve(struct blk_queue *q)
{
	if (!q->serves || q->waits)
		return false;
	virtq_suppress(&q->virtq);
	take_some(q);
	virtq_call(&q->virtq);
	return q->free && !q->waits && virtq_arm(&q->virtq);
}

static void completed(struct blk_queue *q, uint64_t data, int result)
{
	struct blk_request *r;

	if (data < FILES) {
		drain(data == FILE_KICK      ? q->disk->device.queues[q->index].kick
			: data == FILE_TIMER ? q->timer
					     : q->command);
		q->waits = q->waits && data == FILE_KICK;
		watch(q, (unsigned int)data);
		return;
	}
	r = (struct blk_request *)(uintptr_t)data;
	if (blk_io_continue(q->disk, &q->ring, r, result))
		return;
	q->n_flying--;
	finish(q, r);
}

static bool leaves(struct blk_queue *q)
{
	bool leave;

	pthread_mutex_lock(&q->lock);
	leave = q->want == BLK_QUEUE_LEAVE && q->rests;
	pthread_mutex_unlock(&q->lock);
	return leave;
}

static void *run(void *arg)
{
	struct blk_queue *q = arg;
	struct io_uring_cqe *cqe;
	bool more = false;

	watch(q, FILE_KICK);
	watch(q, FILE_COMMAND);
	watch(q, FILE_TIMER);
	do {
		io_uring_submit_and_wait(&q->ring, more ? 0 : 1);
		while (io_uring_peek_cqe(&q->ring, &cqe) == 0) {
			const uint64_t data = io_uring_cqe_get_data64(cqe);
			const int result = cqe->res;

			io_uring_cqe_seen(&q->ring, cqe);
			completed(q, data, result);
		}
		take_command(q);
		more = serve(q);
	} while (!leaves(q));
	return NULL;
}

static int make_ring(struct blk_queue *q)
{
	static const uint8_t OPS[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
		IORING_OP_FALLOCATE, IORING_OP_POLL_ADD };
	const int fds[FILES] = { [BLK_IO_FILE] = q->disk->fd,
		[FILE_KICK] = q->disk->device.queues[q->index].kick,
		[FILE_COMMAND] = q->command,
		[FILE_TIMER] = q->timer };

	return uring_init(&q->ring, ENTRIES, fds, FILES, OPS, sizeof(OPS));
}

int blk_queue_set_file(struct blk_queue *q, int fd)
{
	return uring_set_file(&q->ring, BLK_IO_FILE, fd);
}

int blk_queue_begin(struct blk_queue *q, const struct confine *confine)
{
	sigset_t all, before;
	int err;

	sigfillset(&all); // they are for the device thread
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = confine_start_thread(confine, CONFINE_IO, run, q, &q->thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	q->begun = err == 0;
	return err;
}

int blk_queue_init(struct blk_queue *q, struct virtio_blk *disk, unsigned int index)
{
	int err;

	q->disk = disk;
	q->index = index;
	q->rests = true;
	for (unsigned int i = 0; i < BLK_QUEUE_REQUESTS; i++) {
		struct blk_request *r = &q->requests[i];

		r->chain.storage = r->storage;
		r->chain.max = VIRTIO_BLK_QUEUE_SIZE;
		r->next = q->free;
		q->free = r;
	}
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	q->command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->command < 0)
		return -errno;
	q->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = q->timer < 0 ? -errno : make_ring(q);
	if (err == 0)
		return 0;
	if (q->timer >= 0)
		close(q->timer);
	close(q->command);
	return err;
}

// Lock held.
static void command(struct blk_queue *q, int want)
{
	const uint64_t one = 1;

	q->want = want;
	if (write(q->command, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

void blk_queue_free(struct blk_queue *q)
{
	pthread_mutex_lock(&q->lock);
	command(q, BLK_QUEUE_LEAVE);
	pthread_mutex_unlock(&q->lock);
	if (q->begun)
		pthread_join(q->thread, NULL);
	io_uring_queue_exit(&q->ring);
	close(q->timer);
	close(q->command);
}

int blk_queue_prepare(struct blk_queue *q)
{
	int err = virtq_start(&q->virtq, &q->disk->device, q->index);

	q->virtq.counts_none = true;
	return err;
}

void blk_queue_serve(struct blk_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->rests = false;
	command(q, BLK_QUEUE_SERVE);
	pthread_mutex_unlock(&q->lock);
}

void blk_queue_hold(struct blk_queue *q, bool held)
{
	pthread_mutex_lock(&q->lock);
	q->rests = q->rests && held;
	command(q, held ? BLK_QUEUE_REST : BLK_QUEUE_SERVE);
	pthread_mutex_unlock(&q->lock);
}

void blk_queue_look(struct blk_queue *q)
{
	const uint64_t one = 1;

	if (write(q->command, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

void blk_queue_rest(struct blk_queue *q)
{
	pthread_mutex_lock(&q->lock);
	if (!q->rests)
		command(q, BLK_QUEUE_REST);
	while (!q->rests)
		pthread_cond_wait(&q->changed, &q->lock);
	pthread_mutex_unlock(&q->lock);
}
