// SPDX-License-Identifier: BSD-3-Clause
// See net_tap.h.
#include "vmm/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BURST = 64, IOVECS = VIRTIO_QUEUE_SIZE_MAX, SECOND_NS = 1000000000 };
enum { LOOK_NS = SECOND_NS / 10 }; // who waits for tokens sees other limits after that

static void drain(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) == sizeof(count))
		;
}

static bool is_limited(const struct net_tap_way *w)
{
	return __atomic_load_n(&w->rate->limited, __ATOMIC_RELAXED);
}

// Whether a frame may go. If not, until_ns says when to ask again.
static bool may_go(struct net_tap_way *w)
{
	uint64_t now, wait;

	w->until_ns = 0;
	if (!is_limited(w))
		return true;
	now = rate_now_ns();
	wait = rate_begin(w->rate, now);
	if (wait)
		w->until_ns = now + (wait < LOOK_NS ? wait : LOOK_NS);
	return !wait;
}

static void pay(const struct net_tap_way *w, uint64_t size, uint16_t header)
{
	if (is_limited(w) && size > header)
		rate_pay(w->rate, size - header, rate_now_ns());
}

// Guest to tap: the kernel copies the header once, and checks what it says. What it does not take
// is lost, as on a wire. True if more may wait.
static bool transmit(struct net_tap_pair *p)
{
	struct iovec storage[IOVECS];
	struct virtq_chain chain = { .storage = storage, .max = IOVECS };
	int n = 0;

	for (; n < BURST && may_go(&p->out); n++) {
		if (virtq_next(&p->tx, &chain) != 1) {
			rate_give_back(p->out.rate);
			break;
		}
		pay(&p->out, chain.size_out, p->header);
		if (writev(p->tap, chain.iov, (int)chain.n_out) < 0 && errno == EINTR)
			writev(p->tap, chain.iov, (int)chain.n_out);
		virtq_push(&p->tx, chain.head, 0);
	}
	virtq_call(&p->tx);
	return n == BURST;
}

// 5.1.6.4: how many buffers the frame lies in is known when it is written: its place in the header
// of the first is filled in then.
static void put_byte(const struct iovec *iov, unsigned int n, size_t at, uint8_t byte)
{
	for (unsigned int i = 0; i < n; at -= iov[i++].iov_len)
		if (at < iov[i].iov_len) {
			((uint8_t *)iov[i].iov_base)[at] = byte;
			return;
		}
}

static void put_count(const struct iovec *first, unsigned int n_first, unsigned int count)
{
	const size_t at = offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers);

	put_byte(first, n_first, at, (uint8_t)count);
	put_byte(first, n_first, at + 1, (uint8_t)(count >> 8));
}

// One buffer's part. Returns bytes written.
static uint32_t fill(struct virtq_chain *chain, const uint8_t *from, uint32_t size)
{
	uint32_t n = chain->size_in < size ? (uint32_t)chain->size_in : size;

	return virtq_chain_write(chain, from, n) ? n : 0;
}

enum delivery { DELIVERED, NO_BUFFERS, TOO_LARGE };

// The frame that is held to the guest, all of it or nothing.
static enum delivery deliver(struct net_tap_pair *p)
{
	struct iovec storage[IOVECS], first[IOVECS];
	struct virtq_chain chain = { .storage = storage, .max = IOVECS };
	struct {
		uint16_t head;
		uint32_t size;
	} used[IOVECS];
	unsigned int n = 0, n_first = 0;
	uint32_t done = 0;

	while (done < p->held && n < IOVECS && (n == 0 || p->mergeable)) {
		if (virtq_next(&p->rx, &chain) != 1)
			break;
		if (n == 0) {
			n_first = chain.n_in;
			memcpy(first, chain.iov + chain.n_out, n_first * sizeof(first[0]));
		}
		used[n].head = chain.head;
		used[n].size = fill(&chain, p->frame + done, p->held - done);
		done += used[n++].size;
	}
	if (done < p->held) {
		bool hopeless = n == IOVECS || (n && !p->mergeable);

		while (n > 0)
			virtq_put_back(&p->rx, used[--n].head);
		return hopeless ? TOO_LARGE : NO_BUFFERS;
	}
	put_count(first, n_first, n);
	for (unsigned int i = 0; i < n; i++)
		virtq_push(&p->rx, used[i].head, used[i].size);
	return DELIVERED;
}

// Tap to guest. True if more may wait.
static bool receive(struct net_tap_pair *p)
{
	int n = 0;

	for (; n < BURST; n++) {
		if (!p->held) {
			ssize_t got;

			if (!may_go(&p->in))
				break;
			got = read(p->tap, p->frame, sizeof(p->frame));
			if (got <= p->header) {
				rate_give_back(p->in.rate);
				break;
			}
			p->held = (uint32_t)got;
			pay(&p->in, p->held, p->header);
		}
		if (deliver(p) == NO_BUFFERS)
			break;
		p->held = 0;
	}
	virtq_call(&p->rx);
	return n == BURST;
}

