// SPDX-License-Identifier: BSD-3-Clause
// What a Debian guest of test_instances.sh runs. As its first process it mounts, loads the modules
// named in /modules, and starts udhcpc, whose script it is too. Then, or at once when it is started
// with "-" (which is how it runs on a host), it takes commands from its console, "NUMBER VERB
// ARGUMENT...", answered "@NUMBER ... .", each in a thread of its own: those of guest_agent.h, and
//   probe ping|tcp|udp ADDRESS NONCE SECONDS   answered | silent
//   seen PREFIX     KIND:NONCE:PEER of the probes that reached it, by how their nonces begin
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "tests/e2e/guest_agent.h"

enum {
	PROBE_PORT = 7007,
	MAX_SEEN = 512,
	AGAIN_MS = 300, // a datagram that is not answered is sent again
};

static struct {
	char kind[5], nonce[GUEST_WORD], peer[GUEST_PEER];
} seen[MAX_SEEN]; // under lock
static unsigned n_seen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void guest_say(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 3, fmt, ap);
	va_end(ap);
	n = n < (int)sizeof(line) - 3 ? n : (int)sizeof(line) - 4;
	if (write(1, line, (size_t)(n + sprintf(line + n, " .\n"))) < 0)
		return;
}

int64_t guest_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static void start(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) == 0)
		pthread_detach(thread);
}

struct sockaddr_in guest_place(const char *address, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, address, &to.sin_addr);
	return to;
}

// --- probes, and who hears of them ---

static bool is_nonce(const char *text, size_t len)
{
	return len && len < GUEST_WORD && strspn(text, "0123456789abcdef") >= len;
}

static void record(const char *kind, const char *nonce, size_t len, const struct sockaddr_in *from)
{
	bool new = is_nonce(nonce, len);

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n_seen; i++)
		if (strncmp(seen[i].nonce, nonce, len) == 0 && strcmp(seen[i].kind, kind) == 0)
			new = false; // sent again
	if (new &&n_seen < MAX_SEEN) {
		snprintf(seen[n_seen].kind, sizeof(seen->kind), "%s", kind);
		snprintf(seen[n_seen].nonce, GUEST_WORD, "%.*s", (int)len, nonce);
		inet_ntop(AF_INET, &from->sin_addr, seen[n_seen].peer, GUEST_PEER);
		n_seen++;
	}
	pthread_mutex_unlock(&lock);
}

// A raw socket gets a copy of every ICMP packet that is delivered here.
static void *hear_pings(void *arg)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct sockaddr_in from;
	char b[2048] = { 0 };

	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, b, sizeof(b) - 1, 0, (struct sockaddr *)&from, &size);
		size_t skip = (size_t)(b[0] & 15) * 4 + sizeof(struct icmphdr);

		if (n < 0)
			return NULL;
		if ((size_t)n > skip && b[skip - sizeof(struct icmphdr)] == ICMP_ECHO)
			record("ping", b + skip, (size_t)n - skip, &from);
	}
}

static void *hear_datagrams(void *arg)
{
	struct sockaddr_in from, here = guest_place("0.0.0.0", PROBE_PORT);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char b[2048] = { 0 };

	bind(fd, (struct sockaddr *)&here, sizeof(here));
	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, b, sizeof(b) - 1, 0, (struct sockaddr *)&from, &size);

		if (n < 0)
			return NULL;
		record("udp", b, (size_t)n, &from);
		sendto(fd, b, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

void guest_serve(uint16_t port, void *(*run)(void *))
{
	struct sockaddr_in here = guest_place("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(fd, 64) < 0) {
		close(fd);
		return;
	}
	for (;;) {
		struct guest_connection *c = calloc(1, sizeof(*c));
		socklen_t size = sizeof(c->peer);

		c->fd = accept(fd, (struct sockaddr *)&c->peer, &size);
		start(run, c);
	}
}

static void *answer_probe(void *arg)
{
	struct guest_connection *c = arg;
	char b[GUEST_WORD];
	ssize_t n = recv(c->fd, b, sizeof(b), 0);

	if (n > 0) {
		record("tcp", b, (size_t)n, &c->peer);
		send(c->fd, b, (size_t)n, MSG_NOSIGNAL);
	}
	close(c->fd);
	free(c);
	return NULL;
}

static void *hear_connections(void *arg)
{
	guest_serve(PROBE_PORT, answer_probe);
	return NULL;
}

void guest_set_patience(int fd, int64_t ms)
{
	struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static uint16_t checksum(const uint8_t *b, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t) ~(sum + (sum >> 16)));
}

