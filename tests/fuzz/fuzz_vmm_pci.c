// SPDX-License-Identifier: BSD-3-Clause
// A hostile driver: configuration space by memory and by ports, and the registers of three virtio
// devices' BARs, in any order, size and place; with resets, devices that go and come, and events.
// After each step: no two ranges overlap and BARs lie in their window; a device is started only
// with FEATURES_OK and VERSION_1 and stopped before it is started again; what is final stays:
// queues that are enabled, all queues and features of a device that is driven; status bits go only
// by a reset; interrupts are attached only where they may be sent; ioeventfds are where the BARs
// are.
#include <stdarg.h>
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vmm_pci_fixture.h"

enum { DEVICES = 3, STEPS = 4096, NOTIFY_AT = 0x4000 };
static const uint16_t N_QUEUES[DEVICES] = { 1, 3, 8 };

enum step {
	CONFIG_READ,
	CONFIG_WRITE,
	PORT_READ,
	PORT_WRITE,
	BAR_READ,
	BAR_WRITE,
	MEMORY_WRITE,
	COMMON_WRITE,
	STATUS_WRITE,
	DECODE,
	RESET,
	UNPLUG,
	EVENT,
	START_FAILS,
	STEP_COUNT
};

struct input {
	const uint8_t *data;
	size_t size;
};

// As a device was before a step.
struct before {
	uint8_t status;
	uint64_t features;
	struct virtio_queue queues[VIRTIO_QUEUES];
};

struct world {
	struct fixture_bus bus;
	struct fixture_device devices[DEVICES];
	struct before before[DEVICES];
};

static uint64_t take(struct input *in, unsigned int n)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < n && in->size; i++, in->size--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

static void check_ranges(const struct bus *b)
{
	for (unsigned int i = 0; i < b->n; i++)
		for (unsigned int k = 0; k < i; k++)
			CHECK(b->ranges[i].base + b->ranges[i].size <= b->ranges[k].base ||
				b->ranges[k].base + b->ranges[k].size <= b->ranges[i].base);
}

static bool same_queue(const struct virtio_queue *a, const struct virtio_queue *b)
{
	return a->size == b->size && a->enabled == b->enabled && a->used == b->used &&
	       a->descriptors == b->descriptors && a->available == b->available;
}

static void check_queues(const struct fixture_device *f, const struct before *before)
{
	const uint8_t both = f->transport.status & before->status;

	for (unsigned int i = 0; i < f->device.n_queues; i++) {
		const struct virtio_queue *q = &f->device.queues[i], *was = &before->queues[i];

		CHECK(q->size && q->size <= q->size_max && !(q->size & (q->size - 1)));
		CHECK(!q->enabled || f->transport.status & VIRTIO_CONFIG_S_FEATURES_OK);
		if (both & VIRTIO_CONFIG_S_DRIVER_OK || (was->enabled && f->transport.status))
			CHECK(same_queue(q, was));
		if (f->device.started)
			CHECK(same_queue(q, &f->at_start[i]));
	}
}

static void check_status(const struct fixture_device *f, const struct before *before)
{
	const uint8_t now = f->transport.status;

	CHECK(!f->wrong && f->device.started == (f->n_starts != f->n_stops));
	CHECK(now == 0 || !(before->status & ~now));
	CHECK(!(now & VIRTIO_CONFIG_S_DRIVER_OK) || now & VIRTIO_CONFIG_S_FEATURES_OK);
	CHECK(!f->device.started || now & VIRTIO_CONFIG_S_DRIVER_OK);
	if (now & before->status & VIRTIO_CONFIG_S_FEATURES_OK)
		CHECK(f->device.features == before->features);
	CHECK(!(f->device.features & ~(f->device.offered | 1ull << VIRTIO_F_VERSION_1)));
}

static void check_interrupts(const struct fixture_device *f)
{
	const struct msix *x = &f->transport.msix;

	for (unsigned int i = 0; i < x->n_sources; i++) {
		const struct msix_source *s = &x->sources[i];
		int gsi = fake_attached_to(s->fd);
		bool may = s->vector != MSIX_NO_VECTOR && x->enabled && !x->masked &&
			   !(x->vectors[s->vector].control & 1);

		CHECK((gsi >= 0) == may && s->attached == may);
		if (may)
			CHECK(gsi == x->vectors[s->vector].gsi &&
				fake.routes[gsi].u.msi.data == x->vectors[s->vector].data);
	}
}

static void check(struct world *w)
{
	unsigned int n_ioeventfds = 0;

	check_ranges(&w->bus.mmio);
	check_ranges(&w->bus.pio);
	for (unsigned int i = 0; i < DEVICES; i++) {
		const struct fixture_device *f = &w->devices[i];
		const uint64_t base = f->transport.pci.bar_base;

		check_status(f, &w->before[i]);
		check_queues(f, &w->before[i]);
		check_interrupts(f);
		CHECK(!base || (base >= PCI_WINDOW_BEGIN &&
				       base + f->transport.pci.bar_size <= PCI_WINDOW_END));
		for (unsigned int k = 0; base && k < f->device.n_queues; k++, n_ioeventfds++)
			CHECK(fake_ioeventfd_at(base + NOTIFY_AT + k * 4) ==
				f->device.queues[k].kick);
	}
	CHECK(!fake.wrong && fake.n_ioeventfds == n_ioeventfds);
}

