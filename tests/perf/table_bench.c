// SPDX-License-Identifier: BSD-3-Clause
// What the session table costs: bulk lookups, inserts, removals, and the scan that rebuilds a
// million sessions after a restart. Run by hand: table_bench [SESSIONS]. Figures are one core's.
#include "tests/unit/session_bulk.h"
#include "vswitch/tables.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 32, LOOKUPS = 1 << 21 };

// Processor time: other load on the host does not count.
static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct session_desc flow(uint32_t n)
{
	struct session_desc d = { .mapping = MAPPING_NONE, .src_port = n % 1000, .dst_port = 1 };

	d.key[0] = (struct session_key){
		.zone = n % 16,
		.src = htonl(0x0a000000 + n / 100),
		.dst = htonl(0xc0a80001),
		.src_port = htons((uint16_t)(1024 + n % 100)),
		.dst_port = htons(443),
		.proto = IPPROTO_TCP,
	};
	d.key[1] = d.key[0];
	d.key[1].src = d.key[0].dst;
	d.key[1].dst = d.key[0].src;
	d.key[1].src_port = d.key[0].dst_port;
	d.key[1].dst_port = d.key[0].src_port;
	return d;
}

static double lookups(struct session_table *t, uint32_t n)
{
	static struct session_key keys[LOOKUPS];
	struct session_found sessions[BURST];
	uint32_t random = 1;
	double start;

	for (uint32_t i = 0; i < LOOKUPS; i++) {
		random = random * 1664525 + 1013904223;
		keys[i] = flow((uint32_t)((uint64_t)random * n >> 32)).key[i & 1];
	}
	start = now_s();
	for (uint32_t i = 0; i < LOOKUPS; i += BURST) {
		session_lookup_bulk(t, &keys[i], BURST, sessions);
		for (unsigned k = 0; k < BURST; k++) {
			if (!sessions[k].record)
				exit(1);
			session_touch(sessions[k].record, sessions[k].dir, TCP_ACK, 64, 0);
		}
	}
	return (now_s() - start) / LOOKUPS * 1e9;
}

static int run(const char *dir, uint32_t n)
{
	struct tables_options o = { .run_dir = dir, .session_capacity = n, .mapping_capacity = 64 };
	struct tables t;
	double start, insert, attach;
	char err[256];
	uint32_t id;

	if (tables_open(&o, &t, err, sizeof(err)) < 0)
		goto fail;
	start = now_s();
	for (uint32_t i = 0; i < n; i++) {
		struct session_desc d = flow(i);

		if (session_insert(t.sessions, &d, 0, &id) < 0)
			return 1;
	}
	insert = (now_s() - start) / n * 1e9;
	tables_close(&t);
	start = now_s();
	if (tables_open(&o, &t, err, sizeof(err)) < 0)
		goto fail;
	attach = (now_s() - start) * 1e3;
	printf("%8u sessions: insert %.0f ns, attach %.1f ms, lookup+touch %.1f ns\n", n, insert,
		attach, lookups(t.sessions, n));
	tables_close(&t);
	return 0;

fail:
	fprintf(stderr, "%s\n", err);
	return 1;
}

int main(int argc, char *argv[])
{
	char dir[] = "/dev/shm/insula-bench-XXXXXX", path[64];
	int r;

	if (mkdtemp(dir) == NULL)
		return 1;
	r = run(dir, argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000);
	snprintf(path, sizeof(path), "%s/sessions", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/mappings", dir);
	unlink(path);
	rmdir(dir);
	return r;
}
