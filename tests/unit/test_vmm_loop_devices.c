// SPDX-License-Identifier: BSD-3-Clause
// Devices that the device thread serves: randomness, balloon, console. A machine without KVM, whose
// loop this test runs, and rings in its memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_console.h"
#include "vmm/virtio_rng.h"

enum { SIZE = 8, RINGS = 0x10000, RING = 0x1000, AVAILABLE = 0x400, USED = 0x800 };
enum { DATA = 0x20000, MIB = 1 << 20, PAGE = 4096, WRITE = VRING_DESC_F_WRITE };

static uint8_t *at(struct machine *m, uint64_t address)
{
	return guest_memory_at(&m->memory, address, 1);
}

static struct machine *machine_without_kvm(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->vm = -1;
	pthread_mutex_init(&m->lock, NULL);
	assert_int_equal(loop_init(&m->loop), 0);
	assert_int_equal(guest_memory_init(&m->memory, 2 * MIB, false, NULL), 0);
	assert_int_equal(pci_init(&m->pci, &m->mmio, &m->pio), 0);
	return m;
}

static void machine_without_kvm_free(struct machine *m)
{
	while (m->n_devices > 0) {
		virtio_pci_free(m->devices[--m->n_devices]);
		free(m->devices[m->n_devices]);
	}
	loop_free(&m->loop);
	guest_memory_free(&m->memory);
	free(m);
}

static void start(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->n_queues; i++) {
		struct virtio_queue *q = &d->queues[i];

		q->size = SIZE;
		q->enabled = true;
		q->descriptors = RINGS + i * RING;
		q->available = q->descriptors + AVAILABLE;
		q->used = q->descriptors + USED;
	}
	assert_int_equal(d->ops->start(d), 0);
	d->started = true;
}

