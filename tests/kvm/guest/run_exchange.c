// SPDX-License-Identifier: BSD-3-Clause
// exchange: the guest's first two nics as a pair of victims. Numbered frames leave the first at a
// fixed rate, the second sends each back, and each is looked at when it returns. The load is open:
// a frame that is late is counted from when it was due, so whoever holds the pair up shows.
#include "base.h"
#include "circulate.h"
#include "cpu.h"
#include "run_lists.h"

enum {
	WINDOW = 64, // frames under way
	BURST = 32,
	SIZE = 98, // of a frame
	INTERVAL_MS = 50,
	BACKLOGS = 20, // in a second: as much as an interval's may wait to be sent
	LOST_AFTER_MS = 200, // nothing came: what was under way is lost
	SLOWEST_US = 32768,
};

#define MS_NS 1000000ull
#define SECOND_NS (1000 * MS_NS)

struct stamp {
	uint64_t sequence, due_ns, check;
};

struct exchange {
	struct net *near, *far;
	uint8_t *buffers[WINDOW]; // free ones
	unsigned n_buffers;
	uint64_t n_sent, n_back; // n_back: in order, the lost ones too
	uint64_t n_lost, n_bad, n_answered, last_ns;
	uint32_t us[SLOWEST_US]; // how many took so long, in this interval
};

static struct stamp *stamp_of(uint8_t *buffer)
{
	return (struct stamp *)(buffer + CIRCULATE_HEADER + sizeof(struct datagram_frame));
}

static uint64_t check_of(const struct stamp *s)
{
	return (s->sequence ^ s->due_ns << 20) * 0x9e3779b97f4a7c15;
}

static void frame_send(struct exchange *x, uint64_t due_ns)
{
	uint8_t *buffer = x->buffers[--x->n_buffers];
	struct stamp *s = stamp_of(buffer);

	circulate_make(buffer, x->near, x->far, SIZE, 0);
	*s = (struct stamp){ .sequence = x->n_sent++, .due_ns = due_ns };
	s->check = check_of(s);
	circulate_tx_give(&x->near->nic, buffer, CIRCULATE_HEADER + SIZE);
}

static void frame_take(struct exchange *x, uint8_t *buffer, uint32_t size, uint64_t now)
{
	struct stamp s = *stamp_of(buffer);
	uint64_t us = (now - s.due_ns) / 1000;

	if (!circulate_turn(buffer, size))
		return; // somebody else's
	x->last_ns = now;
	if (size != CIRCULATE_HEADER + SIZE || s.check != check_of(&s) || s.sequence < x->n_back ||
		s.sequence >= x->n_sent) {
		x->n_bad++;
		return;
	}
	x->n_lost += s.sequence - x->n_back;
	x->n_back = s.sequence + 1;
	x->n_answered++;
	x->us[us < SLOWEST_US ? us : SLOWEST_US - 1]++;
}

static void far_turn(struct nic *nic)
{
	uint8_t *buffer;
	uint32_t size;

	while ((buffer = virtq_take(&nic->tx, &size)) != NULL)
		circulate_rx_give(nic, buffer);
	for (unsigned i = 0; i < BURST && (buffer = virtq_take(&nic->rx, &size)) != NULL; i++) {
		if (circulate_turn(buffer, size))
			circulate_tx_give(nic, buffer, size);
		else
			circulate_rx_give(nic, buffer);
	}
	virtq_kick(&nic->tx);
	virtq_kick(&nic->rx);
}

static void near_turn(struct exchange *x)
{
	struct nic *nic = &x->near->nic;
	uint64_t now = time_ns();
	uint8_t *buffer;
	uint32_t size;

	while ((buffer = virtq_take(&nic->tx, &size)) != NULL)
		x->buffers[x->n_buffers++] = buffer;
	for (unsigned i = 0; i < BURST && (buffer = virtq_take(&nic->rx, &size)) != NULL; i++) {
		frame_take(x, buffer, size, now);
		circulate_rx_give(nic, buffer);
	}
	if (x->n_back < x->n_sent && now > x->last_ns + LOST_AFTER_MS * MS_NS) {
		x->n_lost += x->n_sent - x->n_back;
		x->n_back = x->n_sent;
		x->last_ns = now;
	}
}

