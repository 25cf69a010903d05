// SPDX-License-Identifier: BSD-3-Clause
// What the file's `settings` say of the process insula-switch: how it is started, known again from
// its command line, and whether this host has room for it. Another value is another process. Main
// thread; `insula replay` uses it, too.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum switch_hugepages { SWITCH_HUGEPAGES_NONE, SWITCH_HUGEPAGES_2M, SWITCH_HUGEPAGES_COUNT };

struct switch_settings {
	uint32_t workers;
	bool poll; // workers never sleep
	// How many the table holds; of one tenant; of one port, which began them.
	uint32_t sessions, sessions_per_tenant, sessions_per_port;
	enum switch_hugepages hugepages; // where its packet memory comes from
	uint32_t
		// and for how many queues of DPDK devices there is room; not in the file
		device_queues;
};

enum { SWITCH_SETTINGS_WORDS = 10, SWITCH_SETTINGS_SIZE = 160 };

// Numbers that are 0 become the defaults.
void switch_settings_fill(struct switch_settings *s);
// Room for that many queues of DPDK devices, rounded up. A switch that runs with these settings
// (NULL: none does) and has more keeps it: less would be another process.
void switch_settings_make_room(
	struct switch_settings *s, uint32_t device_queues, const struct switch_settings *running);
bool switch_settings_equal(const struct switch_settings *a, const struct switch_settings *b);
// "N,PER_TENANT,PER_PORT", as insula-switch takes it.
void switch_settings_sessions(const struct switch_settings *s, char *buf, size_t size);
// As arguments of insula-switch, NULL at the end; the texts lie in buf.
void switch_settings_arguments(const struct switch_settings *s, char buf[SWITCH_SETTINGS_SIZE],
	char *ret_words[SWITCH_SETTINGS_WORDS]);
// How a running one was started, by its own command line; what that does not say is the default.
void switch_settings_of(pid_t pid, struct switch_settings *ret);
// Has this host room for it? It gets the table files in run_dir and what a switch of the settings
// `old` (NULL: none runs) gives back. 0, or -errno with a sentence in err.
int switch_settings_check(const struct switch_settings *s, const struct switch_settings *old,
	const char *run_dir, char *err, size_t err_size);
