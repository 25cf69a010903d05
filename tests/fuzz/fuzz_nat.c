// SPDX-License-Identifier: BSD-3-Clause
// Sessions and SNAT both ways: well-formed packets of four guests of two tenants, and of strangers,
// with right, wrong, missing and partial checksums. A model here knows who asked for what. What
// goes out is the original but for address, port, TTL and MACs; its answer comes back as an answer
// to the original, to the one who asked and to nobody else; a sum is right (or as wrong) afterwards
// as it was before; no two endpoints share an external port; what nobody asked for reaches nobody.
// Input: operations of OP_SIZE bytes, each followed by its payload.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_switch.h"

enum { OP_SIZE = 12, OPS_MAX = 24, FLOWS_MAX = 64 };
enum kind { GO_OUT, GO_PEER, STRANGER, CHANGE, KIND_COUNT };
enum sums { SUMS_RIGHT, SUMS_WRONG, SUMS_NONE, SUMS_PARTIAL };

struct op {
	uint8_t kind, sums, proto, remote, ttl, tcp_flags, hint;
	uint32_t who;
	uint16_t sport, rport;
	const uint8_t *payload;
	size_t n_payload;
};

struct fuzz_packet {
	uint8_t data[1600];
	size_t size;
	struct virtio_net_hdr hdr;
};

struct flow { // asked for by `who`
	bool live; // nothing has happened that may have ended it
	uint32_t who;
	uint8_t proto, remote;
	uint16_t sport, rport, ext; // ext = on the uplink
};

static struct flow flows[FLOWS_MAX];
static unsigned n_flows;
static uint64_t generation = 1;

static const char *const remotes[] = { "203.0.113.9", "192.0.2.1", "198.51.100.7", "8.8.8.8" };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return fixture_eal(NULL) < 0 ? -1 : fixture_setup(NULL);
}

static be32 inside(uint32_t who)
{
	return addr(who == RED_1 || who == BLUE_1 ? "10.0.0.11" : "10.0.0.12");
}

static void read_op(const uint8_t *p, struct op *op)
{
	static const uint32_t ports[] = { RED_1, RED_2, BLUE_1, BLUE_2 };
	static const uint8_t protos[] = { FRAME_UDP, FRAME_TCP, FRAME_ICMP, FRAME_UDP };

	op->kind = p[0] % KIND_COUNT;
	op->who = ports[p[0] >> 2 & 3];
	op->proto = protos[p[0] >> 4 & 3];
	op->sums = p[0] >> 6;
	op->remote = p[1] % 4;
	op->hint = p[1] >> 2;
	op->ttl = p[2];
	op->tcp_flags = p[3];
	op->sport = (uint16_t)frame_get16(p + 4);
	op->rport = (uint16_t)frame_get16(p + 6);
	op->n_payload = frame_get16(p + 8) % 1400;
	if (op->sport == 0 || op->rport == 0 || op->rport == 68)
		op->sport = op->rport = 7; // DHCP has a guard of its own
	if (op->sport == 68)
		op->sport = 69;
}

// What a checksum field would have to hold; `partial` the pseudo header's sum only.
static void set_sums(struct fuzz_packet *f, const struct op *op)
{
	uint8_t *l3 = f->data + 14, *csum = l3 + 20 + frame_csum_offset(l3[9]);
	uint32_t l4_size = (uint32_t)f->size - 34, sum;

	frame_ipv4_csum(l3);
	frame_put16(csum, 0);
	sum = l3[9] == FRAME_ICMP ? 0 : frame_pseudo(l3, l3[9], l4_size);
	if (op->sums == SUMS_PARTIAL && l3[9] != FRAME_ICMP) {
		frame_put16(csum, sum);
		f->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		f->hdr.csum_start = 34;
		f->hdr.csum_offset = (uint16_t)frame_csum_offset(l3[9]);
		return;
	}
	sum = ~frame_sum(sum, l3 + 20, l4_size) & 0xffff;
	if (op->sums == SUMS_NONE)
		sum = 0;
	else if (sum == 0 && l3[9] == FRAME_UDP)
		sum = 0xffff; // RFC 768
	if (op->sums == SUMS_WRONG)
		sum ^= op->tcp_flags | 0x100u;
	frame_put16(csum, sum);
}

