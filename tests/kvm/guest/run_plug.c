// SPDX-License-Identifier: BSD-3-Clause
// What insula-vmm's ACPI tells a driver: the power button, devices that come and are to go
// (vmm/acpi.h has the registers). Polled: this guest reads no tables. ../README.md has what each
// command does.
#include "base.h"
#include "cpu.h"
#include "io.h"
#include "pci.h"
#include "run_lists.h"

enum {
	SLEEP_PORT = 0x600,
	SOFT_OFF = 1 << 5 | 5 << 2,
	EVENT_PORT = 0x610,
	POWER_BUTTON = 1,
	PCI_EVENT = 2,
	PLUGGED_PORT = 0x620,
	UNPLUG_PORT = 0x624,
	EJECT_PORT = 0x628,
	NAP_NS = 1000000,
};

// Told and not yet waited for.
static bool pressed;
static uint32_t plugged, unplug; // slots

static void take_events(void)
{
	const uint32_t told = in32(EVENT_PORT);

	pressed = pressed || told & POWER_BUTTON;
	if (!(told & PCI_EVENT))
		return;
	plugged |= in32(PLUGGED_PORT);
	unplug |= in32(UNPLUG_PORT);
}

static bool wait_event(const struct arguments *args, const uint32_t *slots)
{
	uint64_t until = time_ns() + argument_number(args, 1, 0) * 1000000;

	say("ok %s waits", args->text[0]);
	for (;;) {
		take_events();
		if (slots ? *slots != 0 : pressed)
			return true;
		if (time_ns() > until) {
			say("fail %s: nothing happened", args->text[0]);
			return false;
		}
		cpu_sleep(time_ns() + NAP_NS);
	}
}

static void power_off(void)
{
	say("ok power-button pressed");
	out8(SLEEP_PORT, SOFT_OFF);
}

void power_off_if_pressed(void)
{
	take_events();
	if (pressed)
		power_off();
}

static bool run_power_button(const struct arguments *args)
{
	if (wait_event(args, NULL))
		power_off();
	return false;
}

static void say_slots(const char *what, uint32_t slots)
{
	for (unsigned slot = 0; slot < 32; slot++)
		if (slots >> slot & 1)
			say("ok %s slot %u %s", what, slot,
				pci_present((uint8_t)(slot << 3)) ? "present" : "empty");
}

static bool run_plugged(const struct arguments *args)
{
	if (!wait_event(args, &plugged))
		return false;
	say_slots("plugged", plugged);
	plugged = 0;
	return true;
}

static bool run_eject(const struct arguments *args)
{
	if (!wait_event(args, &unplug))
		return false;
	out32(EJECT_PORT, unplug);
	say_slots("ejected", unplug);
	unplug = 0;
	run_forget_disks();
	return true;
}

static bool run_asked(const struct arguments *args)
{
	if (!wait_event(args, &unplug))
		return false;
	say_slots("asked", unplug);
	return true;
}

// Nobody has asked for it.
static bool run_eject_all(const struct arguments *args)
{
	for (unsigned i = 0; i < argument_number(args, 1, 1); i++)
		for (unsigned port = EJECT_PORT - 8; port <= EJECT_PORT; port += 4)
			out32((uint16_t)port, 0xffffffff);
	out8(EJECT_PORT, 0xff);
	out32(EJECT_PORT + 1, 0xffffffff);
	say("ok eject-all");
	return true;
}

const struct command commands_plug[] = {
	{ "power-button", 1, 1, run_power_button },
	{ "plugged", 1, 1, run_plugged },
	{ "asked", 1, 1, run_asked },
	{ "eject", 1, 1, run_eject },
	{ "eject-all", 0, 1, run_eject_all },
	{ 0 },
};
