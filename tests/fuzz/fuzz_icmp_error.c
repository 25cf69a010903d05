// SPDX-License-Identifier: BSD-3-Clause
// ICMP errors from the uplink and from guests, about packets of sessions that stand: UDP, TCP and
// echo of one guest through SNAT (the uplink has one port only, so that kept inputs stay good), and
// the same datagram inside both tenants. Who is told is who sent what is quoted, or nobody; all
// quoted is as he sent it; each sum, the inner ones too, is as right or wrong as it was.
// Input: a byte that chooses the port and, by its top bit, has the sums repaired (for fuzzers that
// do not ask LLVMFuzzerCustomMutator, which does that), then the frame.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_switch.h"

enum {
	EXT_PORT = 5000,
	ECHO_ID = 0x1234,
	FRAME_MAX = 1600,
	L3 = 14,
	ICMP = L3 + 20,
	QUOTE = ICMP + 8
};

// A packet that a session knows, as whoever complains by `from` quotes it.
struct known {
	uint32_t from, told;
	uint8_t proto;
	const char *src, *dst;
	uint16_t sport, dport; // echo: the identifier in both
	// What the inside end becomes on the way: the quoted source (inward) or destination
	// (outward). NULL: nothing is translated.
	const char *addr;
	uint16_t port;
};

#define OUTSIDE "203.0.113.9"
#define UPLINK_ADDR "198.51.100.2"
#define ONE "10.0.0.11"
#define TWO "10.0.0.12"

static const struct known known[] = {
	{ UPLINK, RED_1, FRAME_UDP, UPLINK_ADDR, OUTSIDE, EXT_PORT, 53, ONE, 7000 },
	{ UPLINK, RED_1, FRAME_TCP, UPLINK_ADDR, OUTSIDE, EXT_PORT, 443, ONE, 7001 },
	{ UPLINK, RED_1, FRAME_ICMP, UPLINK_ADDR, OUTSIDE, EXT_PORT, EXT_PORT, ONE, ECHO_ID },
	{ RED_1, UPLINK, FRAME_UDP, OUTSIDE, ONE, 53, 7000, UPLINK_ADDR, EXT_PORT },
	{ RED_1, UPLINK, FRAME_TCP, OUTSIDE, ONE, 443, 7001, UPLINK_ADDR, EXT_PORT },
	{ RED_1, UPLINK, FRAME_ICMP, OUTSIDE, ONE, ECHO_ID, ECHO_ID, UPLINK_ADDR, EXT_PORT },
	{ RED_2, RED_1, FRAME_UDP, ONE, TWO, 1, 2, NULL, 0 },
	{ RED_1, RED_2, FRAME_UDP, TWO, ONE, 2, 1, NULL, 0 },
	{ BLUE_2, BLUE_1, FRAME_UDP, ONE, TWO, 1, 2, NULL, 0 },
	{ BLUE_1, BLUE_2, FRAME_UDP, TWO, ONE, 2, 1, NULL, 0 },
};

enum { N_KNOWN = sizeof(known) / sizeof(known[0]) };

static const uint32_t ports[] = { UPLINK, RED_1, RED_2, BLUE_1, BLUE_2 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
// Weak: libFuzzer alone has it.
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));

// --- frames ---

