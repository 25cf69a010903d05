// SPDX-License-Identifier: BSD-3-Clause
// Interrupts into KVM's own interrupt controllers: the 24 pins of the I/O APIC, and messages (MSI)
// behind further numbers (GSIs), which eventfds trigger without passing through here (irqfd).
// Called with the machine's lock held.
#pragma once
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { IRQ_PINS = 24, IRQ_MESSAGES = 1024 };

struct irqs {
	int vm; // not owned
	bool used[IRQ_MESSAGES];
	struct kvm_irq_routing_entry messages[IRQ_MESSAGES]; // type 0: not routed
	// what KVM takes: header and entries as one
	struct kvm_irq_routing *routing;
	struct kvm_irqchip io_apic; // as KVM made it
};

// The controllers must be there (KVM_CREATE_IRQCHIP).
int irqs_init(struct irqs *q, int vm);
void irqs_free(struct irqs *q);
// The pins as after power-on: no guest has said where they lead. -errno: KVM refuses it.
int irqs_reset(struct irqs *q);
// Sets a pin of the I/O APIC high or low.
void irq_line(struct irqs *q, unsigned int pin, bool high);
// A number for a message; -ENOSPC.
int irq_message_new(struct irqs *q);
void irq_message_free(struct irqs *q, int gsi);
// What an event on the number's eventfds sends from now on.
int irq_message_route(struct irqs *q, int gsi, uint64_t address, uint32_t data);
// Events on the eventfd go to the number; one that waits already does so at once.
int irq_attach(struct irqs *q, int fd, int gsi);
void irq_detach(struct irqs *q, int fd, int gsi);