// The nonce as an echo request; returns its size.
static size_t make_echo(char *b, const char *nonce)
{
	struct icmphdr head = { .type = ICMP_ECHO };
	size_t n = sizeof(head) + strlen(nonce);

	head.un.echo.id = (uint16_t)strtoul(nonce + strlen(nonce) - 4, NULL, 16);
	memcpy(b, &head, sizeof(head));
	memcpy(b + sizeof(head), nonce, strlen(nonce));
	head.checksum = checksum((const uint8_t *)b, n);
	memcpy(b, &head, sizeof(head));
	return n;
}

// Sends until an answer has the nonce in it, or the time is up.
static bool ask_datagrams(bool ping, struct sockaddr_in to, const char *nonce, int64_t end)
{
	int fd = ping ? socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) : socket(AF_INET, SOCK_DGRAM, 0);
	char out[GUEST_WORD + 16] = { 0 }, in[2048];
	size_t size = ping ? make_echo(out, nonce) : strlen(strcpy(out, nonce));
	// Of a raw socket the whole packet comes, and of all; ICMP_ECHOREPLY is 0.
	size_t skip = ping ? 20 : 0;
	bool answered = false;

	if (ping)
		to.sin_port = 0;
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	for (int64_t next = 0; !answered && guest_now_ms() < end;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (guest_now_ms() >= next) {
			send(fd, out, size, 0);
			next = guest_now_ms() + AGAIN_MS;
		}
		if (poll(&p, 1, AGAIN_MS / 3) < 1)
			continue;
		ssize_t n = recv(fd, in, sizeof(in), 0);
		answered = n == (ssize_t)(skip + size) && (!ping || in[skip] == ICMP_ECHOREPLY) &&
			   memcmp(in + n - strlen(nonce), nonce, strlen(nonce)) == 0;
	}
	close(fd);
	return answered;
}

static bool ask_tcp(struct sockaddr_in to, const char *nonce, int64_t end)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char in[GUEST_WORD] = { 0 };
	ssize_t n = -1;

	guest_set_patience(fd, end - guest_now_ms());
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
		send(fd, nonce, strlen(nonce), MSG_NOSIGNAL) > 0)
		n = recv(fd, in, sizeof(in), 0);
	close(fd);
	return n == (ssize_t)strlen(nonce) && memcmp(in, nonce, (size_t)n) == 0;
}

static void probe(const char *number, char *const *words)
{
	const char *kind = words[0], *nonce = words[2];
	struct sockaddr_in to = guest_place(words[1], PROBE_PORT);
	int64_t end = guest_now_ms() + atoi(words[3]) * 1000ll;
	bool ping = strcmp(kind, "ping") == 0;
	bool answered =
		strcmp(kind, "tcp") ? ask_datagrams(ping, to, nonce, end) : ask_tcp(to, nonce, end);

	guest_say("@%s %s", number, answered ? "answered" : "silent");
}

static void tell_seen(const char *number, char *const *words)
{
	char text[4000] = "";
	size_t used = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n_seen && used + 64 < sizeof(text); i++)
		if (strncmp(seen[i].nonce, words[0], strlen(words[0])) == 0)
			used += (size_t)sprintf(text + used, " %s:%s:%s", seen[i].kind,
				seen[i].nonce, seen[i].peer);
	pthread_mutex_unlock(&lock);
	guest_say("@%s%s", number, text);
}

// --- commands ---

static const struct verb {
	const char *name;
	int n_words;
	void (*run)(const char *number, char *const *words);
} verbs[] = {
	{ "probe", 4, probe },
	{ "seen", 1, tell_seen },
	{ "send", 4, guest_send },
	{ "stop", 1, guest_stop },
	{ "got", 1, guest_got },
	{ "disks", 0, guest_disks },
	{ "write", 2, guest_write },
	{ "offloads", 1, guest_offloads },
	{ "about", 0, guest_about },
	{ "reboot", 0, guest_reboot },
	{ "off", 0, guest_off },
	{ "panic", 0, guest_panic },
};

static void *obey(void *arg)
{
	char *line = arg, *rest = line, *words[8] = { 0 };
	int n = 0;

	while (n < 8 && (words[n] = strsep(&rest, " \r\n")) != NULL)
		n += words[n][0] != 0;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (n == verbs[i].n_words + 2 && strcmp(words[1], verbs[i].name) == 0)
			verbs[i].run(words[0], words + 2);
	free(line);
	return NULL;
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;

	if (argc == 2 && strcmp(argv[1], "-"))
		return guest_lease(argv[1]);
	start(hear_pings, NULL);
	start(hear_datagrams, NULL);
	start(hear_connections, NULL);
	start(guest_hear_streams, NULL);
	if (argc == 1)
		guest_boot();
	guest_say("@ready");
	while (getline(&line, &size, stdin) > 0)
		start(obey, strdup(line));
	if (argc == 1)
		pause();
	return 0;
}
