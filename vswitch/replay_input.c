// SPDX-License-Identifier: BSD-3-Clause
// Captures for a replay: pcap and pcapng with stamps in µs or ns, read whole by libpcap, judged
// packet by packet, and put into the one order a run has. Link type Ethernet, or USER0: there a
// struct virtio_net_hdr (10 bytes, little-endian) stands before each frame, as guests and taps send
// them, so that super-frames and partial checksums can be told. Called by whoever replays; one
// thread.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <pcap/pcap.h>
#include "vswitch/replay.h"
#include "vswitch/vnet_hdr.h"

#define SECOND 1000000000ull
#define LAST_SECOND (1ll << 33) // year 2242: beyond it a stamp is damage, not time

enum { MAX_FRAME = PACKET_SMALL_ROOM + PACKET_BIG_ROOM };

struct loading {
	struct replay_frames *f;
	unsigned input;
	size_t room, bytes, bytes_room;
	uint32_t head; // bytes of virtio_net_hdr before each frame
	char *err;
	size_t err_size;
};

static const char *path_of(const struct loading *l)
{
	return l->f->inputs[l->input].path;
}

static int refuse(const struct loading *l, uint32_t number, const char *what)
{
	snprintf(l->err, l->err_size, "%s: packet %u: %s", path_of(l), number, what);
	return -EINVAL;
}

static int check(const struct loading *l, const struct pcap_pkthdr *h, uint32_t number)
{
	char what[160];

	if (h->caplen < h->len)
		snprintf(what, sizeof(what),
			"only %u of %u bytes were captured; capture whole packets (tcpdump -s 0)",
			h->caplen, h->len);
	else if (h->caplen > h->len || h->caplen > MAX_FRAME)
		snprintf(what, sizeof(what), "%u bytes captured of %u; at most %u are possible",
			h->caplen, h->len, (unsigned)MAX_FRAME);
	else if (h->caplen < l->head)
		snprintf(what, sizeof(what), "%u bytes hold no virtio_net_hdr", h->caplen);
	else if (h->ts.tv_sec < 0 || h->ts.tv_sec >= LAST_SECOND || h->ts.tv_usec < 0 ||
		 h->ts.tv_usec >= (long)SECOND)
		snprintf(what, sizeof(what), "its time stamp is out of range");
	else
		return 0;
	return refuse(l, number, what);
}

// Grows in steps; realloc moves large blocks without copying them.
static int reserve(void **p, size_t *room, size_t need, size_t size)
{
	size_t n = *room ? *room : 1024;
	void *grown;

	if (need <= *room)
		return 0;
	while (n < need)
		n *= 2;
	grown = realloc(*p, n * size);
	if (!grown)
		return -ENOMEM;
	*p = grown;
	*room = n;
	return 0;
}

// Until its file is complete a frame's data is an offset: the block may still move.
static int add(struct loading *l, const struct pcap_pkthdr *h, const uint8_t *data, uint32_t number)
{
	struct replay_frames *f = l->f;
	size_t end = l->bytes + h->caplen + 1; // an empty one has a place too

	if (reserve((void **)&f->v, &l->room, f->n + 1, sizeof(*f->v)) < 0 ||
		reserve((void **)&f->bytes[l->input], &l->bytes_room, end, 1) < 0)
		return refuse(l, number, "no memory is left for it");
	memcpy(f->bytes[l->input] + l->bytes, data, h->caplen);
	f->v[f->n++] = (struct replay_frame){
		.ts_ns = (uint64_t)h->ts.tv_sec * SECOND + (uint64_t)h->ts.tv_usec,
		.data = (const uint8_t *)(l->bytes + l->head),
		.size = h->caplen - l->head,
		.number = number,
		.input = (uint16_t)l->input,
		.vnet = l->head > 0,
	};
	l->bytes += h->caplen;
	return 0;
}

static int read_all(struct loading *l, pcap_t *in)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;
	size_t first = l->f->n;
	uint32_t number = 0;
	int r, got;

	while ((got = pcap_next_ex(in, &h, &data)) == 1) {
		if (++number == UINT32_MAX)
			return refuse(l, number, "too many packets");
		r = check(l, h, number);
		if (r == 0)
			r = add(l, h, data, number);
		if (r < 0)
			return r;
	}
	if (got == PCAP_ERROR)
		return refuse(l, number + 1, pcap_geterr(in));
	for (size_t i = first; i < l->f->n; i++)
		l->f->v[i].data = l->f->bytes[l->input] + (size_t)l->f->v[i].data;
	return 0;
}