static void build(struct fuzz_packet *f, const struct op *op, struct mac from, struct mac to,
	be32 src, be32 dst, uint16_t sport, uint16_t dport, uint8_t icmp_type)
{
	uint8_t *l3 = f->data + 14, *l4 = l3 + 20;
	size_t l4_hdr = op->proto == FRAME_TCP ? 20 : 8;

	*f = (struct fuzz_packet){ .size = 34 + l4_hdr + op->n_payload };
	memcpy(f->data, &to, 6);
	memcpy(f->data + 6, &from, 6);
	frame_put16(f->data + 12, ETHTYPE_IPV4);
	l3[0] = 0x45;
	l3[1] = op->hint;
	frame_put16(l3 + 2, (uint32_t)f->size - 14);
	frame_put16(l3 + 6, 0x4000);
	l3[8] = op->ttl;
	l3[9] = op->proto;
	memcpy(l3 + 12, &src, 4);
	memcpy(l3 + 16, &dst, 4);
	frame_put16(l4, sport);
	frame_put16(l4 + 2, dport);
	if (op->proto == FRAME_TCP) {
		l4[12] = 5 << 4;
		l4[13] = op->tcp_flags;
	} else if (op->proto == FRAME_UDP) {
		frame_put16(l4 + 4, (uint32_t)(8 + op->n_payload));
	} else {
		frame_put16(l4, (uint32_t)icmp_type << 8);
		frame_put16(l4 + 4, icmp_type ? sport : dport);
	}
	if (op->n_payload)
		memcpy(l4 + l4_hdr, op->payload, op->n_payload);
	set_sums(f, op);
}

static void put(uint32_t port, const struct fuzz_packet *f)
{
	wires[port]->in_hdr[0] = f->hdr;
	fuzz_send(port, f->data, f->size);
}

// Nothing left but, at most, one frame on this port.
static const uint8_t *only_on(uint32_t port, size_t *ret_size)
{
	for (uint32_t i = 0; i < 64; i++)
		CHECK(!wires[i] || i == port || wires[i]->n_out == 0);
	CHECK(wires[port]->n_out <= 1);
	*ret_size = wires[port]->out_size[0];
	return wires[port]->n_out ? wires[port]->out[0] : NULL;
}

// got is `sent` with another source or destination, one TTL less, and sums as right as before.
static void check_translated(const struct fuzz_packet *sent, const uint8_t *got, size_t size,
	be32 src, be32 dst, uint16_t sport, uint16_t dport)
{
	const uint8_t *l3 = sent->data + 14;
	bool partial = sent->hdr.flags != 0;
	uint32_t at = 34 + frame_csum_offset(l3[9]), n = (uint32_t)size - 34;
	uint8_t want[sizeof(sent->data)];

	CHECK(size == sent->size);
	memcpy(want, sent->data, size);
	memcpy(want, got, 12); // MACs
	want[14 + 8]--;
	memcpy(want + 14 + 12, &src, 4);
	memcpy(want + 14 + 16, &dst, 4);
	if (l3[9] == FRAME_ICMP) {
		frame_put16(want + 34 + 4, want[34] ? sport : dport);
	} else {
		frame_put16(want + 34, sport);
		frame_put16(want + 36, dport);
	}
	memcpy(want + 14 + 10, got + 14 + 10, 2);
	memcpy(want + at, got + at, 2);
	CHECK(memcmp(want, got, size) == 0);
	CHECK(frame_sum(0, got + 14, 20) == 0xffff);
	if (partial) {
		CHECK(fuzz_residue(frame_get16(got + at)) ==
			fuzz_residue(frame_pseudo(got + 14, l3[9], n)));
		return;
	}
	CHECK((l3[9] == FRAME_UDP && frame_get16(sent->data + at) == 0) ||
		fuzz_l4_residue(l3, n) == fuzz_l4_residue(got + 14, n));
	if (l3[9] == FRAME_UDP) // 0 says that there is no sum: nobody begins or ends to say so
		CHECK((frame_get16(sent->data + at) == 0) == (frame_get16(got + at) == 0));
}

// Sends and checks the answer to what left as `f` says.
static void answer(const struct op *op, const struct flow *f)
{
	struct fuzz_packet back;
	const uint8_t *got;
	size_t size;

	build(&back, op, world, mac_of(UPLINK), addr(remotes[f->remote]), addr("198.51.100.2"),
		f->rport, f->ext, 0);
	put(UPLINK, &back);
	got = only_on(f->who, &size);
	if (op->ttl <= 1) {
		CHECK(got == NULL);
		return;
	}
	CHECK(got != NULL);
	CHECK(got[5] == f->who && got[10] == 1);
	check_translated(
		&back, got, size, addr(remotes[f->remote]), inside(f->who), f->rport, f->sport);
}

