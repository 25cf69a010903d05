// SPDX-License-Identifier: BSD-3-Clause
// See serial.h. Register names and bits: linux/serial_reg.h, after the PC16550D's data sheet.
#include "vmm/serial.h"

#include <linux/serial_reg.h>
#include <string.h>

static bool divisor_shown(const struct serial *s)
{
	return s->line_control & UART_LCR_DLAB;
}

// The highest of what waits and is enabled; UART_IIR_NO_INT if nothing does.
static uint8_t cause(const struct serial *s)
{
	if (s->enable & UART_IER_RDI && s->n_fifo)
		return UART_IIR_RDI;
	if (s->enable & UART_IER_THRI && !s->empty_told && !s->held)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void update_line(struct serial *s)
{
	bool high = cause(s) != UART_IIR_NO_INT;

	if (high != s->high)
		irq_line(s->irqs, SERIAL_IRQ, high);
	s->high = high;
}

static uint8_t take(struct serial *s)
{
	uint8_t byte;

	if (!s->n_fifo)
		return 0;
	byte = s->fifo[0];
	memmove(s->fifo, s->fifo + 1, --s->n_fifo);
	if (s->n_fifo == SERIAL_FIFO - 1 && s->input_wanted)
		s->input_wanted(s->arg);
	return byte;
}

static void forget_input(struct serial *s)
{
	s->n_fifo = 0;
	if (s->input_wanted)
		s->input_wanted(s->arg);
}

static uint8_t identify(struct serial *s)
{
	uint8_t id = cause(s);

	if (id == UART_IIR_THRI)
		s->empty_told = true;
	return id | 0xc0; // FIFOs are on
}

// The other end is there; in a loop, it is what this end says.
static uint8_t modem_status(const struct serial *s)
{
	const uint8_t mcr = s->modem_control;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (uint8_t)((mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
			 (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
			 (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
			 (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

static uint64_t serial_read(void *arg, uint64_t offset, unsigned int size)
{
	struct serial *s = arg;
	uint8_t value = 0;

	switch (offset) {
	case UART_RX:
		value = divisor_shown(s) ? s->divisor[0] : take(s);
		break;
	case UART_IER:
		value = divisor_shown(s) ? s->divisor[1] : s->enable;
		break;
	case UART_IIR:
		value = identify(s);
		break;
	case UART_LCR:
		value = s->line_control;
		break;
	case UART_MCR:
		value = s->modem_control;
		break;
	case UART_LSR:
		value = (s->held ? 0 : UART_LSR_TEMT | UART_LSR_THRE) |
			(s->n_fifo ? UART_LSR_DR : 0);
		break;
	case UART_MSR:
		value = modem_status(s);
		break;
	default:
		value = s->scratch;
		break;
	}
	update_line(s);
	return value;
}

static void transmit(struct serial *s, uint8_t byte)
{
	if (s->modem_control & UART_MCR_LOOP)
		serial_put(s, byte);
	else if (!s->held)
		s->output(s->arg, byte);
	s->empty_told = false;
}

static void serial_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct serial *s = arg;
	uint8_t byte = (uint8_t)value;

	switch (offset) {
	case UART_TX:
		if (divisor_shown(s))
			s->divisor[0] = byte;
		else
			transmit(s, byte);
		break;
	case UART_IER:
		if (divisor_shown(s))
			s->divisor[1] = byte;
		else {
			s->enable = byte & 0x0f;
			s->empty_told = false;
		}
		break;
	case UART_FCR:
		if (byte & UART_FCR_CLEAR_RCVR)
			forget_input(s);
		break;
	case UART_LCR:
		s->line_control = byte;
		break;
	case UART_MCR:
		s->modem_control = byte;
		break;
	case UART_SCR:
		s->scratch = byte;
		break;
	default:
		break;
	}
	update_line(s);
}

int serial_init(struct serial *s, struct bus *pio, struct irqs *irqs,
	void (*output)(void *arg, uint8_t byte), void *arg)
{
	const struct bus_range r = { SERIAL_PORT, 8, serial_read, serial_write, s };

	*s = (struct serial){ .irqs = irqs, .output = output, .arg = arg, .empty_told = true };
	return bus_add(pio, &r);
}

void serial_reset(struct serial *s)
{
	s->enable = s->line_control = s->modem_control = s->scratch = 0;
	s->divisor[0] = s->divisor[1] = 0;
	forget_input(s);
	s->empty_told = true;
	update_line(s);
}

unsigned int serial_room(const struct serial *s)
{
	return SERIAL_FIFO - s->n_fifo;
}

void serial_put(struct serial *s, uint8_t byte)
{
	if (s->n_fifo < SERIAL_FIFO)
		s->fifo[s->n_fifo++] = byte;
	update_line(s);
}

void serial_hold(struct serial *s, bool held)
{
	s->held = held;
	update_line(s);
}
