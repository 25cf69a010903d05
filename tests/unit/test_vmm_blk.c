// SPDX-License-Identifier: BSD-3-Clause
// Requests to a disk as a guest may put them (virtio 1.2, 5.2.6): which are done, which are refused
// and how, which cannot even be answered; and what is left of their data.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/unit/virtq_rings.h"
#include "vmm/blk_request.h"

enum { SECTORS = 100, SECTOR = 512, HEADER = RINGS_DATA, STATUS = RINGS_DATA + 64 };
enum { DATA = RINGS_DATA + 0x1000, UNMAP = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP };

static const uint64_t FEATURES = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |
				 1ull << VIRTIO_BLK_F_WRITE_ZEROES;

struct fixture {
	struct rings rings;
	struct virtio_blk disk;
	struct blk_request request;
};

static void begin(struct fixture *f)
{
	*f = (struct fixture){ .disk = { .size = SECTORS * SECTOR } };
	f->disk.options.serial = "serial";
	f->disk.device.features = FEATURES;
	f->disk.space.wce = 1;
	f->disk.space.max_discard_sectors = 50;
	assert_true(rings_begin(&f->rings, 8, 0));
	assert_int_equal(virtq_start(&f->rings.q, &f->rings.device, 0), 0);
	f->request.chain =
		(struct virtq_chain){ .storage = f->request.storage, .max = VIRTIO_BLK_QUEUE_SIZE };
}

static void end(struct fixture *f)
{
	rings_end(&f->rings);
}

// The n sizes of buffers from `out` on to read, from `in` on to write: `n_out` of them.
static int ask_buffers(
	struct fixture *f, unsigned int n_out, unsigned int n, const struct iovec *buffers)
{
	struct rings *r = &f->rings;

	for (unsigned int i = 0; i < n; i++)
		r->descriptors[i] = (struct vring_desc){ (uintptr_t)buffers[i].iov_base,
			(uint32_t)buffers[i].iov_len,
			(uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
				   (i < n - 1 ? VRING_DESC_F_NEXT : 0)),
			(uint16_t)(i + 1) };
	rings_offer(r, 0);
	assert_int_equal(virtq_next(&r->q, &f->request.chain), 1);
	virtq_push(&r->q, 0, 0);
	return blk_request_check(&f->request, &f->disk);
}

static void ask(struct fixture *f, uint32_t type, uint64_t sector, uint32_t size)
{
	const bool write = type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
	const struct iovec buffers[] = { { (void *)HEADER, 16 }, { (void *)DATA, size },
		{ (void *)STATUS, 1 } };
	const struct iovec none[] = { buffers[0], buffers[2] };
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	memcpy(f->rings.memory.regions[0].host + HEADER, &header, sizeof(header));
	assert_int_equal(
		size ? ask_buffers(f, write ? 2 : 1, 3, buffers) : ask_buffers(f, 1, 2, none), 0);
	assert_ptr_equal(f->request.ret_status, f->rings.memory.regions[0].host + STATUS);
}

static void expect_answer(struct fixture *f, uint8_t status)
{
	assert_int_equal(f->request.action, BLK_ANSWER);
	assert_int_equal(f->request.status, status);
}

static void expect(struct fixture *f, enum blk_action action, uint64_t at, uint64_t size)
{
	assert_int_equal(f->request.action, action);
	assert_int_equal(f->request.at, at);
	assert_int_equal(f->request.size, size);
}

static void data(void **state)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT };
	struct fixture f;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		ask(&f, types[i], 98, 1024);
		expect(&f, i ? BLK_WRITE : BLK_READ, 98 * SECTOR, 1024);
		assert_int_equal(f.request.n_iov, 1);
		assert_false(f.request.durable);
		ask(&f, types[i], 99, 1024);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], 100, 512);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], UINT64_MAX / SECTOR + 1, 512); // wraps
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], UINT64_MAX, 512);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], 0, 513);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], 100, 0);
		expect_answer(&f, VIRTIO_BLK_S_OK);
		ask(&f, types[i], 101, 0);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
	}
	f.disk.options.read_only = true;
	ask(&f, VIRTIO_BLK_T_OUT, 0, 512);
	expect_answer(&f, VIRTIO_BLK_S_IOERR);
	ask(&f, VIRTIO_BLK_T_IN, 0, 512);
	expect(&f, BLK_READ, 0, 512);
	f.disk.alignment = 4096;
	ask(&f, VIRTIO_BLK_T_IN, 8, 512);
	expect_answer(&f, VIRTIO_BLK_S_IOERR);
	ask(&f, VIRTIO_BLK_T_IN, 1, 4096);
	expect_answer(&f, VIRTIO_BLK_S_IOERR);
	ask(&f, VIRTIO_BLK_T_IN, 8, 4096);
	expect(&f, BLK_READ, 4096, 4096);
	end(&f);
}

static void ask_segment(
	struct fixture *f, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes s = { sector, n, flags };

	memcpy(f->rings.memory.regions[0].host + DATA, &s, sizeof(s));
	ask(f, type, 0, sizeof(s));
}