static void go_out(const struct op *op)
{
	uint32_t tenant = op->who / 10;
	struct flow f = { true, op->who, op->proto, op->remote, op->sport, op->rport, 0 };
	struct fuzz_packet out;
	const uint8_t *got;
	size_t size;

	build(&out, op, mac_of(op->who), tenant == RED ? red_gw : blue_gw, inside(op->who),
		addr(remotes[op->remote]), op->sport, op->rport, ICMP_ECHO_REQUEST);
	put(op->who, &out);
	got = only_on(UPLINK, &size);
	CHECK((got != NULL) == (op->ttl > 1));
	if (!got)
		return;
	f.ext = (uint16_t)frame_get16(got + (op->proto == FRAME_ICMP ? 38 : 34));
	CHECK(f.ext >= 1024);
	check_translated(
		&out, got, size, addr("198.51.100.2"), addr(remotes[op->remote]), f.ext, op->rport);
	for (unsigned i = 0; i < n_flows; i++) {
		const struct flow *o = &flows[i];
		bool same = o->who == f.who && o->sport == f.sport;

		// RFC 4787 REQ-1 and REQ-3: one port for each endpoint, whomever it talks to
		CHECK(!o->live || o->proto != f.proto || same == (o->ext == f.ext));
	}
	if (n_flows < FLOWS_MAX)
		flows[n_flows++] = f;
	answer(op, &f);
}

// Inside a segment nothing is changed.
static void go_peer(const struct op *op)
{
	uint32_t peer = op->who % 10 == 1 ? op->who + 1 : op->who - 1;
	struct fuzz_packet out;
	const uint8_t *got;
	size_t size;

	build(&out, op, mac_of(op->who), mac_of(peer), inside(op->who), inside(peer), op->sport,
		op->rport, ICMP_ECHO_REQUEST);
	put(op->who, &out);
	got = only_on(peer, &size);
	CHECK(got && size == out.size && memcmp(got, out.data, size) == 0);
	build(&out, op, mac_of(peer), mac_of(op->who), inside(peer), inside(op->who), op->rport,
		op->sport, 0);
	put(peer, &out);
	got = only_on(op->who, &size);
	CHECK(got && size == out.size && memcmp(got, out.data, size) == 0);
}

// From outside, to a port that somebody has (by hint) or to any.
static void stranger(const struct op *op)
{
	const struct flow *aim = n_flows ? &flows[op->hint % n_flows] : NULL, *asked = NULL;
	uint16_t ext = aim && (op->tcp_flags & 1) ? aim->ext : op->sport;
	uint16_t rport = aim && (op->tcp_flags & 2) ? aim->rport : op->rport;
	struct fuzz_packet in;
	uint32_t to = 0;

	build(&in, op, world, mac_of(UPLINK), addr(remotes[op->remote]), addr("198.51.100.2"),
		rport, ext, 0);
	put(UPLINK, &in);
	for (uint32_t i = 0; i < 64; i++) {
		if (!wires[i] || wires[i]->n_out == 0)
			continue;
		CHECK(to == 0 && wires[i]->n_out == 1 && i != UPLINK);
		to = i;
	}
	for (unsigned i = 0; i < n_flows; i++) {
		const struct flow *f = &flows[i];

		if (f->proto != op->proto || f->remote != op->remote || f->ext != ext ||
			(f->rport != rport && f->proto != FRAME_ICMP))
			continue;
		CHECK(!f->live || op->ttl <= 1 || to == f->who);
		if (to == f->who)
			asked = f;
	}
	CHECK(to == 0 || asked);
}

// Time passes, or the file is applied again with something else about red.
static void change(const struct op *op)
{
	if (op->hint & 1) {
		generation++;
		fixture_publish(generation, op->hint & 2 ? generation : 1);
		return;
	}
	for (unsigned i = 0; i < n_flows; i++)
		flows[i].live = false;
	fx.now_ns += op->sport * SECOND / 4;
	switch_expire(fx.sw, fx.now_ns);
	session_reclaim(fx.sw->sessions);
	nat_reclaim(fx.sw->mappings);
	fixture_clear();
	fixture_round();
	for (unsigned i = 0; i < 8 && fuzz_answer_arp(); i++)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct op op;

	n_flows = 0;
	for (unsigned n = 0; n < OPS_MAX && size >= OP_SIZE; n++) {
		read_op(data, &op);
		data += OP_SIZE;
		size -= OP_SIZE;
		op.payload = data;
		op.n_payload = op.n_payload < size ? op.n_payload : size;
		data += op.n_payload;
		size -= op.n_payload;
		switch ((enum kind)op.kind) {
		case GO_OUT:
			go_out(&op);
			break;
		case GO_PEER:
			go_peer(&op);
			break;
		case STRANGER:
			stranger(&op);
			break;
		case CHANGE:
			change(&op);
			break;
		case KIND_COUNT:
			break;
		}
	}
	fuzz_forget();
	return 0;
}
