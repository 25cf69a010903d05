// SPDX-License-Identifier: BSD-3-Clause
// Listens to DPDK's log while a device is probed, see driver_words.h. Called by port_ethdev.c; the
// log stream's own function by whichever thread logs meanwhile.
#include "vswitch/driver_words.h"

#include <stdio.h>
#include <string.h>
#include <rte_jhash.h>
#include <rte_log.h>

enum {
	TEXT_SIZE = 4096,
	TOLD_MAX = 64, // twice as many as there are devices
};

static FILE *stream; // made once, never closed: a thread may be about to write to it
static _Thread_local char *heard; // of this thread; NULL = nobody listens
static char all[TEXT_SIZE]; // what the thread that listens has been told: there is one
static size_t n_all;
static uint64_t told[TOLD_MAX]; // hashes of what the log has
static unsigned n_told;

// One line without the name of the function that says it, in ASCII: it gets into JSON.
static void keep(const char *text, size_t size)
{
	const char *end = memchr(text, '\n', size), *after = memmem(text, size, "(): ", 4);
	size_t len = end ? (size_t)(end - text) : size, skip = 0, n = 0;

	if (after && (size_t)(after - text) + 4 < len)
		skip = (size_t)(after - text) + 4;
	for (; skip + n < len && n < DRIVER_WORDS_SIZE - 1; n++) {
		char c = text[skip + n];
		heard[n] = '?';
		if (c >= ' ' && c <= '~')
			heard[n] = c;
	}
	heard[n] = 0;
}

// EAL's own words only say that the device was not had.
static ssize_t on_words(void *cookie, const char *text, size_t size)
{
	if (!heard || size > TEXT_SIZE - n_all) {
		fwrite(text, 1, size, stderr);
	} else {
		memcpy(all + n_all, text, size);
		n_all += size;
	}
	if (heard && heard[0] == 0 && rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR &&
		rte_log_cur_msg_logtype() != RTE_LOGTYPE_EAL)
		keep(text, size);
	return (ssize_t)size;
}

void driver_words_listen(char text[DRIVER_WORDS_SIZE])
{
	text[0] = 0;
	if (!stream)
		stream = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = on_words });
	if (!stream)
		return;
	setvbuf(stream, NULL, _IOLBF, BUFSIZ);
	n_all = 0;
	heard = text;
	rte_openlog_stream(stream);
}

// A device that is not had is tried again, many times.
static bool is_news(const char *devargs)
{
	uint64_t hash = (uint64_t)rte_jhash(all, (uint32_t)n_all, 0) << 32 |
			rte_jhash(devargs, (uint32_t)strlen(devargs), 0);

	for (unsigned i = 0; i < TOLD_MAX; i++)
		if (told[i] == hash)
			return false;
	told[n_told++ % TOLD_MAX] = hash;
	return true;
}

void driver_words_end(const char *devargs)
{
	if (!heard)
		return;
	rte_openlog_stream(NULL); // as it was
	heard = NULL;
	if (n_all > 0 && is_news(devargs))
		fwrite(all, 1, n_all, stderr);
}
