// SPDX-License-Identifier: BSD-3-Clause
// circulate: a fixed set of frames goes round between the guest's first two nics, through whatever
// connects them; no generator. Nothing is copied: the buffer that a frame came in is what it goes
// out from.
#include "base.h"
#include "circulate.h"
#include "cpu.h"
#include "run_lists.h"

enum {
	BURST = 32,
	PROTOCOL_UDP = 17,
	PORT_HERE = 7000,
	PORT_THERE = 9000,
	HEADER_SIZE = CIRCULATE_HEADER,
	MIN_SIZE = NET_HEADERS + sizeof(struct udp_hdr),
	MAX_SIZE = 1514,
	MAX_FRAMES = 128,
	TTL = 64,
};

#define SECOND_NS 1000000000ull
#define PATH_NS (5 * SECOND_NS)
#define PROBE_AGAIN_NS (SECOND_NS / 100)
#define QUIET_NS (SECOND_NS / 50)

void circulate_make(
	uint8_t *buffer, const struct net *from, const struct net *to, size_t size, uint16_t flow)
{
	struct datagram_frame *f = (struct datagram_frame *)(buffer + HEADER_SIZE);

	memset(buffer, 0, HEADER_SIZE + size);
	f->eth = (struct eth_hdr){ to->nic.mac, from->nic.mac, htons(ETHTYPE_IPV4) };
	f->ip = (struct ipv4_hdr){ .version_ihl = 0x45,
		.frag_off = htons(IPV4_FLAG_DF),
		.ttl = TTL,
		.proto = PROTOCOL_UDP,
		.src = from->ip,
		.dst = to->ip };
	f->ip.total_len = htons((uint16_t)(size - ETH_HDR_SIZE));
	f->ip.csum = csum_finish(csum_add(0, &f->ip, sizeof(f->ip)));
	f->udp = (struct udp_hdr){ htons((uint16_t)(PORT_HERE + flow)), htons(PORT_THERE),
		htons((uint16_t)(size - NET_HEADERS)), 0 };
}

// Back to where it came from; all sums stay right. false: it is none of ours.
bool circulate_turn(uint8_t *buffer, uint32_t size)
{
	struct datagram_frame *f = (struct datagram_frame *)(buffer + HEADER_SIZE);
	struct mac mac = f->eth.dst;
	be32 ip = f->ip.dst;
	be16 port = f->udp.dst_port;

	if (size < HEADER_SIZE + sizeof(*f) || f->eth.type != htons(ETHTYPE_IPV4) ||
		f->ip.proto != PROTOCOL_UDP)
		return false;
	memset(buffer, 0, HEADER_SIZE);
	f->eth.dst = f->eth.src;
	f->eth.src = mac;
	f->ip.dst = f->ip.src;
	f->ip.src = ip;
	f->udp.dst_port = f->udp.src_port;
	f->udp.src_port = port;
	return true;
}

void circulate_rx_give(struct nic *nic, uint8_t *buffer)
{
	struct piece piece = { buffer, NIC_RX_SIZE };

	virtq_add(&nic->rx, &piece, 0, 1, buffer);
}

void circulate_tx_give(struct nic *nic, uint8_t *buffer, uint32_t size)
{
	struct piece piece = { buffer, size };

	if (virtq_add(&nic->tx, &piece, 1, 0, buffer) < 0)
		circulate_rx_give(nic, buffer);
}

// Returns how many frames came.
static unsigned nic_turn(struct nic *nic)
{
	unsigned n = 0;
	uint8_t *buffer;
	uint32_t size;

	while ((buffer = virtq_take(&nic->tx, &size)) != NULL)
		circulate_rx_give(nic, buffer);
	for (unsigned i = 0; i < BURST && (buffer = virtq_take(&nic->rx, &size)) != NULL; i++) {
		if (circulate_turn(buffer, size)) {
			circulate_tx_give(nic, buffer, size);
			n++;
		} else {
			circulate_rx_give(nic, buffer);
		}
	}
	virtq_kick(&nic->tx);
	virtq_kick(&nic->rx);
	return n;
}

