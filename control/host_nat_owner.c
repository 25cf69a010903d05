// SPDX-License-Identifier: BSD-3-Clause
// Whose table `ip insula` is, see host_nat.h. The mark is a UDP socket bound to a port of
// loopback's that nobody else has a use for: like what it marks it is one for a network namespace,
// below 1024 it takes CAP_NET_BIND_SERVICE, and the kernel takes it from the dead. Called by
// host_nat.c, main thread.
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/host_nat.h"
#include "control/log.h"

enum {
	ADDRESS = 0x7f494e53, // 127.73.78.83
	PORT = 1,
	DYING_TRIES = 50,
	DYING_US = 10000,
};

static int owner = -1;
static bool waited; // for a dying one
static bool is_anothers;

static int try_to_own(void)
{
	const struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(ADDRESS), .sin_port = htons(PORT)
	};
	const int on = 1, least = 0;
	int r = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)); // nobody reads it
	if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 || // loopback may be down
		bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		r = -errno;
	if (r == 0)
		owner = fd;
	else
		close(fd);
	return r;
}

int host_nat_own(char *err, size_t err_size)
{
	int r = owner >= 0 ? 0 : try_to_own();

	// A killed one has it until the kernel has closed all it had. Ours is not among them later.
	for (int i = 0; r == -EADDRINUSE && !waited && i < DYING_TRIES; i++) {
		usleep(DYING_US);
		r = try_to_own();
	}
	waited = true;
	is_anothers = r == -EADDRINUSE;
	if (is_anothers)
		return log_reason(r, err, err_size,
			"another insulad on this host has an uplink of mode nat (it holds UDP port "
			"127.73.78.83:1); one of them can");
	return r < 0 ? log_reason(r, err, err_size, "cannot claim table ip insula: %s%s",
			       strerror(-r), r == -EACCES ? "; CAP_NET_BIND_SERVICE is needed" : "")
		     : 0;
}

bool host_nat_is_owned(void)
{
	return owner >= 0;
}

bool host_nat_is_anothers(void)
{
	return is_anothers;
}

void host_nat_disown(void)
{
	if (owner >= 0)
		close(owner);
	owner = -1;
}
