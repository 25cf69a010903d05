// SPDX-License-Identifier: BSD-3-Clause
// The command language: see run.h.
#include "base.h"
#include "cpu.h"
#include "run_lists.h"
#include "virtio.h"

static bool run_devices(const struct arguments *args)
{
	virtio_list();
	return true;
}

// sleep:MILLISECONDS through ring 0
static bool run_sleep(const struct arguments *args)
{
	uint64_t start = time_ns(), until = start + argument_number(args, 1, 0) * 1000000;
	unsigned naps = 0;

	for (; time_ns() < until; naps++)
		cpu_sleep(until);
	say("ok sleep %lu us %u naps", (time_ns() - start) / 1000, naps);
	return true;
}

// fault: an exception on purpose
static bool run_fault(const struct arguments *args)
{
	__asm__ volatile("ud2");
	return false;
}

static const struct command commands_base[] = {
	{ "devices", 0, 0, run_devices },
	{ "sleep", 1, 1, run_sleep },
	{ "fault", 0, 0, run_fault },
	{ 0 },
};

static const struct command *const command_lists[] = { commands_base, commands_net, commands_blk,
	commands_hostile, commands_circulate, commands_exchange, commands_plug,
	commands_hostile_disk, commands_probe, commands_vsock, commands_journal };

uint64_t argument_number(const struct arguments *args, unsigned nth, uint64_t otherwise)
{
	uint64_t number;
	const char *end;

	if (nth >= args->n)
		return otherwise;
	if (!number_of(args->text[nth], &number, &end) || *end) {
		say("fail %s: '%s' is no number", args->text[0], args->text[nth]);
		cpu_end(false);
	}
	return number;
}

be32 argument_ipv4(const struct arguments *args, unsigned nth)
{
	const char *at = nth < args->n ? args->text[nth] : "";
	uint32_t address = 0;

	for (int i = 0; i < 4; i++) {
		uint64_t number;

		if (!number_of(at, &number, &at) || number > 255 || *at != (i < 3 ? '.' : 0)) {
			say("fail %s: argument %u is no IPv4 address", args->text[0], nth);
			cpu_end(false);
		}
		at += i < 3;
		address = address << 8 | (uint32_t)number;
	}
	return htonl(address);
}

static bool run_one(const struct arguments *args)
{
	for (unsigned i = 0; i < LENGTH_OF(command_lists); i++) {
		for (const struct command *c = command_lists[i]; c->name; c++) {
			if (!text_equal(c->name, args->text[0]))
				continue;
			if (args->n - 1 >= c->min_arguments && args->n - 1 <= c->max_arguments)
				return c->run(args);
			say("fail %s: %u arguments", c->name, args->n - 1);
			return false;
		}
	}
	say("fail %s: there is no such command", args->text[0]);
	return false;
}

// Cuts a command into its arguments; returns where the next one begins.
static char *cut(char *at, struct arguments *ret_args)
{
	*ret_args = (struct arguments){ .n = 1, .text = { at } };
	for (; *at && *at != ','; at++) {
		if (*at == ':' && ret_args->n < RUN_MAX_ARGUMENTS) {
			*at = 0;
			ret_args->text[ret_args->n++] = at + 1;
		}
	}
	if (*at)
		*at++ = 0;
	return at;
}

bool run_line(char *text)
{
	struct arguments args;

	cut(text, &args);
	return run_one(&args);
}

bool run_commands(const char *commands)
{
	size_t size = commands ? strlen(commands) + 1 : 1;
	char *at = memory_take(size, 1);
	bool good = true;

	if (commands)
		memcpy(at, commands, size);
	while (*at && good) {
		struct arguments args;

		at = cut(at, &args);
		good = run_one(&args);
	}
	say("guest: %s", good ? "done" : "failed");
	return good;
}