static int load_one(struct loading *l)
{
	char why[PCAP_ERRBUF_SIZE] = "";
	FILE *file = fopen(path_of(l), "re");
	pcap_t *in;
	int r;

	if (!file) {
		r = -errno;
		snprintf(l->err, l->err_size, "%s: %s", path_of(l), strerror(errno));
		return r;
	}
	// Stamps come in nanoseconds (in tv_usec), whatever the file has.
	in = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, why);
	if (!in) {
		fclose(file);
		snprintf(l->err, l->err_size, "%s: not a capture: %s", path_of(l), why);
		return -EINVAL;
	}
	l->head = pcap_datalink(in) == DLT_USER0 ? sizeof(struct virtio_net_hdr) : 0;
	if (pcap_datalink(in) == DLT_EN10MB || l->head) {
		r = read_all(l, in);
	} else {
		snprintf(l->err, l->err_size,
			"%s: link type %d; Ethernet (1) is needed, or "
			"USER0 (147), with virtio's header before each frame",
			path_of(l), pcap_datalink(in));
		r = -EINVAL;
	}
	pcap_close(in);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct replay_frame *x = a, *y = b;

	if (x->ts_ns != y->ts_ns)
		return x->ts_ns < y->ts_ns ? -1 : 1;
	if (x->input != y->input)
		return x->input < y->input ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

// Merges v[0..middle) and v[middle..n), both in order, into `to`.
static void merge(const struct replay_frame *v, size_t middle, size_t n, struct replay_frame *to)
{
	size_t a = 0, b = middle;

	for (size_t i = 0; i < n; i++)
		to[i] = b == n || (a < middle && compare(&v[a], &v[b]) < 0) ? v[a++] : v[b++];
}

// Each input's frames lie behind those of the one before, and mostly in order: neighbours are
// merged until one is left. ends[i]: where input i's end; used up. 0 or -ENOMEM.
static int sort(struct replay_frames *f, size_t *ends, unsigned n_runs)
{
	struct replay_frame *other = malloc((f->n + 1) * sizeof(*other));

	if (!other)
		return -ENOMEM;
	for (unsigned i = 0; i < n_runs; i++) {
		size_t first = i ? ends[i - 1] : 0;
		bool sorted = true;

		for (size_t k = first + 1; k < ends[i] && sorted; k++)
			sorted = compare(&f->v[k - 1], &f->v[k]) < 0;
		if (!sorted)
			qsort(&f->v[first], ends[i] - first, sizeof(*f->v), compare);
	}
	for (; n_runs > 1; n_runs = (n_runs + 1) / 2) {
		struct replay_frame *v = f->v;
		size_t first = 0;

		for (unsigned i = 0; i < n_runs; i += 2) {
			size_t middle = ends[i], end = i + 1 < n_runs ? ends[i + 1] : middle;

			merge(&v[first], middle - first, end - first, &other[first]);
			ends[i / 2] = first = end;
		}
		f->v = other;
		other = v;
	}
	free(other);
	return 0;
}

int replay_frames_load(const struct replay_input *inputs, unsigned n_inputs,
	struct replay_frames *ret_frames, char *err, size_t err_size)
{
	struct replay_frames f = { .inputs = inputs, .n_inputs = n_inputs };
	struct loading l = { .f = &f, .err = err, .err_size = err_size };
	size_t *ends = calloc(n_inputs + 1, sizeof(*ends));
	int r = 0;

	f.bytes = calloc(n_inputs + 1, sizeof(*f.bytes));
	if (!f.bytes || !ends || n_inputs > UINT16_MAX) {
		snprintf(err, err_size, "%s",
			f.bytes && ends ? "too many captures" : "out of memory");
		free(f.bytes);
		free(ends);
		return -ENOMEM;
	}
	for (; r == 0 && l.input < n_inputs; l.input++) {
		l.bytes = l.bytes_room = 0;
		r = load_one(&l);
		ends[l.input] = f.n;
	}
	if (r == 0 && sort(&f, ends, n_inputs) < 0) {
		snprintf(err, err_size, "out of memory");
		r = -ENOMEM;
	}
	free(ends);
	if (r < 0) {
		replay_frames_free(&f);
		return r;
	}
	*ret_frames = f;
	return 0;
}

void replay_frames_free(struct replay_frames *f)
{
	for (unsigned i = 0; f->bytes && i < f->n_inputs; i++)
		free(f->bytes[i]);
	free(f->bytes);
	free(f->v);
	*f = (struct replay_frames){ 0 };
}
