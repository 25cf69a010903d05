// SPDX-License-Identifier: BSD-3-Clause
// MSI-X of one PCI device (PCI 3.0, 6.8.2). A source, an eventfd of a queue's or of the
// configuration's, is written to by whoever has something to tell; while its vector may send, KVM
// turns that into the message, and while it is masked the eventfd itself remembers what is pending.
// Called with the machine's lock held.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/irq.h"

enum { MSIX_VECTORS = 66, MSIX_NO_VECTOR = 0xffff };

struct msix_source {
	int fd; // eventfd, owned
	uint16_t vector; // MSIX_NO_VECTOR: what it tells is thrown away when it gets one
	bool attached;
};

struct msix_vector {
	uint32_t address_low, address_high, data, control; // as the guest sees them, 6.8.2.6-9
	int gsi;
};

struct msix {
	struct irqs *irqs;
	uint16_t n_vectors, n_sources;
	bool enabled, masked; // message control, 6.8.2.3
	struct msix_vector vectors[MSIX_VECTORS];
	struct msix_source sources[MSIX_VECTORS];
};

// n: vectors, and sources, at most MSIX_VECTORS.
int msix_init(struct msix *x, struct irqs *irqs, uint16_t n);
void msix_free(struct msix *x);
// Everything as after power-on.
void msix_reset(struct msix *x);
// Writes of message control; true reads back what is in effect.
void msix_set_control(struct msix *x, uint16_t control);
// False if there is no such vector: the source has none then.
bool msix_set_vector(struct msix *x, uint16_t source, uint16_t vector);
// offset: within the table, resp. the pending bits. 4 and 8 bytes, aligned; else zeroes.
uint64_t msix_table_read(const struct msix *x, uint64_t offset, unsigned int size);
void msix_table_write(struct msix *x, uint64_t offset, unsigned int size, uint64_t value);
uint64_t msix_pending_read(const struct msix *x, uint64_t offset, unsigned int size);
