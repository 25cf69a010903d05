// SPDX-License-Identifier: BSD-3-Clause
// A virtio-net device: whole frames in and out, polled. Mergeable buffers, checksums and TCP
// segmentation where the device offers them (offloads=0 on the command line: not even then).
#pragma once

#include "virtq.h"
#include "vlan/wire.h"
#include <linux/virtio_net.h>

enum {
	NIC_TX_SIZE = 17 << 10, // the largest frame sent, before segmentation
	NIC_RX_SIZE = 2048, // of one buffer, with virtio's header
	NIC_MAX_FRAME = 65536 + ETH_HDR_SIZE,
};

struct nic_tx {
	struct nic_tx *next;
	struct virtio_net_hdr_mrg_rxbuf offload;
	uint8_t data[NIC_TX_SIZE];
};

struct nic_frame {
	const struct virtio_net_hdr *offload;
	const uint8_t *data;
	size_t size;
};

struct nic {
	struct virtio device;
	struct virtq rx, tx;
	struct mac mac;
	bool mergeable, checksums, tso; // the latter two: for what is sent
	uint8_t *rx_buffers; // as many as rx has descriptors
	struct nic_tx *tx_buffers, *tx_free;
	uint8_t *joined; // a frame that came in several buffers
	void *held; // the buffer of the frame last received
	uint64_t n_received, n_sent, n_joined;
};

// *nic is zero.
int nic_open(unsigned nth, struct nic *nic);
// Resets it and starts anew, with the same memory; with_rx false: without buffers to receive.
int nic_restart(struct nic *nic, bool with_rx);
// The next frame; valid until the next call.
bool nic_receive(struct nic *nic, struct nic_frame *ret_frame);
// A buffer to fill, its offload header zeroed; NULL if all are under way.
struct nic_tx *nic_tx_begin(struct nic *nic);
void nic_send(struct nic *nic, struct nic_tx *tx, size_t size);