// Microseconds that per_mille of the interval's frames did not exceed.
static unsigned quantile(const struct exchange *x, uint64_t n, unsigned per_mille)
{
	uint64_t sum = 0;

	for (unsigned us = 0; us < SLOWEST_US; us++) {
		sum += x->us[us];
		if (sum * 1000 >= n * per_mille)
			return us;
	}
	return SLOWEST_US;
}

// "x DUE ANSWERED LOST P50 P99": short, since the guest stands still while it says it.
static void interval_say(struct exchange *x, uint64_t n_due)
{
	say("x %lu %lu %lu %u %u", n_due, x->n_answered, x->n_lost + x->n_bad,
		quantile(x, x->n_answered, 500), quantile(x, x->n_answered, 990));
	x->n_answered = x->n_lost = x->n_bad = 0;
	memset(x->us, 0, sizeof(x->us));
}

// The first nic's receive buffers serve both ways there; all of the second's wait for frames.
static void buffers_share(struct exchange *x)
{
	struct nic *near = &x->near->nic, *far = &x->far->nic;

	for (unsigned i = 0; i < near->rx.size; i++) {
		uint8_t *buffer = near->rx_buffers + i * NIC_RX_SIZE;

		if (i < WINDOW)
			x->buffers[x->n_buffers++] = buffer;
		else
			circulate_rx_give(near, buffer);
	}
	for (unsigned i = 0; i < far->rx.size; i++)
		circulate_rx_give(far, far->rx_buffers + i * NIC_RX_SIZE);
	virtq_kick(&near->rx);
	virtq_kick(&far->rx);
}

// rate: frames a second; 0: as many as the window carries
static void exchange_run(struct exchange *x, uint64_t rate, uint64_t ns)
{
	uint64_t start = time_ns(), told = 0, n = 0, now, n_due, interval = 0;

	x->last_ns = start;
	for (now = start; now < start + ns; now = time_ns()) {
		// a window's worth above what was sent, where no rate says how many are due
		n_due = rate ? (now - start) * rate / SECOND_NS : n + WINDOW;
		if (rate && n_due - n > rate / BACKLOGS) // what is later than that is lost
			n = n_due - rate / BACKLOGS;
		for (; n < n_due && x->n_buffers > 0 && x->n_sent - x->n_back < WINDOW; n++)
			frame_send(x, rate ? start + n * SECOND_NS / rate : now);
		virtq_kick(&x->near->nic.tx);
		far_turn(&x->far->nic);
		near_turn(x);
		virtq_kick(&x->near->nic.rx);
		if ((now - start) / (INTERVAL_MS * MS_NS) == interval)
			continue;
		interval = (now - start) / (INTERVAL_MS * MS_NS);
		n_due = rate ? n_due : n;
		interval_say(x, n_due - told);
		told = n_due;
	}
}

// exchange:RATE:SECONDS
static bool run_exchange(const struct arguments *args)
{
	static struct exchange x;
	struct net *nets[2];

	for (unsigned i = 0; i < LENGTH_OF(nets); i++) {
		net_select(i);
		nets[i] = net_current();
		nic_restart(&nets[i]->nic, false);
	}
	memset(&x, 0, sizeof(x));
	x.near = nets[0];
	x.far = nets[1];
	buffers_share(&x);
	say("ok exchange begins");
	exchange_run(&x, argument_number(args, 1, 0), argument_number(args, 2, 1) * SECOND_NS);
	say("%s exchange %lu sent %lu back", x.n_back > 0 ? "ok" : "fail", x.n_sent, x.n_back);
	for (unsigned i = 0; i < LENGTH_OF(nets); i++)
		nic_restart(&nets[i]->nic, true);
	net_select(0);
	return x.n_back > 0;
}

const struct command commands_exchange[] = {
	{ "exchange", 2, 2, run_exchange },
	{ 0 },
};
