// SPDX-License-Identifier: BSD-3-Clause
// The serial port's registers and its interrupt, without KVM.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/serial_reg.h>
#include <string.h>
#include "tests/unit/vmm_fake_irq.h"
#include "vmm/serial.h"

enum { EMPTY = UART_LSR_THRE | UART_LSR_TEMT };

static struct bus pio;
static struct irqs irqs;
static struct serial serial;
static uint8_t out[256];
static unsigned int n_out, n_wanted;

static void output(void *arg, uint8_t byte)
{
	assert_ptr_equal(arg, out);
	out[n_out++] = byte;
}

static void input_wanted(void *arg)
{
	n_wanted++;
}

static uint8_t get(unsigned int at)
{
	return (uint8_t)bus_read(&pio, SERIAL_PORT + at, 1);
}

static void put(unsigned int at, uint8_t value)
{
	bus_write(&pio, SERIAL_PORT + at, 1, value);
}

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	pio.n = n_out = n_wanted = 0;
	assert_int_equal(serial_init(&serial, &pio, &irqs, output, out), 0);
	serial.input_wanted = input_wanted;
	return 0;
}

static void bytes_go_out(void **state)
{
	assert_int_equal(get(UART_LSR), EMPTY);
	put(UART_TX, 'a');
	put(UART_TX, 'b');
	assert_int_equal(n_out, 2);
	assert_memory_equal(out, "ab", 2);
	assert_int_equal(get(UART_LSR), EMPTY);
	assert_false(fake.line[SERIAL_IRQ]);
	assert_int_equal(bus_read(&pio, SERIAL_PORT + 7, 2), UINT64_MAX);
}

static void transmitter_interrupts(void **state)
{
	put(UART_IER, UART_IER_THRI);
	assert_true(fake.line[SERIAL_IRQ]);
	assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_THRI);
	assert_false(fake.line[SERIAL_IRQ]); // reading it takes it back
	assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_NO_INT);
	put(UART_TX, 'a');
	assert_true(fake.line[SERIAL_IRQ]);
	put(UART_IER, 0);
	assert_false(fake.line[SERIAL_IRQ]);
}

static void receiver_interrupts(void **state)
{
	serial_put(&serial, 'x');
	assert_false(fake.line[SERIAL_IRQ]);
	assert_int_equal(get(UART_LSR), EMPTY | UART_LSR_DR);
	put(UART_IER, UART_IER_RDI | UART_IER_THRI);
	assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_RDI); // before the transmitter's
	assert_int_equal(get(UART_RX), 'x');
	assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_THRI);
	assert_false(fake.line[SERIAL_IRQ]);
	assert_int_equal(get(UART_RX), 0);
	assert_int_equal(get(UART_LSR), EMPTY);
}

static void input_waits(void **state)
{
	for (unsigned int i = 0; i < SERIAL_FIFO + 3; i++)
		serial_put(&serial, (uint8_t)i);
	assert_int_equal(serial_room(&serial), 0);
	assert_int_equal(n_wanted, 0);
	assert_int_equal(get(UART_RX), 0);
	assert_int_equal(n_wanted, 1);
	for (unsigned int i = 1; i < SERIAL_FIFO; i++)
		assert_int_equal(get(UART_RX), i);
	assert_int_equal(n_wanted, 1);
	assert_int_equal(get(UART_LSR), EMPTY);
}

static void input_forgotten(void **state)
{
	put(UART_IER, UART_IER_RDI);
	serial_put(&serial, 'x');
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_true(fake.line[SERIAL_IRQ]);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_false(fake.line[SERIAL_IRQ]);
	assert_int_equal(serial_room(&serial), SERIAL_FIFO);
	assert_int_equal(n_wanted, 1);
}

static void divisor(void **state)
{
	put(UART_IER, UART_IER_MSI);
	put(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	put(UART_DLL, 12);
	put(UART_DLM, 34);
	assert_int_equal(get(UART_DLL), 12);
	assert_int_equal(get(UART_DLM), 34);
	assert_int_equal(get(UART_LCR), UART_LCR_DLAB | UART_LCR_WLEN8);
	put(UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(get(UART_IER), UART_IER_MSI);
	assert_int_equal(n_out, 0);
}

// What probes want: linux/drivers/tty/serial/8250, autoconfig().
static void loop(void **state)
{
	assert_int_equal(get(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(get(UART_MSR), UART_MSR_DCD | UART_MSR_CTS);
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_DTR | UART_MCR_OUT1);
	assert_int_equal(get(UART_MSR), UART_MSR_DSR | UART_MSR_RI);
	put(UART_TX, 'x');
	assert_int_equal(n_out, 0);
	assert_int_equal(get(UART_RX), 'x');
	put(UART_MCR, 0);
	put(UART_TX, 'y');
	assert_int_equal(n_out, 1);
}

static void held(void **state)
{
	put(UART_IER, UART_IER_THRI);
	serial_hold(&serial, true);
	assert_int_equal(get(UART_LSR), 0);
	assert_false(fake.line[SERIAL_IRQ]);
	put(UART_TX, 'a');
	assert_int_equal(n_out, 0);
	assert_false(fake.line[SERIAL_IRQ]);
	serial_hold(&serial, false);
	assert_int_equal(get(UART_LSR), EMPTY);
	assert_true(fake.line[SERIAL_IRQ]);
	put(UART_TX, 'b');
	assert_int_equal(n_out, 1);
}

static void machine_reset(void **state)
{
	put(UART_LCR, UART_LCR_DLAB);
	put(UART_DLL, 12);
	put(UART_LCR, 0);
	put(UART_SCR, 0x5a);
	assert_int_equal(get(UART_SCR), 0x5a);
	put(UART_MCR, UART_MCR_LOOP);
	put(UART_IER, UART_IER_RDI);
	serial_put(&serial, 'x');
	serial_reset(&serial);
	assert_false(fake.line[SERIAL_IRQ]);
	assert_int_equal(get(UART_SCR) | get(UART_MCR) | get(UART_IER) | get(UART_LCR), 0);
	assert_int_equal(get(UART_LSR), EMPTY);
	put(UART_LCR, UART_LCR_DLAB);
	assert_int_equal(get(UART_DLL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(bytes_go_out, setup),
		cmocka_unit_test_setup(transmitter_interrupts, setup),
		cmocka_unit_test_setup(receiver_interrupts, setup),
		cmocka_unit_test_setup(input_waits, setup),
		cmocka_unit_test_setup(input_forgotten, setup),
		cmocka_unit_test_setup(divisor, setup), cmocka_unit_test_setup(loop, setup),
		cmocka_unit_test_setup(held, setup), cmocka_unit_test_setup(machine_reset, setup) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
