// SPDX-License-Identifier: BSD-3-Clause
// A 16550A at 0x3F8 (COM1), interrupt 4. What the guest writes goes to a descriptor at once; what
// comes from the console waits in a FIFO. Registers are called with the machine's lock held,
// serial_put too.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/bus.h"
#include "vmm/irq.h"

enum { SERIAL_PORT = 0x3f8, SERIAL_IRQ = 4, SERIAL_FIFO = 64 };

struct serial {
	struct irqs *irqs;
	void (*output)(void *arg, uint8_t byte);
	void (*input_wanted)(
		void *arg); // there is room again in a FIFO that was full; NULL: nobody waits
	void *arg; // of both
	uint8_t enable, line_control, modem_control, scratch, divisor[2];
	bool empty_told; // that the transmitter is empty was read
	bool held; // the transmitter is not empty
	uint8_t fifo[SERIAL_FIFO];
	unsigned int n_fifo;
	bool high; // the interrupt line
};

// output: where each byte of the guest's goes; must not block, but may call serial_hold.
int serial_init(struct serial *s, struct bus *pio, struct irqs *irqs,
	void (*output)(void *arg, uint8_t byte), void *arg);
void serial_reset(struct serial *s);
// How many more bytes of input there is room for.
unsigned int serial_room(const struct serial *s);
void serial_put(struct serial *s, uint8_t byte);
// While it is held no byte can be sent: registers say so, and one that comes nevertheless is lost.
void serial_hold(struct serial *s, bool held);