static void segments(void **state)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES };
	struct fixture f;

	begin(&f);
	for (int i = 0; i < 2; i++) {
		ask_segment(&f, types[i], 50, 50, 0);
		expect(&f, i ? BLK_ZERO_KEEP : BLK_DISCARD, 50 * SECTOR, 50 * SECTOR);
		ask_segment(&f, types[i], 49, 51, 0); // more than the configuration allows
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask_segment(&f, types[i], 51, 50, 0);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask_segment(&f, types[i], UINT64_MAX, 2, 0);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask_segment(&f, types[i], 0, 1, 2);
		expect_answer(&f, VIRTIO_BLK_S_UNSUPP);
		ask_segment(&f, types[i], 0, 0, 0);
		expect_answer(&f, VIRTIO_BLK_S_OK);
		ask(&f, types[i], 0, 32); // two segments
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		ask(&f, types[i], 0, 8);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		f.disk.options.read_only = true;
		ask_segment(&f, types[i], 0, 1, 0);
		expect_answer(&f, VIRTIO_BLK_S_IOERR);
		f.disk.options.read_only = false;
		f.disk.device.features = 0;
		ask_segment(&f, types[i], 0, 1, 0);
		expect_answer(&f, VIRTIO_BLK_S_UNSUPP);
		f.disk.device.features = FEATURES;
	}
	ask_segment(&f, VIRTIO_BLK_T_DISCARD, 0, 1, UNMAP);
	expect_answer(&f, VIRTIO_BLK_S_UNSUPP);
	ask_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, UNMAP);
	expect(&f, BLK_ZERO, 0, SECTOR);
	end(&f);
}

static void others(void **state)
{
	struct fixture f;
	const uint8_t *ram;

	begin(&f);
	ram = f.rings.memory.regions[0].host;
	ask(&f, VIRTIO_BLK_T_FLUSH, 0, 0);
	assert_int_equal(f.request.action, BLK_FLUSH);
	ask(&f, VIRTIO_BLK_T_GET_ID, 0, 20);
	expect_answer(&f, VIRTIO_BLK_S_OK);
	assert_memory_equal(ram + DATA, "serial\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(f.request.written, 20);
	f.disk.options.serial = "12345678901234567890";
	memset(f.rings.memory.regions[0].host + DATA, 'x', 30);
	ask(&f, VIRTIO_BLK_T_GET_ID, 0, 3);
	assert_memory_equal(ram + DATA, "123x", 4);
	ask(&f, VIRTIO_BLK_T_GET_ID, 0, 30);
	assert_memory_equal(ram + DATA, "12345678901234567890xxxxxxxxxx", 30);
	ask(&f, 14, 0, 0);
	expect_answer(&f, VIRTIO_BLK_S_UNSUPP);
	ask(&f, UINT32_MAX, 0, 512);
	expect_answer(&f, VIRTIO_BLK_S_UNSUPP);
	end(&f);
}

// Without a cache that the guest can flush, or with one that it has switched off.
static void durable(void **state)
{
	struct fixture f;

	begin(&f);
	f.disk.space.wce = 0;
	ask(&f, VIRTIO_BLK_T_OUT, 0, 512);
	assert_true(f.request.durable);
	f.disk.space.wce = 1;
	f.disk.device.features = 0;
	ask(&f, VIRTIO_BLK_T_OUT, 0, 512);
	assert_true(f.request.durable);
	end(&f);
}

// 5.2.6: header, data and status may be cut anyhow.
static void cuts(void **state)
{
	const struct iovec out[] = { { (void *)HEADER, 7 }, { (void *)(HEADER + 7), 9 + 100 },
		{ (void *)DATA, 412 }, { (void *)STATUS, 1 } };
	const struct iovec in[] = { { (void *)HEADER, 20 }, { (void *)DATA, 500 },
		{ (void *)(DATA + 1000), 13 } };
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_OUT };
	struct fixture f;
	uint8_t copy[512], *ram;

	begin(&f);
	ram = f.rings.memory.regions[0].host;
	memcpy(ram + HEADER, &header, sizeof(header));
	memset(ram + HEADER + 16, 'a', 100);
	memset(ram + DATA, 'b', 412);
	assert_int_equal(ask_buffers(&f, 3, 4, out), 0);
	expect(&f, BLK_WRITE, 0, 512);
	blk_request_copy_out(&f.request, copy, 101);
	assert_int_equal(copy[99], 'a');
	assert_int_equal(copy[100], 'b');
	assert_int_equal(f.request.n_iov, 1);
	assert_int_equal(f.request.done, 0);
	header.type = VIRTIO_BLK_T_IN;
	memcpy(ram + HEADER, &header, sizeof(header));
	assert_int_equal(ask_buffers(&f, 1, 3, in), 0);
	expect(&f, BLK_READ, 0, 512);
	assert_ptr_equal(f.request.ret_status, ram + DATA + 1012);
	assert_ptr_equal(f.request.iov->iov_base, ram + DATA);
	blk_request_copy_in(&f.request, copy, 501);
	assert_memory_equal(ram + DATA, copy, 500);
	assert_int_equal(ram[DATA + 1000], copy[500]);
	assert_int_equal(f.request.done, 501);
	blk_request_advance(&f.request, 11);
	assert_int_equal(f.request.n_iov, 0);
	end(&f);
}

static void unanswerable(void **state)
{
	const struct iovec buffers[] = { { (void *)HEADER, 15 }, { (void *)STATUS, 1 } };
	const struct iovec no_status[] = { { (void *)HEADER, 16 } };
	struct fixture f;

	begin(&f);
	assert_int_equal(ask_buffers(&f, 1, 2, buffers), -EPROTO);
	assert_int_equal(ask_buffers(&f, 1, 1, no_status), -EPROTO);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(data), cmocka_unit_test(segments),
		cmocka_unit_test(others), cmocka_unit_test(durable), cmocka_unit_test(cuts),
		cmocka_unit_test(unanswerable) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
