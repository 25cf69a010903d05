// SPDX-License-Identifier: BSD-3-Clause
// vmm/irq.h without KVM: remembers what is asked for. Included by one file of a program: as it
// defines all of irq.c, the library's own is not linked.
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include "vmm/irq.h"

enum { FAKE_ATTACHED = 256, FAKE_IOEVENTFDS = 256 };

static struct {
	bool line[IRQ_PINS];
	unsigned int n_rises[IRQ_PINS];
	struct kvm_irq_routing_entry routes[IRQ_PINS + IRQ_MESSAGES]; // type 0: none
	unsigned int n_numbers;
	int route_error, attach_error;
	unsigned int n_attached;
	struct {
		int fd, gsi;
	} attached[FAKE_ATTACHED];
	unsigned int n_ioeventfds;
	struct kvm_ioeventfd ioeventfds[FAKE_IOEVENTFDS];
	bool wrong; // what must never be asked for
} fake;

void irq_line(struct irqs *q, unsigned int pin, bool high)
{
	fake.n_rises[pin] += high && !fake.line[pin];
	fake.line[pin] = high;
}

int irq_message_new(struct irqs *q)
{
	for (int i = 0; i < IRQ_MESSAGES; i++)
		if (!q->used[i]) {
			q->used[i] = true;
			fake.n_numbers++;
			return IRQ_PINS + i;
		}
	return -ENOSPC;
}

void irq_message_free(struct irqs *q, int gsi)
{
	for (unsigned int i = 0; i < fake.n_attached; i++)
		fake.wrong |= fake.attached[i].gsi == gsi;
	fake.wrong |= !q->used[gsi - IRQ_PINS];
	q->used[gsi - IRQ_PINS] = false;
	fake.routes[gsi].type = 0;
	fake.n_numbers--;
}

int irq_message_route(struct irqs *q, int gsi, uint64_t address, uint32_t data)
{
	fake.wrong |= gsi < IRQ_PINS || !q->used[gsi - IRQ_PINS];
	if (fake.route_error)
		return fake.route_error;
	fake.routes[gsi] = (struct kvm_irq_routing_entry){ .gsi = (uint32_t)gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address,
			.address_hi = (uint32_t)(address >> 32),
			.data = data } };
	return 0;
}

// As KVM: an eventfd is attached once, and only to what leads somewhere.
int irq_attach(struct irqs *q, int fd, int gsi)
{
	if (fake.attach_error)
		return fake.attach_error;
	for (unsigned int i = 0; i < fake.n_attached; i++)
		fake.wrong |= fake.attached[i].fd == fd;
	fake.wrong |= !fake.routes[gsi].type || fake.n_attached == FAKE_ATTACHED;
	if (fake.wrong)
		return -EBUSY;
	fake.attached[fake.n_attached].fd = fd;
	fake.attached[fake.n_attached++].gsi = gsi;
	return 0;
}

void irq_detach(struct irqs *q, int fd, int gsi)
{
	for (unsigned int i = 0; i < fake.n_attached; i++)
		if (fake.attached[i].fd == fd && fake.attached[i].gsi == gsi) {
			fake.attached[i] = fake.attached[--fake.n_attached];
			return;
		}
	fake.wrong = true;
}

// Where the eventfd's events go; -1: nowhere.
static inline int fake_attached_to(int fd)
{
	for (unsigned int i = 0; i < fake.n_attached; i++)
		if (fake.attached[i].fd == fd)
			return fake.attached[i].gsi;
	return -1;
}

static int fake_ioeventfd(const struct kvm_ioeventfd *k)
{
	for (unsigned int i = 0; i < fake.n_ioeventfds; i++)
		if (fake.ioeventfds[i].addr == k->addr) {
			fake.wrong |= !(k->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) ||
				      fake.ioeventfds[i].fd != k->fd;
			fake.ioeventfds[i] = fake.ioeventfds[--fake.n_ioeventfds];
			return 0;
		}
	fake.wrong |= k->flags & KVM_IOEVENTFD_FLAG_DEASSIGN || k->fd < 0 ||
		      fake.n_ioeventfds == FAKE_IOEVENTFDS;
	if (!fake.wrong)
		fake.ioeventfds[fake.n_ioeventfds++] = *k;
	return fake.wrong ? -1 : 0;
}

// libc's, for the one request that virtio_pci.c makes.
int ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_ioeventfd *k;
	va_list args;

	va_start(args, request);
	k = va_arg(args, const struct kvm_ioeventfd *);
	va_end(args);
	return request == KVM_IOEVENTFD ? fake_ioeventfd(k) : -1;
}

static inline int fake_ioeventfd_at(uint64_t address)
{
	for (unsigned int i = 0; i < fake.n_ioeventfds; i++)
		if (fake.ioeventfds[i].addr == address)
			return fake.ioeventfds[i].fd;
	return -1;
}
