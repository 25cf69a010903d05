// SPDX-License-Identifier: BSD-3-Clause
// A virtio-net device: see nic.h.
#include <errno.h>
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "nic.h"

enum { RX_QUEUE = 0, TX_QUEUE = 1, QUEUE_SIZE = 256, N_TX = 64, HEADER_SIZE = 12 };

#define OFFLOADS \
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM | \
		1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO4)

static void rx_offer(struct nic *nic, void *buffer)
{
	struct piece piece = { buffer, NIC_RX_SIZE };

	virtq_add(&nic->rx, &piece, 0, 1, buffer);
}

static void buffers_take(struct nic *nic)
{
	if (nic->rx_buffers)
		return;
	nic->rx_buffers = memory_take((size_t)nic->rx.size * NIC_RX_SIZE, 4096);
	nic->tx_buffers = memory_take(N_TX * sizeof(*nic->tx_buffers), 4096);
	nic->joined = memory_take(NIC_MAX_FRAME, 64);
}

static void buffers_free(struct nic *nic)
{
	nic->held = NULL;
	nic->tx_free = NULL;
	for (unsigned i = 0; i < N_TX; i++) {
		nic->tx_buffers[i].next = nic->tx_free;
		nic->tx_free = &nic->tx_buffers[i];
	}
}

int nic_open(unsigned nth, struct nic *nic)
{
	int r = virtio_find(VIRTIO_ID_NET, nth, &nic->device);

	return r < 0 ? r : nic_restart(nic, true);
}

int nic_restart(struct nic *nic, bool with_rx)
{
	uint64_t wanted = 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_MRG_RXBUF;
	struct virtio *d = &nic->device;
	int r;

	if (cmdline_number("offloads", 1))
		wanted |= OFFLOADS;
	r = virtio_negotiate(d, wanted);
	if (r == 0)
		r = virtq_init(d, RX_QUEUE, QUEUE_SIZE, &nic->rx);
	if (r == 0)
		r = virtq_init(d, TX_QUEUE, QUEUE_SIZE, &nic->tx);
	if (r < 0)
		return r;
	nic->mergeable = virtio_has(d, VIRTIO_NET_F_MRG_RXBUF);
	nic->checksums = virtio_has(d, VIRTIO_NET_F_CSUM);
	nic->tso = nic->checksums && virtio_has(d, VIRTIO_NET_F_HOST_TSO4);
	for (unsigned i = 0; i < sizeof(nic->mac); i++)
		nic->mac.b[i] = mmio_read8(d->config + i);
	buffers_take(nic);
	buffers_free(nic);
	for (unsigned i = 0; with_rx && i < nic->rx.size; i++)
		rx_offer(nic, nic->rx_buffers + i * NIC_RX_SIZE);
	virtio_start(d);
	virtq_kick(&nic->rx);
	return 0;
}

static void broken(const char *what, uint32_t size, unsigned n_buffers)
{
	say("fail nic: a frame %s: %u bytes, %u buffers", what, size, n_buffers);
	cpu_end(false);
}

// virtio 1.2, 5.1.6.4: all buffers of a frame are done at once; only the first has a header.
static void frame_join(
	struct nic *nic, uint8_t *first, uint32_t size, unsigned n, struct nic_frame *ret_frame)
{
	size_t total = size - HEADER_SIZE;

	memcpy(nic->joined, first + HEADER_SIZE, total);
	for (unsigned i = 1; i < n; i++) {
		void *buffer = virtq_take(&nic->rx, &size);

		if (!buffer || size > NIC_RX_SIZE || total + size > NIC_MAX_FRAME) {
			broken("without its rest", size, n);
			return;
		}
		memcpy(nic->joined + total, buffer, size);
		total += size;
		rx_offer(nic, buffer);
	}
	nic->n_joined++;
	ret_frame->data = nic->joined;
	ret_frame->size = total;
}

bool nic_receive(struct nic *nic, struct nic_frame *ret_frame)
{
	struct virtio_net_hdr_mrg_rxbuf *header;
	unsigned n = 1;
	uint32_t size;

	if (nic->held) {
		rx_offer(nic, nic->held);
		virtq_kick(&nic->rx);
	}
	nic->held = header = virtq_take(&nic->rx, &size);
	if (!header)
		return false;
	if (size < HEADER_SIZE || size > NIC_RX_SIZE)
		broken("of a wrong size", size, n);
	if (nic->mergeable)
		n = header->num_buffers;
	if (n == 0)
		broken("of no buffers", size, n);
	ret_frame->offload = &header->hdr;
	ret_frame->data = (uint8_t *)header + HEADER_SIZE;
	ret_frame->size = size - HEADER_SIZE;
	if (n > 1)
		frame_join(nic, (uint8_t *)header, size, n, ret_frame);
	nic->n_received++;
	return true;
}

struct nic_tx *nic_tx_begin(struct nic *nic)
{
	struct nic_tx *tx;
	uint32_t size;

	while ((tx = virtq_take(&nic->tx, &size)) != NULL) {
		tx->next = nic->tx_free;
		nic->tx_free = tx;
	}
	tx = nic->tx_free;
	if (tx) {
		nic->tx_free = tx->next;
		memset(&tx->offload, 0, sizeof(tx->offload));
	}
	return tx;
}

void nic_send(struct nic *nic, struct nic_tx *tx, size_t size)
{
	struct piece pieces[] = { { &tx->offload, HEADER_SIZE }, { tx->data, (uint32_t)size } };

	if (virtq_add(&nic->tx, pieces, 2, 0, tx) < 0) {
		tx->next = nic->tx_free;
		nic->tx_free = tx;
		return;
	}
	virtq_kick(&nic->tx);
	nic->n_sent++;
}
