// SPDX-License-Identifier: BSD-3-Clause
// Compares two captures; where they differ, shows both packets as tshark sees them.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <pcap/pcap.h>
#include "tests/replay/fixture.h"

void fixture_show(const char *title, const char *path, unsigned long number)
{
	char command[FIXTURE_PATH + 128], line[512];
	FILE *p;

	printf("--- %s: %s, packet %lu\n", title, path, number);
	snprintf(command, sizeof(command),
		"tshark -n -r '%s' -Y 'frame.number == %lu' -V -x 2>/dev/null", path, number);
	fflush(stdout);
	p = popen(command, "re");
	while (p && fgets(line, sizeof(line), p))
		fputs(line, stdout);
	if (!p || pclose(p) != 0)
		printf("(tshark could not show it: `./dev deps test` installs it)\n");
}

char *fixture_read(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "re");
	char *data = NULL;
	size_t size = 0;

	if (f) {
		FILE *to = open_memstream(&data, &size);
		char block[4096];

		for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
			fwrite(block, 1, n, to);
		fclose(to);
		fclose(f);
	} else {
		printf("%s: %s\n", path, strerror(errno));
	}
	*ret_size = size;
	return data;
}

bool fixture_same_bytes(const char *want, const char *got)
{
	size_t a_size, b_size;
	char *a = fixture_read(want, &a_size), *b = fixture_read(got, &b_size);
	bool same = a && b && a_size == b_size && memcmp(a, b, a_size) == 0;

	free(a);
	free(b);
	return same;
}

static pcap_t *open_capture(const char *path)
{
	char why[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);

	if (!p)
		printf("%s: %s\n", path, why);
	return p;
}

// The first packet in which they differ; 0: in none (or one could not be opened).
static unsigned long first_difference(
	const char *want, const char *got, bool *ret_in_want, bool *ret_in_got)
{
	pcap_t *a = open_capture(want), *b = open_capture(got);
	struct pcap_pkthdr *x, *y;
	const uint8_t *p, *q;
	unsigned long n = 0, found = 0;

	while (a && b && !found) {
		*ret_in_want = pcap_next_ex(a, &x, &p) == 1;
		*ret_in_got = pcap_next_ex(b, &y, &q) == 1;
		n++;
		if (!*ret_in_want && !*ret_in_got)
			break;
		if (*ret_in_want != *ret_in_got || x->caplen != y->caplen ||
			x->ts.tv_sec != y->ts.tv_sec || x->ts.tv_usec != y->ts.tv_usec ||
			memcmp(p, q, x->caplen) != 0)
			found = n;
	}
	if (a)
		pcap_close(a);
	if (b)
		pcap_close(b);
	return found;
}

bool fixture_same_capture(const char *want, const char *got)
{
	bool in_want = false, in_got = false;
	unsigned long n;

	if (fixture_same_bytes(want, got))
		return true;
	n = first_difference(want, got, &in_want, &in_got);
	printf("%s and %s differ, first in packet %lu\n", want, got, n);
	if (n && in_want)
		fixture_show("expected", want, n);
	else if (n)
		printf("--- expected: nothing more\n");
	if (n && in_got)
		fixture_show("got", got, n);
	else if (n)
		printf("--- got: nothing more\n");
	return false;
}
