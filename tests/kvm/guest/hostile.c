// SPDX-License-Identifier: BSD-3-Clause
// Tells the lies of HOSTILE.md one by one: see hostile.h.
#include <errno.h>
#include "base.h"
#include "cpu.h"
#include "hostile.h"
#include "io.h"
#include "run_lists.h"

enum { DEFAULT_MS = 50, ETHTYPE_EXPERIMENTAL = 0x88b5 };
// QEMU's docs/specs/pvpanic
enum { PANIC_PORT = 0x505, PANICKED = 1 << 0, PANIC_LOADED = 1 << 1 };

#define MS_NS 1000000ull
#define SERVED_PATIENCE_NS (10000 * MS_NS)

static uint8_t scratch[HOSTILE_MEMORY] __attribute__((aligned(4096)));
static uint8_t frame[HOSTILE_FRAME] __attribute__((aligned(64)));

uint8_t *hostile_memory(void)
{
	return scratch;
}

uint8_t *hostile_frame(const struct nic *nic)
{
	struct eth_hdr *eth = (struct eth_hdr *)(frame + HOSTILE_HEADER);

	memset(frame, 0, sizeof(frame));
	*eth = (struct eth_hdr){ { { 2, 0, 0, 0, 0, 1 } }, nic->mac, htons(ETHTYPE_EXPERIMENTAL) };
	return frame;
}

void hostile_desc(
	struct virtq *q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	q->desc[i] = (struct vring_desc){ addr, len, flags, next };
}

void hostile_offer(struct virtq *q, uint16_t head)
{
	q->avail->ring[q->avail_next % q->size] = head;
	store_barrier();
	*(volatile uint16_t *)&q->avail->idx = ++q->avail_next;
}

void hostile_kick(struct virtq *q)
{
	full_barrier();
	mmio_write16(q->notify_at, q->index);
}

static uint16_t used_index(const struct virtq *q)
{
	return *(volatile uint16_t *)&q->used->idx;
}

// Until the device says that it gave up, or time is up; a device that goes on may do either.
static void outcome_say(struct nic *nic, const struct lie *lie, unsigned nth, uint64_t until_ns)
{
	uint16_t rx = used_index(&nic->rx);
	uint8_t status = virtio_status(&nic->device);

	while (!(status & VIRTIO_CONFIG_S_NEEDS_RESET) && time_ns() < until_ns)
		status = virtio_status(&nic->device);
	say("ok hostile %s %u %s: status 0x%02x%s tx %u rx %u", lie->number, nth, lie->what, status,
		status & VIRTIO_CONFIG_S_NEEDS_RESET ? " needs-reset" : "", used_index(&nic->tx),
		(uint16_t)(used_index(&nic->rx) - rx));
}

// A reset, and a good frame: when that is used, somebody serves the rings, and sees what is in them
// next. How soon that is, is up to who else is at work on the host.
static int begin_served(struct net *net, bool with_rx)
{
	struct nic *nic = &net->nic;
	uint64_t until = time_ns() + SERVED_PATIENCE_NS;
	int r = nic_restart(nic, with_rx);

	if (r < 0)
		return r;
	net_announce(net);
	while (used_index(&nic->tx) != nic->tx.avail_next)
		if (time_ns() > until)
			return -ETIMEDOUT;
	return 0;
}

static bool lie_tell(struct net *net, const struct lie *lie, unsigned nth, bool bare, uint64_t ns)
{
	struct nic *nic = &net->nic;
	int r = begin_served(net, !bare);

	if (r == 0) {
		uint64_t until = time_ns() + ns;

		lie->tell(nic, lie->arg, until);
		outcome_say(nic, lie, nth, until);
		r = nic_restart(nic, true);
	}
	if (r < 0)
		say("fail hostile %s %u %s: the device does not start: error %d", lie->number, nth,
			lie->what, -r);
	return r == 0;
}

// hostile:NUMBER[:MS[:NTH]]: all lies of the number, or the nth of them from 1
static bool run_hostile(const struct arguments *args)
{
	static const struct lie *const lists[] = { lies_rings, lies_frames, lies_registers,
		lies_bare };
	uint64_t ns = argument_number(args, 2, DEFAULT_MS) * MS_NS;
	uint64_t only = argument_number(args, 3, 0);
	struct net *net = net_current();
	unsigned n = 0, n_told = 0;

	for (unsigned i = 0; i < LENGTH_OF(lists); i++) {
		for (const struct lie *lie = lists[i]; lie->number; lie++) {
			if (!text_equal(lie->number, args->text[1]))
				continue;
			n++;
			if (only != 0 && n != only)
				continue;
			if (!lie_tell(net, lie, n, lists[i] == lies_bare, ns))
				return false;
			n_told++;
		}
	}
	say("%s hostile %s lies %u", n_told > 0 ? "ok" : "fail", args->text[1], n_told);
	return n_told > 0;
}

// H-32. How each ends is up to the machine.

// triple-fault
static bool run_triple_fault(const struct arguments *args)
{
	say("ok triple-fault begins");
	cpu_triple_fault();
}

// panic: as the driver of pvpanic says it
static bool run_panic(const struct arguments *args)
{
	const uint8_t offered = in8(PANIC_PORT);

	say("ok panic begins, offered %u", offered);
	out8(PANIC_PORT, PANIC_LOADED); // of a crash kernel, that would go on
	out8(PANIC_PORT, PANICKED);
	say("fail panic goes on");
	return false;
}

// exit-storm:MS: of reads from a port that nothing is behind
static bool run_exit_storm(const struct arguments *args)
{
	uint64_t until = time_ns() + argument_number(args, 1, DEFAULT_MS) * MS_NS, n = 0;

	for (; time_ns() < until; n++)
		(void)in8(0xe9);
	say("ok exit-storm %lu", n);
	return true;
}

// serial-flood:KIB
static bool run_serial_flood(const struct arguments *args)
{
	uint64_t n = argument_number(args, 1, 1) * 16;

	for (uint64_t i = 0; i < n; i++)
		say("%08lx flood flood flood flood flood flood flood flood flood", i);
	say("ok serial-flood");
	return true;
}

const struct command commands_hostile[] = {
	{ "hostile", 1, 3, run_hostile },
	{ "triple-fault", 0, 0, run_triple_fault },
	{ "panic", 0, 0, run_panic },
	{ "exit-storm", 1, 1, run_exit_storm },
	{ "serial-flood", 1, 1, run_serial_flood },
	{ 0 },
};