static bool is_broken(const struct virtio_device *d)
{
	const struct virtio_pci *t = d->transport;

	return t->status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

// Until there is no event.
static void settle(struct machine *m)
{
	struct pollfd p = { .fd = m->loop.epoll, .events = POLLIN };
	uint64_t count;

	do {
		loop_stop(&m->loop);
		assert_int_equal(loop_run(&m->loop), 0);
		assert_int_equal(read(m->loop.stop, &count, sizeof(count)), sizeof(count));
	} while (poll(&p, 1, 0) == 1);
}

static const struct vring_used *used(struct machine *m, unsigned int queue)
{
	return (const struct vring_used *)at(m, RINGS + queue * RING + USED);
}

// One buffer, and a kick; then the device has done what it wants to.
static void offer(struct machine *m, struct virtio_device *d, unsigned int queue, uint64_t address,
	uint32_t size, uint16_t flags)
{
	struct vring_desc *descriptors = (struct vring_desc *)at(m, RINGS + queue * RING);
	struct vring_avail *a = (struct vring_avail *)at(m, RINGS + queue * RING + AVAILABLE);
	const uint16_t head = a->idx % SIZE;
	const uint64_t one = 1;

	descriptors[head] = (struct vring_desc){ address, size, flags, 0 };
	a->ring[head] = head;
	a->idx++;
	assert_int_equal(write(d->queues[queue].kick, &one, sizeof(one)), sizeof(one));
	settle(m);
}

static void rng(void **state)
{
	struct machine *m = machine_without_kvm();
	struct virtio_rng r;
	uint8_t none[64] = { 0 };

	assert_int_equal(virtio_rng_init(&r, m, NULL), 0);
	start(&r.device);
	offer(m, &r.device, 0, DATA, 64, WRITE);
	assert_int_equal(used(m, 0)->idx, 1);
	assert_int_equal(used(m, 0)->ring[0].len, 64);
	assert_memory_not_equal(at(m, DATA), none, 64);
	assert_memory_equal(at(m, DATA + 64), none, 64);
	offer(m, &r.device, 0, DATA, 65536, WRITE); // any number is an answer
	assert_int_equal(used(m, 0)->ring[1].len, 256);
	offer(m, &r.device, 0, DATA, 64, 0);
	assert_true(is_broken(&r.device));
	offer(m, &r.device, 0, DATA, 64, WRITE);
	assert_int_equal(used(m, 0)->idx, 2);
	machine_without_kvm_free(m);
	virtio_rng_free(&r);
}

// Held, a queue keeps what is offered until it is let go; a stop lets go too.
static void held(void **state)
{
	struct machine *m = machine_without_kvm();
	struct virtio_rng r;

	assert_int_equal(virtio_rng_init(&r, m, NULL), 0);
	r.device.ops->hold(&r.device, true); // not started: nothing
	start(&r.device);
	offer(m, &r.device, 0, DATA, 64, WRITE);
	assert_int_equal(used(m, 0)->idx, 1);
	for (int i = 0; i < 2; i++)
		r.device.ops->hold(&r.device, true);
	offer(m, &r.device, 0, DATA, 64, WRITE);
	offer(m, &r.device, 0, DATA, 64, WRITE);
	assert_int_equal(used(m, 0)->idx, 1);
	for (int i = 0; i < 2; i++)
		r.device.ops->hold(&r.device, false);
	settle(m);
	assert_int_equal(used(m, 0)->idx, 3);
	assert_int_equal(r.device.queues[0].n_requests, 3);
	assert_int_equal(r.device.queues[0].n_read, 3 * 64); // by the guest
	assert_int_equal(r.device.queues[0].n_written, 0);
	r.device.ops->hold(&r.device, true);
	r.device.ops->stop(&r.device);
	memset(at(m, RINGS), 0, RING);
	start(&r.device);
	offer(m, &r.device, 0, DATA, 64, WRITE);
	assert_int_equal(used(m, 0)->idx, 1);
	machine_without_kvm_free(m);
	virtio_rng_free(&r);
}

static void balloon(void **state)
{
	struct machine *m = machine_without_kvm();
	struct virtio_balloon b;
	uint32_t *pfns, word;

	assert_int_equal(virtio_balloon_init(&b, m, 3, NULL), 0);
	b.device.ops->config_read(&b.device, 0, &word, 4);
	assert_int_equal(word, 768);
	start(&b.device);
	memset(at(m, MIB), 'x', MIB);
	offer(m, &b.device, BALLOON_REPORT, MIB + 1, 3 * PAGE, WRITE);
	assert_int_equal(used(m, BALLOON_REPORT)->idx, 1);
	assert_int_equal(*at(m, MIB + PAGE - 1), 'x'); // only in part
	assert_int_equal(*at(m, MIB + PAGE), 0);
	assert_int_equal(*at(m, MIB + 3 * PAGE - 1), 0);
	assert_int_equal(*at(m, MIB + 3 * PAGE), 'x');
	offer(m, &b.device, BALLOON_REPORT, MIB + 8 * PAGE + 1, PAGE, WRITE);
	assert_int_equal(*at(m, MIB + 8 * PAGE + 1), 'x');
	assert_int_equal(*at(m, MIB + 9 * PAGE), 'x');
	pfns = (uint32_t *)at(m, DATA);
	for (uint32_t i = 0; i < 100; i++)
		pfns[i] = 511 - i;
	pfns[0] = 300; // a run of two
	pfns[1] = 301;
	offer(m, &b.device, BALLOON_INFLATE, DATA, 400, 0);
	assert_int_equal(used(m, BALLOON_INFLATE)->idx, 1);
	assert_int_equal(*at(m, 300 * PAGE), 0);
	assert_int_equal(*at(m, 302 * PAGE - 1), 0);
	assert_int_equal(*at(m, 302 * PAGE), 'x');
	assert_int_equal(*at(m, 411 * PAGE), 'x');
	assert_int_equal(*at(m, 412 * PAGE), 0);
	assert_int_equal(*at(m, 510 * PAGE), 'x');
	offer(m, &b.device, BALLOON_DEFLATE, DATA, 400, 0);
	assert_int_equal(used(m, BALLOON_DEFLATE)->idx, 1);
	word = 98;
	b.device.ops->config_write(&b.device, 4, &word, 4);
	b.device.ops->config_write(&b.device, 0, &word, 4); // is not the guest's
	b.device.ops->config_read(&b.device, 0, &word, 4);
	assert_int_equal(word, 768);
	assert_int_equal(b.actual, 98);
	assert_false(is_broken(&b.device));
	pfns[0] = 511;
	pfns[1] = 512; // there is none
	offer(m, &b.device, BALLOON_INFLATE, DATA, 8, 0);
	assert_true(is_broken(&b.device));
	assert_int_equal(used(m, BALLOON_INFLATE)->idx, 1);
	machine_without_kvm_free(m);
	virtio_balloon_free(&b);
}

static void count(void *arg)
{
	++*(unsigned int *)arg;
}

static void console_input(void **state)
{
	struct machine *m = machine_without_kvm();
	struct virtio_console c;
	unsigned int n_wanted = 0;
	uint8_t bytes[CONSOLE_INPUT];

	memset(bytes, 'i', sizeof(bytes));
	assert_int_equal(virtio_console_init(&c, m, -1, NULL), 0);
	c.input_wanted = count;
	c.arg = &n_wanted;
	virtio_console_put(&c, (const uint8_t *)"early", 5); // before there is a driver
	start(&c.device);
	settle(m);
	offer(m, &c.device, CONSOLE_RECEIVE, DATA, 3, WRITE);
	assert_int_equal(used(m, CONSOLE_RECEIVE)->ring[0].len, 3);
	assert_memory_equal(at(m, DATA), "ear", 3);
	assert_int_equal(n_wanted, 1);
	offer(m, &c.device, CONSOLE_RECEIVE, DATA, 100, WRITE);
	assert_int_equal(used(m, CONSOLE_RECEIVE)->ring[1].len, 2);
	offer(m, &c.device, CONSOLE_RECEIVE, DATA, 100, WRITE); // for what is to come
	assert_int_equal(used(m, CONSOLE_RECEIVE)->idx, 2);
	virtio_console_put(&c, (const uint8_t *)"later", 5);
	settle(m);
	assert_int_equal(used(m, CONSOLE_RECEIVE)->idx, 3);
	assert_memory_equal(at(m, DATA), "later", 5);
	assert_int_equal(virtio_console_room(&c), CONSOLE_INPUT);
	virtio_console_put(&c, bytes, CONSOLE_INPUT - 1);
	virtio_console_put(&c, bytes, 2); // one has no room
	assert_int_equal(virtio_console_room(&c), 0);
	offer(m, &c.device, CONSOLE_TRANSMIT, DATA, 5, 0); // to nowhere
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 1);
	virtio_console_free(&c); // it is in the machine's loop
	machine_without_kvm_free(m);
}

