// SPDX-License-Identifier: BSD-3-Clause
// HOSTILE.md B, buffers and virtio-net's header: H-20, H-22, H-23, H-24, H-26.
#include "base.h"
#include "cpu.h"
#include "hostile.h"
#include "io.h"

enum { NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE, TINY = 11 };

static void tell_written_tx(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	hostile_desc(&nic->tx, 0, (uintptr_t)hostile_frame(nic), HOSTILE_FRAME, WRITE, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// H-20: receive buffers of `arg` bytes, all in one place; 0: that the device may not write. What
// comes in is up to others.
static void tell_rx(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtq *q = &nic->rx;

	for (uint16_t i = 0; i < q->size; i++) {
		hostile_desc(q, i, (uintptr_t)hostile_memory(), arg ? (uint32_t)arg : NIC_RX_SIZE,
			arg ? WRITE : 0, 0);
		hostile_offer(q, i);
	}
	hostile_kick(q);
}

// H-26
static void tell_nothing(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	while (time_ns() < until_ns)
		;
}

// H-22: arg pieces of one byte, then the rest
static void tell_pieces(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint64_t frame = (uintptr_t)hostile_frame(nic);
	uint16_t n = (uint16_t)arg;

	for (uint16_t i = 0; i < n; i++)
		hostile_desc(&nic->tx, i, frame + i, 1, NEXT, (uint16_t)(i + 1));
	hostile_desc(&nic->tx, n, frame + n, HOSTILE_FRAME - n, 0, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// H-22: a chain of `arg` bytes, header included, in pieces of 4 KiB
static void tell_size(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	uint8_t *at = hostile_memory();
	uint16_t i = 0;

	memset(at, 0, HOSTILE_MEMORY);
	memcpy(at, hostile_frame(nic), HOSTILE_FRAME);
	for (; arg > 4096; arg -= 4096, at += 4096, i++)
		hostile_desc(&nic->tx, i, (uintptr_t)at, 4096, NEXT, (uint16_t)(i + 1));
	hostile_desc(&nic->tx, i, (uintptr_t)at, (uint32_t)arg, 0, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

static void header_tell(struct nic *nic, const struct virtio_net_hdr *header)
{
	uint8_t *frame = hostile_frame(nic);

	memcpy(frame, header, sizeof(*header));
	hostile_desc(&nic->tx, 0, (uintptr_t)frame, HOSTILE_FRAME, 0, 0);
	hostile_offer(&nic->tx, 0);
	hostile_kick(&nic->tx);
}

// H-23: arg: start << 16 | offset
static void tell_csum(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };

	h.csum_start = (uint16_t)(arg >> 16);
	h.csum_offset = (uint16_t)arg;
	header_tell(nic, &h);
}

// H-24: arg: type << 48 | flags << 32 | gso_size << 16 | hdr_len
static void tell_gso(struct nic *nic, uint64_t arg, uint64_t until_ns)
{
	struct virtio_net_hdr h = {
		.flags = (uint8_t)(arg >> 32), .csum_start = NET_HEADERS, .csum_offset = 16
	};

	h.gso_type = (uint8_t)(arg >> 48);
	h.gso_size = (uint16_t)(arg >> 16);
	h.hdr_len = (uint16_t)arg;
	header_tell(nic, &h);
}

#define CSUM(start, offset) ((uint64_t)(start) << 16 | (offset))
#define GSO(type, flags, size, length) \
	((uint64_t)(type) << 48 | (uint64_t)(flags) << 32 | (uint64_t)(size) << 16 | (length))

const struct lie lies_frames[] = {
	{ "H-20", "transmit buffer to write", tell_written_tx, 0 },
	{ "H-22", "header in 12 pieces", tell_pieces, 12 },
	{ "H-22", "all in 71 pieces", tell_pieces, 71 },
	{ "H-22", "chain of 0", tell_size, 0 },
	{ "H-22", "chain of 1", tell_size, 1 },
	{ "H-22", "chain of 11", tell_size, 11 },
	{ "H-22", "frame of 0", tell_size, 12 },
	{ "H-22", "frame of 1", tell_size, 13 },
	{ "H-22", "frame of 13", tell_size, 25 },
	{ "H-22", "frame of 14", tell_size, 26 },
	{ "H-22", "frame of 65536", tell_size, 65548 },
	{ "H-22", "frame of 131060", tell_size, 131072 },
	{ "H-23", "start 0", tell_csum, CSUM(0, 0) },
	{ "H-23", "last two bytes", tell_csum, CSUM(14, 44) },
	{ "H-23", "one byte past the end", tell_csum, CSUM(14, 45) },
	{ "H-23", "start at the end", tell_csum, CSUM(60, 0) },
	{ "H-23", "start past the end", tell_csum, CSUM(61, 0) },
	{ "H-23", "offset 65535", tell_csum, CSUM(0, 65535) },
	{ "H-23", "start 65535", tell_csum, CSUM(65535, 0) },
	{ "H-23", "a sum that wraps", tell_csum, CSUM(65535, 14) },
	{ "H-24", "TCP, size 0", tell_gso, GSO(1, 1, 0, 54) },
	{ "H-24", "TCP, size 1", tell_gso, GSO(1, 1, 1, 54) },
	{ "H-24", "TCP, size 65535", tell_gso, GSO(1, 1, 65535, 54) },
	{ "H-24", "TCP without a checksum", tell_gso, GSO(1, 0, 1460, 54) },
	{ "H-24", "UDP", tell_gso, GSO(3, 1, 1460, 54) },
	{ "H-24", "unknown type", tell_gso, GSO(0x7f, 1, 1460, 54) },
	{ "H-24", "ECN alone", tell_gso, GSO(0x80, 1, 1460, 54) },
	{ "H-24", "hdr_len 0", tell_gso, GSO(1, 1, 1460, 0) },
	{ "H-24", "hdr_len 65535", tell_gso, GSO(1, 1, 1460, 65535) },
	{ 0 },
};

const struct lie lies_bare[] = {
	{ "H-20", "receive buffers to read", tell_rx, 0 },
	{ "H-20", "receive buffers of 1", tell_rx, 1 },
	{ "H-20", "receive buffers of 11", tell_rx, TINY },
	{ "H-20", "receive buffers of 13, overlapping", tell_rx, 13 },
	{ "H-26", "no receive buffers", tell_nothing, 0 },
	{ 0 },
};
