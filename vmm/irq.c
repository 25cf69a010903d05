// SPDX-License-Identifier: BSD-3-Clause
// See irq.h.
#include "vmm/irq.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

// KVM replaces all its routes at once.
static int commit(struct irqs *q)
{
	struct kvm_irq_routing *r = q->routing;

	r->nr = 0;
	for (uint32_t pin = 0; pin < IRQ_PINS; pin++)
		r->entries[r->nr++] = (struct kvm_irq_routing_entry){ .gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin } };
	for (unsigned int i = 0; i < IRQ_MESSAGES; i++)
		if (q->messages[i].type)
			r->entries[r->nr++] = q->messages[i];
	return ioctl(q->vm, KVM_SET_GSI_ROUTING, r) < 0 ? -errno : 0;
}

int irqs_init(struct irqs *q, int vm)
{
	int err;

	*q = (struct irqs){ .vm = vm };
	q->routing = calloc(1,
		sizeof(*q->routing) + (IRQ_PINS + IRQ_MESSAGES) * sizeof(q->routing->entries[0]));
	if (!q->routing)
		return -ENOMEM;
	q->io_apic.chip_id = KVM_IRQCHIP_IOAPIC;
	err = ioctl(vm, KVM_GET_IRQCHIP, &q->io_apic) < 0 ? -errno : commit(q);
	if (err < 0)
		irqs_free(q);
	return err;
}

int irqs_reset(struct irqs *q)
{
	return ioctl(q->vm, KVM_SET_IRQCHIP, &q->io_apic) < 0 ? -errno : 0;
}

void irqs_free(struct irqs *q)
{
	free(q->routing);
	q->routing = NULL;
}

void irq_line(struct irqs *q, unsigned int pin, bool high)
{
	struct kvm_irq_level level = { .irq = pin, .level = high };

	ioctl(q->vm, KVM_IRQ_LINE, &level);
}

int irq_message_new(struct irqs *q)
{
	for (int i = 0; i < IRQ_MESSAGES; i++)
		if (!q->used[i]) {
			q->used[i] = true;
			return IRQ_PINS + i;
		}
	return -ENOSPC;
}

void irq_message_free(struct irqs *q, int gsi)
{
	q->used[gsi - IRQ_PINS] = false;
	if (!q->messages[gsi - IRQ_PINS].type)
		return;
	q->messages[gsi - IRQ_PINS].type = 0;
	commit(q);
}

int irq_message_route(struct irqs *q, int gsi, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry *e = &q->messages[gsi - IRQ_PINS];
	struct kvm_irq_routing_entry new = { .gsi = (uint32_t)gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address,
			.address_hi = (uint32_t)(address >> 32),
			.data = data } };
	struct kvm_irq_routing_entry old;
	int err;

	if (e->type && e->u.msi.address_lo == new.u.msi.address_lo &&
		e->u.msi.address_hi == new.u.msi.address_hi && e->u.msi.data == data)
		return 0;
	old = *e;
	*e = new;
	err = commit(q);
	if (err < 0)
		*e = old; // else KVM would refuse everybody's routes from now on
	return err;
}

static int irqfd(struct irqs *q, int fd, int gsi, uint32_t flags)
{
	struct kvm_irqfd k = { .fd = (uint32_t)fd, .gsi = (uint32_t)gsi, .flags = flags };

	return ioctl(q->vm, KVM_IRQFD, &k) < 0 ? -errno : 0;
}

int irq_attach(struct irqs *q, int fd, int gsi)
{
	return irqfd(q, fd, gsi, 0);
}

void irq_detach(struct irqs *q, int fd, int gsi)
{
	irqfd(q, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN);
}