static bool is_error_type(uint8_t type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// The quoted transport header, if a whole IPv4 header and eight bytes are quoted. ret_n: bytes of
// it there are.
static const uint8_t *quoted_l4(const uint8_t *frame, size_t size, size_t *ret_n)
{
	size_t ihl;

	if (size < QUOTE + 28)
		return NULL;
	ihl = (frame[QUOTE] & 15) * 4u;
	if (frame[QUOTE] >> 4 != 4 || ihl < 20 || QUOTE + ihl + 8 > size)
		return NULL;
	*ret_n = size - QUOTE - ihl;
	return frame + QUOTE + ihl;
}

static void put_sum(uint8_t *csum, uint32_t sum, const uint8_t *p, size_t n, bool never_zero)
{
	frame_put16(csum, 0);
	sum = ~frame_sum(sum, p, (uint32_t)n) & 0xffff;
	frame_put16(csum, sum == 0 && never_zero ? 0xffff : sum);
}

// The sum of the quoted packet's transport can be known only where all of it is quoted.
static void repair_quote(uint8_t *frame, size_t size)
{
	uint8_t *ip = frame + QUOTE, *l4;
	size_t n, l4_size, at;

	l4 = frame + (quoted_l4(frame, size, &n) ? size - n : 0);
	if (l4 == frame)
		return;
	put_sum(ip + 10, 0, ip, (size_t)(l4 - ip), false);
	l4_size = frame_get16(ip + 2) - (size_t)(l4 - ip);
	at = frame_csum_offset(ip[9]);
	if (frame_get16(ip + 2) < (size_t)(l4 - ip) || l4_size > n || at + 2 > l4_size ||
		(ip[9] != FRAME_TCP && ip[9] != FRAME_UDP && ip[9] != FRAME_ICMP))
		return;
	if (ip[9] == FRAME_UDP && frame_get16(l4 + at) == 0)
		return; // it says that it has none
	put_sum(l4 + at, ip[9] == FRAME_ICMP ? 0 : frame_pseudo(ip, ip[9], (uint32_t)l4_size), l4,
		l4_size, ip[9] == FRAME_UDP);
}

// Makes the sums right, from the inside out.
static void repair(uint8_t *frame, size_t size)
{
	size_t end;

	if (size < QUOTE || frame[L3] != 0x45)
		return;
	end = L3 + frame_get16(frame + L3 + 2);
	if (end < QUOTE || end > size)
		return;
	repair_quote(frame, end);
	put_sum(frame + ICMP + 2, 0, frame + ICMP, end - ICMP, false);
	frame_ipv4_csum(frame + L3);
}

// The headers that the port's guard wants to see: without them no mutation goes far.
static void address(uint8_t *frame, size_t size, uint32_t from, const struct mac *to)
{
	struct mac src = from == UPLINK ? world : mac_of(from);
	be32 ip = addr(from == UPLINK ? "192.0.2.1" : from % 10 == 1 ? ONE : TWO);

	memcpy(frame, to, 6);
	memcpy(frame + 6, &src, 6);
	frame_put16(frame + 12, ETHTYPE_IPV4);
	frame[L3] = 0x45;
	frame_put16(frame + L3 + 2, (uint32_t)(size - L3));
	frame_put16(frame + L3 + 6, 0);
	frame[L3 + 9] = FRAME_ICMP;
	memcpy(frame + L3 + 12, &ip, 4);
	if (!is_error_type(frame[ICMP]))
		frame[ICMP] = 3;
}

static struct mac way_to(const struct known *k)
{
	return k->from == UPLINK ? mac_of(UPLINK) : k->told == UPLINK ? red_gw : mac_of(k->told);
}

static void write_quote(uint8_t *frame, const struct known *k)
{
	be32 src = addr(k->src), dst = addr(k->dst);
	uint8_t *l4 = frame + QUOTE + 20;

	frame[QUOTE] = 0x45;
	frame[QUOTE + 9] = k->proto;
	memcpy(frame + QUOTE + 12, &src, 4);
	memcpy(frame + QUOTE + 16, &dst, 4);
	memcpy(frame + L3 + 16, &src, 4); // the error goes to who sent it
	frame_put16(l4 + (k->proto == FRAME_ICMP ? 4 : 0), k->sport);
	if (k->proto == FRAME_ICMP)
		frame_put16(l4, k->from == UPLINK ? 0x0800 : 0);
	else
		frame_put16(l4 + 2, k->dport);
}

// An error about k with right sums; returns its size.
static size_t build(uint8_t *frame, const struct known *k)
{
	size_t n = k->proto == FRAME_TCP ? 20 : 16, size = QUOTE + 20 + n;
	struct mac to = way_to(k);

	memset(frame, 0, size);
	address(frame, size, k->from, &to);
	frame[ICMP + 1] = 1;
	frame[L3 + 8] = frame[QUOTE + 8] = 60;
	frame_put16(frame + QUOTE + 2, (uint32_t)(20 + n));
	write_quote(frame, k);
	if (k->proto == FRAME_UDP) {
		frame_put16(frame + QUOTE + 24, (uint32_t)n);
		frame[QUOTE + 26] = 1; // it has a sum
	} else if (k->proto == FRAME_TCP) {
		frame[QUOTE + 32] = 5 << 4;
	}
	repair(frame, size);
	return size;
}

// --- what must hold ---

static bool quotes(const uint8_t *frame, size_t end, const struct known *k)
{
	be32 src = addr(k->src), dst = addr(k->dst);
	bool echo = k->proto == FRAME_ICMP;
	const uint8_t *l4;
	size_t n;

	l4 = quoted_l4(frame, end, &n);
	return l4 && frame[QUOTE + 9] == k->proto && memcmp(frame + QUOTE + 12, &src, 4) == 0 &&
	       memcmp(frame + QUOTE + 16, &dst, 4) == 0 && memcmp(frame + L3 + 16, &src, 4) == 0 &&
	       (frame_get16(frame + QUOTE + 6) & 0x1fff) == 0 &&
	       (echo ? (l4[0] == 8 || l4[0] == 0) && frame_get16(l4 + 4) == k->sport
		     : frame_get16(l4) == k->sport && frame_get16(l4 + 2) == k->dport);
}

// Of all that translation changes in the quoted packet, with the sum that covers it.
static uint32_t inner_residue(const uint8_t *frame, const uint8_t *l4, size_t at)
{
	uint32_t sum = frame_sum(frame_get16(l4 + at), l4, at == 2 ? 0 : 4);

	return fuzz_residue(
		at == 2 ? frame_sum(sum, l4 + 4, 2) : frame_sum(sum, frame + QUOTE + 12, 8));
}

static void check_quoted_sum(const uint8_t *sent, const uint8_t *got, size_t end)
{
	uint8_t proto = sent[QUOTE + 9];
	size_t n = 0, at = frame_csum_offset(proto), off;
	const uint8_t *l4 = quoted_l4(sent, end, &n);

	off = (size_t)(l4 - sent);
	if (proto == FRAME_TCP && n < 20)
		return;
	if (proto == FRAME_UDP)
		CHECK((frame_get16(l4 + at) == 0) == (frame_get16(got + off + at) == 0));
	if (proto == FRAME_UDP && frame_get16(l4 + at) == 0)
		return;
	CHECK(inner_residue(sent, l4, at) == inner_residue(got, got + off, at));
}

static void check_got(const struct known *k, const uint8_t *sent, size_t end, const uint8_t *got)
{
	bool inward = k->from == UPLINK;
	uint8_t want[FRAME_MAX], *l4;
	size_t n = 0, ihl = (sent[QUOTE] & 15) * 4u, at = frame_csum_offset(k->proto);
	be32 to = k->addr ? addr(k->addr) : 0;

	memcpy(want, sent, end);
	quoted_l4(sent, end, &n);
	l4 = want + QUOTE + ihl;
	if (k->addr) {
		memcpy(want, got, 12);
		want[L3 + 8]--;
		memcpy(want + L3 + (inward ? 16 : 12), &to, 4);
		memcpy(want + QUOTE + (inward ? 12 : 16), &to, 4);
		frame_put16(l4 + (k->proto == FRAME_ICMP ? 4 : inward ? 0 : 2), k->port);
		memcpy(want + L3 + 10, got + L3 + 10, 2);
		memcpy(want + ICMP + 2, got + ICMP + 2, 2);
		memcpy(want + QUOTE + 10, got + QUOTE + 10, 2);
		if (at + 2 <= n && (k->proto != FRAME_TCP || n >= 20))
			memcpy(l4 + at, got + QUOTE + ihl + at, 2);
	}
	CHECK(memcmp(want, got, end) == 0);
	CHECK(frame_sum(0, got + L3, 20) == 0xffff);
	CHECK(fuzz_residue(frame_sum(0, sent + ICMP, (uint32_t)(end - ICMP))) ==
		fuzz_residue(frame_sum(0, got + ICMP, (uint32_t)(end - ICMP))));
	CHECK(fuzz_residue(frame_sum(0, sent + QUOTE, (uint32_t)ihl)) ==
		fuzz_residue(frame_sum(0, got + QUOTE, (uint32_t)ihl)));
	check_quoted_sum(sent, got, end);
}

// Inside a segment anybody may: he could say anything else, too.
static bool may_tell(const struct known *k, uint32_t from)
{
	return k->addr ? k->from == from : k->from / 10 == from / 10;
}

// The port it was told on, 0 if nobody was told.
static uint32_t check_told(uint32_t from, const uint8_t *frame, size_t size)
{
	size_t end = L3 + frame_get16(frame + L3 + 2);
	const struct known *k = known;
	uint32_t told = 0;

	for (uint32_t i = 0; i < 64; i++) {
		if (!wires[i] || wires[i]->n_out == 0)
			continue;
		CHECK(told == 0 && wires[i]->n_out == 1);
		told = i;
	}
	if (told == 0)
		return 0;
	while (k < known + N_KNOWN && !(may_tell(k, from) && quotes(frame, end, k)))
		k++;
	CHECK(k < known + N_KNOWN);
	// Inside a segment its MAC says where to; red's trunk has whoever is not known.
	CHECK(told == k->told || (!k->addr && (told / 10 == from / 10 || told == TRUNK)));
	CHECK(told != TRUNK || from / 10 == RED);
	if (told == TRUNK)
		return told;
	CHECK(wires[told]->out_size[0] == end);
	check_got(k, frame, end, wires[told]->out[0]);
	return told;
}

// --- the target ---

static void begin(uint32_t from, uint8_t proto, struct mac to, const char *src, const char *dst,
	uint16_t sport, uint16_t dport)
{
	struct frame f;
	be32 ends[2] = { addr(src), addr(dst) };
	struct mac me = mac_of(from);
	uint8_t *l3, *l4;

	frame_build(&f, 0, 4, proto, 8, false);
	l3 = f.data + f.l3_off;
	l4 = f.data + f.l4_off;
	memcpy(f.data, &to, 6);
	memcpy(f.data + 6, &me, 6);
	memcpy(l3 + 12, ends, 8);
	frame_ipv4_csum(l3);
	if (proto == FRAME_ICMP)
		frame_put16(l4 + 4, sport);
	else
		frame_put16(l4, sport), frame_put16(l4 + 2, dport);
	fuzz_send(from, f.data, f.size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t frame[FRAME_MAX];

	fixture_nat_first = fixture_nat_last = EXT_PORT;
	if (fixture_eal(NULL) < 0 || fixture_setup(NULL) < 0)
		return -1;
	begin(RED_1, FRAME_UDP, red_gw, ONE, OUTSIDE, 7000, 53);
	begin(RED_1, FRAME_TCP, red_gw, ONE, OUTSIDE, 7001, 443);
	begin(RED_1, FRAME_ICMP, red_gw, ONE, OUTSIDE, ECHO_ID, 0);
	begin(RED_1, FRAME_UDP, mac_of(RED_2), ONE, TWO, 1, 2);
	begin(BLUE_1, FRAME_UDP, mac_of(BLUE_2), ONE, TWO, 1, 2);
	CHECK(session_count(fx.sw->sessions) == 5);
	for (unsigned i = 0; i < N_KNOWN; i++) {
		size_t size = build(frame, &known[i]);

		fuzz_send(known[i].from, frame, size);
		CHECK(check_told(known[i].from, frame, size) == known[i].told);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t frame[FRAME_MAX];
	uint32_t from;

	if (size < 1 + QUOTE || size > FRAME_MAX)
		return 0;
	from = ports[(data[0] & 0x7f) % 5];
	size--;
	memcpy(frame, data + 1, size);
	if (data[0] & 0x80)
		repair(frame, size);
	// Other packets would begin sessions, and are fuzz_nat's and fuzz_pipeline's.
	if (frame_get16(frame + 12) != ETHTYPE_IPV4 || frame[L3] != 0x45 ||
		frame[L3 + 9] != FRAME_ICMP || !is_error_type(frame[ICMP]) || (frame[0] & 1))
		return 0;
	fuzz_send(from, frame, size);
	check_told(from, frame, size);
	CHECK(session_count(fx.sw->sessions) == 5);
	fixture_clear();
	CHECK(rte_mempool_in_use_count(fx.sw->workers[0]->small) == 0);
	return 0;
}

// What libFuzzer makes of an input, with lengths, guard's headers and, nearly always, a known quote
// and the sums put right again.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	const struct known *k = &known[seed / 64 % N_KNOWN];
	uint8_t *frame = data + 1;
	uint32_t from = seed / 4 % 8 == 0 ? ports[seed / 32 % 5] : k->from;
	struct mac to = way_to(k);

	if (max_size < 1 + QUOTE + 40)
		return size;
	if (size < 1 + QUOTE + 28 || seed % 8 == 0)
		size = 1 + build(frame, k);
	size = LLVMFuzzerMutate(data, size, max_size < FRAME_MAX ? max_size : FRAME_MAX);
	if (size < 1 + QUOTE + 28 || seed % 16 == 1)
		return size;
	for (unsigned i = 0; i < 5 && seed % 4 != 2; i++)
		data[0] = ports[i] == from ? (uint8_t)i : data[0];
	if (seed % 4 != 2)
		address(frame, size - 1, from, &to);
	if (seed % 4 != 3)
		write_quote(frame, k);
	if (seed % 32 != 4)
		repair(frame, size - 1);
	return size;
}