// Until the first of those that wait for tokens may look again; NULL: none does.
static struct timespec *time_left(const struct net_tap_pair *p, struct timespec *t)
{
	const uint64_t in = p->held ? 0 : p->in.until_ns, out = p->out.until_ns;
	const uint64_t until = !in || (out && out < in) ? out : in, now = rate_now_ns();
	const uint64_t left = until > now ? until - now : 0;

	if (!until)
		return NULL;
	*t = (struct timespec){ .tv_sec = (time_t)(left / SECOND_NS),
		.tv_nsec = (long)(left % SECOND_NS) };
	return t;
}

// A frame that is held waits for the guest's buffers, else the tap is waited for; what has no
// tokens waits for those alone.
static void wait(struct net_tap_pair *p, bool *ret_stop)
{
	const bool buffers = p->held, tap = !buffers && !p->in.until_ns;
	struct timespec left;
	struct pollfd fds[] = { { .fd = p->stop, .events = POLLIN },
		{ .fd = p->out.until_ns ? -1 : p->tx.kick, .events = POLLIN },
		{ .fd = buffers ? p->rx.kick
			: tap   ? p->tap
				: -1,
			.events = POLLIN } };

	if (ppoll(fds, 3, time_left(p, &left), NULL) < 0)
		return;
	*ret_stop = fds[0].revents;
	if (fds[1].revents)
		drain(p->tx.kick);
	if (fds[2].revents && buffers)
		drain(p->rx.kick);
}

static void carry(struct net_tap_pair *p)
{
	bool stop = false;

	while (!stop) {
		bool more;

		virtq_suppress(&p->tx);
		virtq_suppress(&p->rx);
		more = transmit(p);
		more = receive(p) || more;
		if (more || (!p->out.until_ns && virtq_arm(&p->tx)) ||
			(p->held && virtq_arm(&p->rx))) {
			struct pollfd asked = { .fd = p->stop, .events = POLLIN };

			stop = poll(&asked, 1, 0) == 1;
			continue;
		}
		wait(p, &stop);
	}
}

// True when there is something to carry, false when it is to leave.
static bool rest(struct net_tap_pair *p)
{
	bool leave;

	pthread_mutex_lock(&p->lock);
	while (p->want == NET_TAP_REST) {
		p->rests = true;
		pthread_cond_broadcast(&p->changed);
		pthread_cond_wait(&p->changed, &p->lock);
	}
	leave = p->want == NET_TAP_LEAVE;
	p->rests = false;
	pthread_mutex_unlock(&p->lock);
	return !leave;
}

static void *run(void *arg)
{
	while (rest(arg))
		carry(arg);
	return NULL;
}

static void command(struct net_tap_pair *p, int want)
{
	pthread_mutex_lock(&p->lock);
	p->want = want;
	p->rests = p->rests && want != NET_TAP_CARRY;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

// -ENODEV: there is none. TUNSETIFF would make one, which nobody knows of.
static int open_tap(const char *name, bool many)
{
	struct ifreq request = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						      (many ? IFF_MULTI_QUEUE : 0)) };
	int fd, err;

	if (strlen(name) >= sizeof(request.ifr_name))
		return -ENAMETOOLONG;
	strcpy(request.ifr_name, name);
	if (!if_nametoindex(name))
		return -errno;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFF, &request) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static const char *hint(int err)
{
	switch (err) {
	case -ENODEV:
		return "; there is no such interface: ip tuntap add NAME mode tap";
	case -EPERM:
		return "; it is somebody else's, and takes CAP_NET_ADMIN";
	case -EINVAL:
		return "; it is no tap, or not one of so many queues (multi_queue)";
	}
	return "";
}

static int open_pair(struct net_tap *t, struct net_tap_pair *p, const char *name, bool many)
{
	p->device = t->device;
	p->in.rate = &t->in;
	p->out.rate = &t->out;
	p->rests = true;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->tap = open_tap(name, many);
	if (p->tap < 0)
		return p->tap;
	p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop >= 0)
		return 0;
	int err = -errno;

	close(p->tap);
	return err;
}