static void console_output(void **state)
{
	struct machine *m = machine_without_kvm();
	struct virtio_console c;
	char bytes[65536] = { 0 };
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(virtio_console_init(&c, m, ends[1], NULL), 0);
	start(&c.device);
	memcpy(at(m, DATA), "hello", 5);
	offer(m, &c.device, CONSOLE_TRANSMIT, DATA, 5, 0);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), 5);
	assert_memory_equal(bytes, "hello", 5);
	// a reader that is slow: the guest waits, the thread does not
	assert_int_equal(write(ends[1], bytes, sizeof(bytes)), sizeof(bytes));
	offer(m, &c.device, CONSOLE_TRANSMIT, DATA, 5, 0);
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 1);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), sizeof(bytes));
	settle(m); // there is room
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 2);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), 5);
	// one that has gone
	close(ends[0]);
	settle(m);
	offer(m, &c.device, CONSOLE_TRANSMIT, DATA, 5, 0);
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 3);
	assert_false(is_broken(&c.device));
	virtio_console_free(&c); // it is in the machine's loop
	machine_without_kvm_free(m);
	close(ends[1]);
}

// Longer than the reader's pipe: the thread does not wait for the rest, and all of it comes, once.
static void console_long(void **state)
{
	enum { LONG = 100000 };
	struct machine *m = machine_without_kvm();
	struct virtio_console c;
	uint8_t *text = at(m, DATA);
	static uint8_t bytes[LONG];
	size_t n = 0;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, PAGE) >= 0);
	assert_int_equal(virtio_console_init(&c, m, ends[1], NULL), 0);
	start(&c.device);
	for (unsigned int i = 0; i < LONG; i++)
		text[i] = (uint8_t)(i * 7 + i / 251);
	offer(m, &c.device, CONSOLE_TRANSMIT, DATA, LONG, 0);
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 0);
	while (n < LONG) {
		ssize_t got = read(ends[0], bytes + n, sizeof(bytes) - n);

		assert_true(got > 0);
		n += (size_t)got;
		settle(m);
	}
	assert_memory_equal(bytes, text, LONG);
	assert_int_equal(used(m, CONSOLE_TRANSMIT)->idx, 1);
	assert_int_equal(c.device.queues[CONSOLE_TRANSMIT].n_written, LONG);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); // the others' is as it was
	virtio_console_free(&c); // it is in the machine's loop
	machine_without_kvm_free(m);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rng), cmocka_unit_test(held),
		cmocka_unit_test(balloon), cmocka_unit_test(console_input),
		cmocka_unit_test(console_output), cmocka_unit_test(console_long) };

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