static void note(struct world *w)
{
	for (unsigned int i = 0; i < DEVICES; i++) {
		const struct fixture_device *f = &w->devices[i];
		struct before *b = &w->before[i];

		b->status = f->transport.status;
		b->features = f->device.features;
		memcpy(b->queues, f->device.queues, sizeof(b->queues));
	}
}

static void plug(struct world *w, unsigned int i)
{
	CHECK(fixture_plug(&w->bus, &w->devices[i], N_QUEUES[i], 0xffff) == 0);
}

static void unplug(struct world *w, unsigned int i)
{
	struct fixture_device *f = &w->devices[i];

	virtio_pci_free(&f->transport);
	CHECK(!f->wrong && f->n_starts == f->n_stops);
}

static void event(struct fixture_device *f, uint64_t value)
{
	const uint64_t one = 1;

	if (value & 1)
		f->device.config_changed(&f->device);
	else if (value & 2 && f->device.started)
		f->device.broken(&f->device);
	else if (write(f->device.queues[0].call, &one, sizeof(one)) < 0)
		return;
}

// A register of the BAR, wherever that is now.
static void bar(struct fixture_device *f, struct input *in, bool write)
{
	const struct pci_device *d = &f->transport.pci;
	unsigned int size = 1u << take(in, 1) % 4;
	uint64_t offset = take(in, 2) % d->bar_size;
	struct bus at = { .n = 1,
		.ranges = { { 0, d->bar_size, d->bar_read, d->bar_write, d->arg } } };

	if (write)
		bus_write(&at, offset, size, take(in, size));
	else
		bus_read(&at, offset, size);
}

static void common(struct fixture_device *f, struct input *in)
{
	unsigned int offset = (unsigned int)take(in, 1) % 64;
	unsigned int size = offset >= 0x20 || offset < 0x10 ? 4 : 2;

	f->transport.pci.bar_write(f->transport.pci.arg, offset & -size, size, take(in, size));
}

static void config(struct world *w, struct input *in, bool write)
{
	unsigned int size = (unsigned int)take(in, 1) % 8 + 1, slot = (unsigned int)take(in, 1) % 5;
	unsigned int at = (unsigned int)take(in, 2) % 0x1000;

	if (at >= 2 * PCI_CONFIG_SIZE)
		at %= PCI_CONFIG_SIZE;
	if (write)
		config_put(&w->bus, slot, at, size, take(in, size));
	else
		config_get(&w->bus, slot, at, size);
}

static void port(struct world *w, struct input *in, bool write)
{
	unsigned int size = 1u << take(in, 1) % 4, at = 0xcf8 + (unsigned int)take(in, 1) % 8;

	if (write)
		bus_write(&w->bus.pio, at, size, take(in, size));
	else
		bus_read(&w->bus.pio, at, size);
}

static void one_step(struct world *w, struct input *in)
{
	const enum step step = (enum step)(take(in, 1) % STEP_COUNT);
	const unsigned int i = (unsigned int)take(in, 1) % DEVICES;
	struct fixture_device *f = &w->devices[i];
	uint64_t at;

	switch (step) {
	case CONFIG_READ:
	case CONFIG_WRITE:
		config(w, in, step == CONFIG_WRITE);
		break;
	case PORT_READ:
	case PORT_WRITE:
		port(w, in, step == PORT_WRITE);
		break;
	case BAR_READ:
	case BAR_WRITE:
		bar(f, in, step == BAR_WRITE);
		break;
	case MEMORY_WRITE:
		at = PCI_WINDOW_BEGIN + take(in, 4) % (PCI_ECAM_BEGIN - PCI_WINDOW_BEGIN);
		bus_write(&w->bus.mmio, at, 1u << take(in, 1) % 4, take(in, 8));
		break;
	case COMMON_WRITE:
		common(f, in);
		break;
	case STATUS_WRITE:
		f->transport.pci.bar_write(
			f->transport.pci.arg, VIRTIO_PCI_COMMON_STATUS, 1, take(in, 1));
		break;
	case DECODE:
		decode(&w->bus, f->transport.slot, take(in, 1) & 1);
		break;
	case RESET:
		pci_reset(&w->bus.pci);
		break;
	case UNPLUG:
		unplug(w, i);
		plug(w, i);
		break;
	case EVENT:
		event(f, take(in, 1));
		break;
	case START_FAILS:
		f->start_error = take(in, 1) & 1 ? -1 : 0;
		break;
	case STEP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };

	CHECK(fixture_bus_init(&w.bus) == 0);
	for (unsigned int i = 0; i < DEVICES; i++)
		plug(&w, i);
	for (unsigned int n = 0; n < STEPS && in.size; n++) {
		note(&w);
		one_step(&w, &in);
		check(&w);
	}
	for (unsigned int i = 0; i < DEVICES; i++)
		unplug(&w, i);
	CHECK(fake.n_attached == 0 && fake.n_numbers == 0 && fake.n_ioeventfds == 0 && !fake.wrong);
	return 0;
}
