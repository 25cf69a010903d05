// SPDX-License-Identifier: BSD-3-Clause
// Lies by their number in HOSTILE.md. Each row is told to a nic that was just reset and serves
// again; the guest then says what the device made of it, and resets it. What must hold is for the
// host's side to check.
#pragma once

#include "net.h"

struct lie {
	const char *number, *what;
	void (*tell)(struct nic *nic, uint64_t arg, uint64_t until_ns);
	uint64_t arg;
};

// Of the last, to a nic without buffers to receive into.
extern const struct lie lies_rings[], lies_frames[], lies_registers[], lies_bare[];

// A good frame to nobody (local experimental EtherType, IEEE 802), with virtio's header of
// HOSTILE_HEADER bytes before it; the same memory each time.
enum { HOSTILE_HEADER = 12, HOSTILE_FRAME = HOSTILE_HEADER + 60 };
uint8_t *hostile_frame(const struct nic *nic);
// RAM that a device may write.
uint8_t *hostile_memory(void);
enum { HOSTILE_MEMORY = 128 << 10 };

// Writes one descriptor; offers a head; notifies the device whatever it wants.
void hostile_desc(
	struct virtq *q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void hostile_offer(struct virtq *q, uint16_t head);
void hostile_kick(struct virtq *q);
