// SPDX-License-Identifier: BSD-3-Clause
// See guest_agent.h: streams of random bytes by TCP, whose two ends tell what they hash to. Called
// by guest_agent.c, each command and each stream on a thread of its own.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/e2e/guest_agent.h"

enum {
	STREAM_PORT = 7008,
	MAX_STREAMS = 64,
	BLOCK = 64 << 10,
	STALL_S = 90, // one that stands still for so long is broken
};

static struct stream {
	char label[GUEST_WORD], peer[GUEST_PEER];
	uint64_t bytes, hash;
	const char *state;
} streams[MAX_STREAMS]; // each its thread's; told of as they are
static unsigned n_streams;
static char stopped[MAX_STREAMS][GUEST_WORD];
static unsigned n_stopped;
// Of the two numbers; what is below them stays.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// FNV-1a, 64 bits.
static uint64_t hash_of(uint64_t hash, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ b[i]) * 0x100000001b3;
	return hash;
}

#define HASH_BEGIN 0xcbf29ce484222325u

// The label is the first GUEST_WORD bytes, and counted neither there nor here.
static void *take_stream(void *arg)
{
	struct guest_connection *c = arg;
	uint8_t *b = malloc(BLOCK);
	struct stream *s = NULL;

	guest_set_patience(c->fd, STALL_S * 1000);
	pthread_mutex_lock(&lock);
	if (n_streams < MAX_STREAMS)
		s = &streams[n_streams++];
	pthread_mutex_unlock(&lock);
	if (s && recv(c->fd, s->label, GUEST_WORD, MSG_WAITALL) == GUEST_WORD) {
		ssize_t n;

		inet_ntop(AF_INET, &c->peer.sin_addr, s->peer, GUEST_PEER);
		s->hash = HASH_BEGIN;
		s->state = "open";
		while ((n = recv(c->fd, b, BLOCK, 0)) > 0) {
			s->hash = hash_of(s->hash, b, (size_t)n);
			s->bytes += (size_t)n;
		}
		s->state = n == 0 ? "whole" : "broken";
	}
	close(c->fd);
	free(b);
	free(c);
	return NULL;
}

void *guest_hear_streams(void *arg)
{
	guest_serve(STREAM_PORT, take_stream);
	return NULL;
}

void guest_got(const char *number, char *const *words)
{
	struct stream s = { .state = "none" };

	for (unsigned i = 0; i < MAX_STREAMS; i++)
		if (streams[i].state && strcmp(streams[i].label, words[0]) == 0)
			s = streams[i];
	guest_say("@%s %llu %016llx %s %s", number, (unsigned long long)s.bytes,
		(unsigned long long)s.hash, s.peer[0] ? s.peer : "-", s.state);
}

void guest_stop(const char *number, char *const *words)
{
	pthread_mutex_lock(&lock);
	if (n_stopped < MAX_STREAMS)
		snprintf(stopped[n_stopped++], GUEST_WORD, "%s", words[0]);
	pthread_mutex_unlock(&lock);
	guest_say("@%s", number);
}

static bool is_stopped(const char *label)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n_stopped; i++)
		found |= strcmp(stopped[i], label) == 0;
	pthread_mutex_unlock(&lock);
	return found;
}

// Each block is random anew: what arrives in another order, or a part of it twice, has another
// hash.
static bool pour(
	int fd, const char *label, char *const *limits, uint64_t *ret_bytes, uint64_t *ret_hash)
{
	int64_t kib = atoll(limits[0]), rate = atoll(limits[1]), begin = guest_now_ms();
	uint8_t *b = malloc(BLOCK);
	bool good = true;

	*ret_hash = HASH_BEGIN;
	while (good && (int64_t)*ret_bytes < kib * 1024 && !is_stopped(label)) {
		int64_t early = begin + (int64_t)*ret_bytes * 1000 / 1024 / rate - guest_now_ms();

		if (early > 0)
			usleep((unsigned)early * 1000);
		good = getrandom(b, BLOCK, 0) == BLOCK && send(fd, b, BLOCK, MSG_NOSIGNAL) == BLOCK;
		if (good) {
			*ret_hash = hash_of(*ret_hash, b, BLOCK);
			*ret_bytes += BLOCK;
		}
	}
	free(b);
	return good;
}

void guest_send(const char *number, char *const *words)
{
	struct sockaddr_in to = guest_place(words[0], STREAM_PORT);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char label[GUEST_WORD] = { 0 }, end;
	uint64_t bytes = 0, hash = 0;

	snprintf(label, sizeof(label), "%s", words[1]);
	guest_set_patience(fd, STALL_S * 1000);
	// The far end closes when it has read everything.
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
		send(fd, label, sizeof(label), MSG_NOSIGNAL) == sizeof(label) &&
		pour(fd, label, words + 2, &bytes, &hash) && shutdown(fd, SHUT_WR) == 0 &&
		recv(fd, &end, 1, 0) == 0)
		guest_say("@%s %llu %016llx", number, (unsigned long long)bytes,
			(unsigned long long)hash);
	else
		guest_say("@%s after %llu bytes: %s", number, (unsigned long long)bytes,
			strerror(errno));
	close(fd);
}