// Who serves the nics' rings may need a moment before it carries anything: one frame at a time, in
// the first nic's first buffer, until one has come through and no more do.
static bool path_wait(struct net *here, struct net *there, size_t size)
{
	uint64_t start = time_ns(), again = start, came = 0, now = start;
	uint8_t *probe = here->nic.rx_buffers, *buffer;
	uint32_t got;

	for (; now < start + PATH_NS && (!came || now < came + QUIET_NS); now = time_ns()) {
		if (virtq_take(&here->nic.tx, &got) == probe)
			again = now + PROBE_AGAIN_NS;
		if (!came && again && now >= again) {
			circulate_make(probe, here, there, size, 0);
			circulate_tx_give(&here->nic, probe, (uint32_t)(HEADER_SIZE + size));
			virtq_kick(&here->nic.tx);
			again = 0; // not before the device is done with this one
		}
		buffer = virtq_take(&there->nic.rx, &got);
		if (!buffer)
			continue;
		came = circulate_turn(buffer, got) ? now : came;
		circulate_rx_give(&there->nic, buffer);
	}
	return came > 0 && again; // the buffer is back
}

// Of the first nic's buffers, `n_frames` are sent; all others wait for frames.
static void frames_begin(
	struct net *here, struct net *there, unsigned n_frames, size_t size, uint16_t n_flows)
{
	for (unsigned i = 0; i < here->nic.rx.size; i++) {
		uint8_t *buffer = here->nic.rx_buffers + i * NIC_RX_SIZE;

		if (i >= n_frames) {
			circulate_rx_give(&here->nic, buffer);
			continue;
		}
		circulate_make(buffer, here, there, size, (uint16_t)(i % n_flows));
		circulate_tx_give(&here->nic, buffer, (uint32_t)(HEADER_SIZE + size));
	}
	virtq_kick(&here->nic.rx);
	virtq_kick(&here->nic.tx);
}

// circulate:FRAMES:SIZE:SECONDS[:FLOWS]: SIZE without the FCS
static bool run_circulate(const struct arguments *args)
{
	uint64_t n_frames = argument_number(args, 1, 64), size = argument_number(args, 2, 60);
	uint64_t seconds = argument_number(args, 3, 1), n_flows = argument_number(args, 4, 1);
	uint64_t start, late = 0, n = 0;
	struct net *nets[2];

	for (unsigned i = 0; i < LENGTH_OF(nets); i++) {
		net_select(i);
		nets[i] = net_current();
		nic_restart(&nets[i]->nic, false);
	}
	if (n_frames > MAX_FRAMES || size < MIN_SIZE || size > MAX_SIZE || n_flows == 0) {
		say("fail circulate: up to %u frames of %u to %u bytes", MAX_FRAMES,
			(unsigned)MIN_SIZE, MAX_SIZE);
		return false;
	}
	for (unsigned i = 0; i < nets[1]->nic.rx.size; i++)
		circulate_rx_give(&nets[1]->nic, nets[1]->nic.rx_buffers + i * NIC_RX_SIZE);
	virtq_kick(&nets[1]->nic.rx);
	if (!path_wait(nets[0], nets[1], size)) {
		say("fail circulate: nothing comes through");
		return false;
	}
	say("ok circulation begins");
	frames_begin(nets[0], nets[1], (unsigned)n_frames, size, (uint16_t)n_flows);
	start = time_ns();
	while (time_ns() < start + seconds * SECOND_NS) {
		unsigned came = nic_turn(&nets[0]->nic) + nic_turn(&nets[1]->nic);

		n += came;
		late += time_ns() > start + seconds * SECOND_NS * 9 / 10 ? came : 0;
	}
	say("%s circulate %lu frames in %lu us, %lu in the last tenth", late > 0 ? "ok" : "fail", n,
		(time_ns() - start) / 1000, late);
	for (unsigned i = 0; i < LENGTH_OF(nets); i++)
		nic_restart(&nets[i]->nic, true);
	net_select(0);
	return late > 0;
}

const struct command commands_circulate[] = {
	{ "circulate", 3, 4, run_circulate },
	{ 0 },
};
