// SPDX-License-Identifier: BSD-3-Clause
// resolv.conf(5), as far as name servers go. Pure but for reading the two files; called by apply.c
// at each compile. IPv6 upstreams are left out until guests have IPv6.
#include "control/resolv.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_loopback(be32 a)
{
	return (ntohl(a) >> 24) == 127;
}

// RFC 1122 §3.2.1.3: not "this network", multicast, reserved or broadcast.
static bool is_host(be32 a)
{
	return ntohl(a) >> 24 != 0 && ntohl(a) >> 28 < 0xe;
}

// One line without its end.
static void parse_line(
	const char *line, size_t size, be32 dns[POLICY_MAX_DNS], unsigned *n, bool *stub)
{
	static const char key[] = "nameserver";
	char text[64];
	size_t i = 0, k = 0;
	be32 a;

	while (i < size && isspace((unsigned char)line[i]))
		i++;
	if (size - i <= sizeof(key) - 1 || memcmp(line + i, key, sizeof(key) - 1) != 0)
		return;
	i += sizeof(key) - 1;
	if (!isspace((unsigned char)line[i]))
		return;
	while (i < size && isspace((unsigned char)line[i]))
		i++;
	while (i < size && !isspace((unsigned char)line[i]) && k < sizeof(text) - 1)
		text[k++] = line[i++];
	text[k] = 0;
	if (strcmp(text, "::1") == 0)
		*stub = true;
	if (inet_pton(AF_INET, text, &a) != 1 || !is_host(a))
		return;
	if (is_loopback(a)) {
		*stub = true;
		return;
	}
	for (unsigned j = 0; j < *n; j++)
		if (dns[j] == a)
			return;
	if (*n < POLICY_MAX_DNS)
		dns[(*n)++] = a;
}

unsigned resolv_parse(const char *text, size_t size, be32 ret_dns[POLICY_MAX_DNS], bool *ret_stub)
{
	unsigned n = 0;

	*ret_stub = false;
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t line = end ? (size_t)(end - text) : size;
		parse_line(text, line, ret_dns, &n, ret_stub);
		line += end != NULL;
		text += line;
		size -= line;
	}
	return n;
}

static unsigned read_file(const char *path, be32 ret_dns[POLICY_MAX_DNS], bool *ret_stub)
{
	char text[16384];
	size_t size = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // it may be a FIFO

	*ret_stub = false;
	if (fd < 0)
		return 0;
	for (;;) {
		ssize_t n = read(fd, text + size, sizeof(text) - size);
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	close(fd);
	if (size == sizeof(text)) // of a longer one, whole lines
		while (size > 0 && text[size - 1] != '\n')
			size--;
	return resolv_parse(text, size, ret_dns, ret_stub);
}

// Where those who put a stub into /etc/resolv.conf write down whom it asks.
static const char *const behind_stubs[] = { "/run/systemd/resolve/resolv.conf",
	"/run/NetworkManager/no-stub-resolv.conf" };

unsigned resolv_host(const char *conf, const char *upstream, be32 ret_dns[POLICY_MAX_DNS])
{
	bool stub;
	unsigned n = read_file(conf ? conf : "/etc/resolv.conf", ret_dns, &stub);

	if (n > 0 || !stub)
		return n;
	if (upstream)
		return read_file(upstream, ret_dns, &stub);
	for (size_t i = 0; n == 0 && i < sizeof(behind_stubs) / sizeof(behind_stubs[0]); i++)
		n = read_file(behind_stubs[i], ret_dns, &stub);
	return n;
}