int net_tap_init(struct net_tap *t, struct virtio_device *device, const char *name, uint16_t pairs,
	const struct rate_limits *limits, struct error *e)
{
	*t = (struct net_tap){ .device = device };
	rate_init(&t->in, limits, rate_now_ns());
	rate_init(&t->out, limits, rate_now_ns());
	t->pairs = calloc(pairs, sizeof(*t->pairs));
	if (!t->pairs)
		return error_set(e, ENOMEM, "tap %s: no memory", name);
	for (; t->n_pairs < pairs; t->n_pairs++) {
		int err = open_pair(t, &t->pairs[t->n_pairs], name, pairs > 1);

		if (err < 0) {
			net_tap_free(t);
			return error_set(e, -err, "tap %s: %s%s", name, strerror(-err), hint(err));
		}
	}
	return 0;
}

void net_tap_free(struct net_tap *t)
{
	while (t->n_pairs > 0) {
		struct net_tap_pair *p = &t->pairs[--t->n_pairs];

		if (p->begun) {
			command(p, NET_TAP_LEAVE);
			pthread_join(p->thread, NULL);
		}
		close(p->tap);
		close(p->stop);
	}
	free(t->pairs);
	t->pairs = NULL;
	rate_free(&t->in);
	rate_free(&t->out);
}

int net_tap_begin(struct net_tap *t, const struct confine *confine)
{
	sigset_t all, before;
	int err = 0;

	sigfillset(&all); // they are for the device thread
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint16_t i = 0; err == 0 && i < t->n_pairs; i++) {
		struct net_tap_pair *p = &t->pairs[i];

		err = confine_start_thread(confine, CONFINE_IO, run, p, &p->thread);
		p->begun = err == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

// What the tap may leave undone in what it hands out: the guest will do it.
static int set_offloads(const struct net_tap_pair *p)
{
	const struct virtio_device *d = p->device;
	unsigned int flags = 0;
	int header = p->header;

	if (virtio_has(d, VIRTIO_NET_F_GUEST_CSUM))
		flags |= TUN_F_CSUM;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	if (virtio_has(d, VIRTIO_NET_F_GUEST_ECN) && flags & (TUN_F_TSO4 | TUN_F_TSO6))
		flags |= TUN_F_TSO_ECN;
	if (ioctl(p->tap, TUNSETVNETHDRSZ, &header) < 0 || ioctl(p->tap, TUNSETOFFLOAD, flags) < 0)
		return -errno;
	return 0;
}

static int start_pair(struct net_tap_pair *p, unsigned int queue)
{
	int err;

	p->header = sizeof(struct virtio_net_hdr_mrg_rxbuf); // always, with VERSION_1 (5.1.6)
	p->mergeable = virtio_has(p->device, VIRTIO_NET_F_MRG_RXBUF);
	p->held = 0;
	drain(p->stop);
	err = virtq_start(&p->rx, p->device, queue);
	if (err == 0)
		err = virtq_start(&p->tx, p->device, queue + 1);
	if (err == 0)
		err = set_offloads(p);
	if (err == 0)
		command(p, NET_TAP_CARRY);
	return err;
}

// The kernel spreads frames over the queues that are attached.
void net_tap_use(struct net_tap *t, uint16_t pairs)
{
	for (uint16_t i = 0; t->n_pairs > 1 && i < t->n_pairs; i++) {
		struct ifreq r = { .ifr_flags = (short)(i < pairs ? IFF_ATTACH_QUEUE
								  : IFF_DETACH_QUEUE) };

		ioctl(t->pairs[i].tap, TUNSETQUEUE, &r); // -EINVAL: it is so already
	}
}

int net_tap_start(struct net_tap *t)
{
	for (t->n_running = 0; t->n_running < t->n_pairs; t->n_running++) {
		const struct virtio_queue *q = &t->device->queues[2 * t->n_running];
		int err;

		if (!q[0].enabled || !q[1].enabled) // the driver uses fewer
			break;
		err = start_pair(&t->pairs[t->n_running], 2u * t->n_running);
		if (err < 0) {
			net_tap_stop(t);
			return err;
		}
	}
	return 0;
}

static void wake(const struct net_tap_pair *p)
{
	const uint64_t one = 1;

	if (write(p->stop, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

static void stop_pair(struct net_tap_pair *p)
{
	command(p, NET_TAP_REST);
	wake(p);
	pthread_mutex_lock(&p->lock);
	while (!p->rests)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void net_tap_stop(struct net_tap *t)
{
	for (; t->n_running > 0; t->n_running--)
		stop_pair(&t->pairs[t->n_running - 1]);
}

void net_tap_limit(struct net_tap *t, const struct rate_limits *limits)
{
	rate_set(&t->in, limits, rate_now_ns());
	rate_set(&t->out, limits, rate_now_ns());
}

void net_tap_hold(struct net_tap *t, bool held)
{
	for (uint16_t i = 0; i < t->n_running; i++) {
		struct net_tap_pair *p = &t->pairs[i];

		if (held) {
			stop_pair(p);
		} else {
			drain(p->stop);
			command(p, NET_TAP_CARRY);
		}
	}
}
