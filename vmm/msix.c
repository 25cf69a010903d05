// SPDX-License-Identifier: BSD-3-Clause
// See msix.h.
#include "vmm/msix.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ENTRY = 16, VECTOR_MASKED = 1, CONTROL_ENABLE = 0x8000, CONTROL_MASKED = 0x4000 };

int msix_init(struct msix *x, struct irqs *irqs, uint16_t n)
{
	*x = (struct msix){ .irqs = irqs };
	for (; x->n_vectors < n; x->n_vectors++) {
		struct msix_source *s = &x->sources[x->n_sources];
		int gsi = irq_message_new(irqs), err = gsi;

		if (gsi >= 0)
			s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (gsi < 0 || s->fd < 0) {
			if (gsi >= 0) {
				err = -errno;
				irq_message_free(irqs, gsi);
			}
			msix_free(x);
			return err;
		}
		x->vectors[x->n_vectors].gsi = gsi;
		x->n_sources++;
	}
	msix_reset(x);
	return 0;
}

static void detach(struct msix *x, struct msix_source *s)
{
	if (s->attached)
		irq_detach(x->irqs, s->fd, x->vectors[s->vector].gsi);
	s->attached = false;
}

void msix_free(struct msix *x)
{
	for (uint16_t i = 0; i < x->n_sources; i++) {
		detach(x, &x->sources[i]);
		close(x->sources[i].fd);
	}
	for (uint16_t i = 0; i < x->n_vectors; i++)
		irq_message_free(x->irqs, x->vectors[i].gsi);
	x->n_sources = x->n_vectors = 0;
}

static void drain(struct msix_source *s)
{
	uint64_t count;

	while (read(s->fd, &count, sizeof(count)) == sizeof(count))
		;
}

void msix_reset(struct msix *x)
{
	x->enabled = x->masked = false;
	for (uint16_t i = 0; i < x->n_sources; i++) {
		detach(x, &x->sources[i]);
		x->sources[i].vector = MSIX_NO_VECTOR;
		drain(&x->sources[i]);
	}
	for (uint16_t i = 0; i < x->n_vectors; i++)
		x->vectors[i] =
			(struct msix_vector){ .gsi = x->vectors[i].gsi, .control = VECTOR_MASKED };
}

static bool may_send(const struct msix *x, uint16_t vector)
{
	return x->enabled && !x->masked && !(x->vectors[vector].control & VECTOR_MASKED);
}

// Attached to its vector's message exactly while that may be sent.
static void update(struct msix *x, struct msix_source *s)
{
	const struct msix_vector *v;

	if (s->vector == MSIX_NO_VECTOR)
		return;
	v = &x->vectors[s->vector];
	if (!may_send(x, s->vector)) {
		detach(x, s);
		return;
	}
	if (irq_message_route(x->irqs, v->gsi, (uint64_t)v->address_high << 32 | v->address_low,
		    v->data) == 0 &&
		!s->attached)
		s->attached = irq_attach(x->irqs, s->fd, v->gsi) == 0;
}

static void update_all(struct msix *x)
{
	for (uint16_t i = 0; i < x->n_sources; i++)
		update(x, &x->sources[i]);
}

void msix_set_control(struct msix *x, uint16_t control)
{
	x->enabled = control & CONTROL_ENABLE;
	x->masked = control & CONTROL_MASKED;
	update_all(x);
}

bool msix_set_vector(struct msix *x, uint16_t source, uint16_t vector)
{
	struct msix_source *s = &x->sources[source];

	detach(x, s);
	if (s->vector == MSIX_NO_VECTOR)
		drain(s);
	s->vector = vector < x->n_vectors ? vector : MSIX_NO_VECTOR;
	update(x, s);
	return s->vector == vector;
}

static uint32_t *field(struct msix_vector *v, uint64_t offset)
{
	switch (offset % ENTRY) {
	case 0:
		return &v->address_low;
	case 4:
		return &v->address_high;
	case 8:
		return &v->data;
	default:
		return &v->control;
	}
}

// 6.8.2: accesses of 4 and of 8 bytes, aligned; others are undefined.
static bool whole(const struct msix *x, uint64_t offset, unsigned int size)
{
	return (size == 4 || size == 8) && offset % size == 0 &&
	       offset + size <= (uint64_t)x->n_vectors * ENTRY;
}

uint64_t msix_table_read(const struct msix *x, uint64_t offset, unsigned int size)
{
	struct msix_vector v;
	uint64_t value;

	if (!whole(x, offset, size))
		return 0;
	v = x->vectors[offset / ENTRY];
	value = *field(&v, offset);
	return size == 8 ? value | (uint64_t)*field(&v, offset + 4) << 32 : value;
}

void msix_table_write(struct msix *x, uint64_t offset, unsigned int size, uint64_t value)
{
	struct msix_vector *v;

	if (!whole(x, offset, size))
		return;
	v = &x->vectors[offset / ENTRY];
	*field(v, offset) = (uint32_t)value;
	if (size == 8)
		*field(v, offset + 4) = (uint32_t)(value >> 32);
	v->address_low &= ~3u;
	v->control &= VECTOR_MASKED;
	for (uint16_t i = 0; i < x->n_sources; i++)
		if (x->sources[i].vector == offset / ENTRY)
			update(x, &x->sources[i]);
}

static bool is_pending(const struct msix_source *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return !s->attached && poll(&p, 1, 0) == 1;
}

uint64_t msix_pending_read(const struct msix *x, uint64_t offset, unsigned int size)
{
	uint64_t bits = 0;

	if ((size != 4 && size != 8) || offset % size)
		return 0;
	for (uint16_t i = 0; i < x->n_sources; i++) {
		uint16_t v = x->sources[i].vector;

		if (v != MSIX_NO_VECTOR && v / 8 >= offset && v / 8 < offset + size &&
			is_pending(&x->sources[i]))
			bits |= 1ull << (v - offset * 8);
	}
	return bits;
}
