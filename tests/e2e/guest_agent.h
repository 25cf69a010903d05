// SPDX-License-Identifier: BSD-3-Clause
// What the files of the agent in test_instances.sh' guests share; see guest_agent.c.
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	GUEST_WORD = 32, // a nonce or a label, with its end
	GUEST_PEER = 16, // an address, with its end
};

struct guest_connection { // freed by the thread that has it
	int fd;
	struct sockaddr_in peer;
};

// --- guest_agent.c ---

// A line on the console, by one write, and " ." at its end: the kernel's own may come in its midst.
void guest_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

int64_t guest_now_ms(void);
struct sockaddr_in guest_place(const char *address, uint16_t port);

// For each thing that is received or sent.
void guest_set_patience(int fd, int64_t ms);

// Takes connections to `port` for ever, each by `run` in a thread, whose argument is a
// guest_connection.
void guest_serve(uint16_t port, void *(*run)(void *));

// --- guest_agent_stream.c ---

void *guest_hear_streams(void *arg); // a thread's

// "send ADDRESS LABEL KIB RATE": at most RATE KiB/s, until there are KIB or it is stopped. Answers
// "BYTES HASH", or why it broke.
void guest_send(const char *number, char *const *words);

// "stop LABEL": one that is sent. Answers at once.
void guest_stop(const char *number, char *const *words);

// "got LABEL": what has come: "BYTES HASH PEER STATE", STATE open, whole, broken or none.
void guest_got(const char *number, char *const *words);

// --- guest_agent_disk.c ---

// "disks": answers "NAME:BYTES:WORD:WORD" of each, the words being what its first two sectors begin
// with.
void guest_disks(const char *number, char *const *words);

// "write NAME WORD": to the second sector, flushed. Answers "written" or "failed".
void guest_write(const char *number, char *const *words);

// --- guest_agent_boot.c ---

// The first process' work: mounts, modules, the power button, the console, udhcpc.
void guest_boot(void);

// udhcpc's script: `event` is deconfig, bound or renew; the lease is in the environment. Tells it
// on the console: "@lease ADDRESS PREFIX ROUTER DNS MTU .". Returns the exit status.
int guest_lease(const char *event);

// "offloads 0|1": eth0's, off or on, as far as they go. Answers which are on.
void guest_offloads(const char *number, char *const *words);

// "about": answers "BOOT UPTIME PROCESSORS RINGS".
void guest_about(const char *number, char *const *words);

// "reboot", "off", "panic": no answer.
void guest_reboot(const char *number, char *const *words);
void guest_off(const char *number, char *const *words);
void guest_panic(const char *number, char *const *words);
