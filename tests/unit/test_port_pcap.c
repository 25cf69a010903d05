// SPDX-License-Identifier: BSD-3-Clause
// The pcap port: frames come when they are due, what is sent lands in the file, bad files are
// refused. The files are written and read byte by byte here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#define EAL_FIXTURE_POOLS
#include "tests/unit/eal_fixture.h"
#include "vswitch/port_pcap.h"

enum { MAGIC_US = (int)0xa1b2c3d4, MAGIC_NS = (int)0xa1b23c4d };

static char dir[] = "/tmp/insula-pcap-XXXXXX", err[256];
static struct port port;
static struct port_counters counters;
static uint8_t frame[66000], copy[66000];

static char *path(const char *name)
{
	static char buf[2][128];
	static int i;

	i = !i;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);
	return buf[i];
}

static void put(FILE *file, const void *data, size_t size)
{
	assert_int_equal(fwrite(data, 1, size, file), size);
}

static FILE *begin_file(const char *name, uint32_t magic, uint32_t link_type)
{
	uint32_t head[6] = { magic, 2 | 4 << 16, 0, 0, 262144, link_type };
	FILE *file = fopen(path(name), "w");

	assert_non_null(file);
	put(file, head, sizeof(head));
	return file;
}

static void put_frame(FILE *file, uint32_t s, uint32_t fraction, uint32_t caplen, uint32_t len)
{
	uint32_t head[4] = { s, fraction, caplen, len };

	put(file, head, sizeof(head));
	put(file, frame, caplen);
}

static int create(const char *in, const char *out)
{
	port = (struct port){ .id = 3, .ops = &port_pcap_ops, .n_queues = 1 };
	port.counters[0] = &counters;
	port.params.n_queues = 1;
	snprintf(port.params.arg, sizeof(port.params.arg), "%s%s%s%s%s", in ? "in=" : "",
		in ? path(in) : "", in && out ? "," : "", out ? "out=" : "", out ? path(out) : "");
	return port_pcap_ops.create(&port, &port.params, err, sizeof(err));
}

static uint16_t rx(struct rte_mbuf **ret_pkts, uint16_t n, uint64_t now)
{
	return port_pcap_ops.rx(NULL, &port, 0, ret_pkts, n, now);
}

static void test_due(void **state)
{
	struct rte_mbuf *m[8];
	uint64_t ns;
	FILE *file = begin_file("in", MAGIC_US, 1);

	put_frame(file, 10, 5, 60, 60); // microseconds
	put_frame(file, 10, 5, 61, 61);
	put_frame(file, 10, 6, 65549, 65549);
	put_frame(file, 11, 0, 50, 1500); // cut off
	put_frame(file, 11, 1, 64, 64);
	fclose(file);
	memset(&counters, 0, sizeof(counters));
	assert_int_equal(create("in", NULL), 0);
	assert_true(port_pcap_next(&port, &ns));
	assert_int_equal(ns, 10000005000);
	assert_int_equal(rx(m, 8, 10000004999), 0);
	assert_int_equal(rx(m, 1, 10000005000), 1);
	assert_int_equal(m[0]->pkt_len, 60);
	assert_int_equal(packet_of(m[0])->in_port, 3);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(rx(m, 8, 10000005000), 1);
	assert_int_equal(m[0]->pkt_len, 61);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(rx(m, 8, UINT64_MAX), 2);
	rte_mbuf_sanity_check(m[0], 1);
	assert_int_equal(m[0]->pkt_len, 65549);
	assert_memory_equal(rte_pktmbuf_read(m[0], 0, 65549, copy), frame, 65549);
	assert_int_equal(m[1]->pkt_len, 64);
	assert_int_equal(counters.drops[DROP_PARSE_TOO_SHORT], 1);
	rte_pktmbuf_free_bulk(m, 2);
	assert_false(port_pcap_next(&port, &ns));
	assert_int_equal(atomic_load(&port.dead), 0);
	port_pcap_ops.destroy(&port);
}

static void test_out(void **state)
{
	static const uint32_t want_head[6] = { (uint32_t)MAGIC_NS, 2 | 4 << 16, 0, 0, 262144, 1 };
	struct port_sent sent = { 0 };
	struct rte_mbuf *m[2];
	uint32_t head[6], rec[4];
	FILE *file;

	assert_int_equal(create(NULL, "out"), 0);
	assert_int_equal(rx(m, 2, 7000000123), 0);
	m[0] = eal_fixture_mbuf(frame, 100, 100);
	m[1] = eal_fixture_mbuf(frame, 9000, 300);
	assert_int_equal(port_pcap_ops.tx(NULL, &port, 0, m, 2, &sent), 2);
	assert_int_equal(sent.bytes, 9100);
	port_pcap_ops.destroy(&port);
	file = fopen(path("out"), "r");
	assert_non_null(file);
	assert_int_equal(fread(head, 1, sizeof(head), file), sizeof(head));
	assert_memory_equal(head, want_head, sizeof(head));
	for (uint32_t size = 100; size <= 9000; size += 8900) {
		assert_int_equal(fread(rec, 1, sizeof(rec), file), sizeof(rec));
		assert_memory_equal(rec, ((uint32_t[]){ 7, 123, size, size }), sizeof(rec));
		assert_int_equal(fread(copy, 1, size, file), size);
		assert_memory_equal(copy, frame, size);
	}
	assert_int_equal(fgetc(file), EOF);
	fclose(file);
}

static void refuse(const char *arg, const char *why)
{
	port = (struct port){ .ops = &port_pcap_ops, .params.n_queues = 1 };
	snprintf(port.params.arg, sizeof(port.params.arg), "%s", arg);
	assert_true(port_pcap_ops.create(&port, &port.params, err, sizeof(err)) < 0);
	if (strstr(err, why) == NULL)
		fail_msg("'%s' does not say '%s'", err, why);
}

static void test_bad(void **state)
{
	struct rte_mbuf *m[4];
	FILE *file;

	refuse("", "neither");
	refuse("file", "'file'");
	refuse("in=/nonexistent/a", "nonexistent");
	refuse("out=/nonexistent/a", "nonexistent");
	refuse("in=/dev/null,in=/dev/null", "once");
	file = begin_file("raw", MAGIC_NS, 101);
	fclose(file);
	assert_int_equal(create("raw", NULL), -EINVAL);
	assert_non_null(strstr(err, "link type"));
	file = begin_file("short", MAGIC_NS, 1); // breaks off within the second frame
	put_frame(file, 1, 0, 100, 100);
	put_frame(file, 1, 0, 100, 100);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(ftruncate(fileno(file), 24 + 116 + 50), 0);
	fclose(file);
	assert_int_equal(create("short", NULL), 0);
	assert_int_equal(rx(m, 4, UINT64_MAX), 1);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(atomic_load(&port.dead), 1);
	port_pcap_ops.destroy(&port);
}

static int group_setup(void **state)
{
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 31 + i / 256);
	return mkdtemp(dir) == NULL ? -1 : eal_fixture_init(state);
}

static int group_teardown(void **state)
{
	static const char *const names[] = { "in", "out", "raw", "short" };

	for (size_t i = 0; i < RTE_DIM(names); i++)
		unlink(path(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_due, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_out, eal_fixture_no_leak),
		cmocka_unit_test_teardown(test_bad, eal_fixture_no_leak),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
