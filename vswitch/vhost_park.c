// SPDX-License-Identifier: BSD-3-Clause
// Port kind vhost-user, a standstill: librte_vhost's event thread waits while a port is taken out.
// When a far end hangs up, that thread removes its connection and notes the port as one to dial
// again; rte_vhost_driver_unregister, called meanwhile, can look for the note before and for the
// connection after, finds neither and frees the port under the dialler's feet. librte_vhost has no
// way to stop its thread, but calls us for each connection: so there is a socket that only we dial,
// and the thread stands in our callback until it is let go. Control thread, but for vhost_parked.

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "vswitch/vhost_port.h"

// A new listener is noticed up to a second late; longer, and something else holds the thread.
enum { PATIENCE_S = 5 };

static struct {
	struct sockaddr_un address;
	bool open;
	int fd; // of the call that keeps the thread, or -1
	sem_t stands, go;
	_Atomic bool wanted;
} park = { .fd = -1 };

int vhost_park_open(const char *folder)
{
	char *path = park.address.sun_path;
	mode_t mask;
	int r;

	if (park.open)
		return 0;
	park.address.sun_family = AF_UNIX;
	if ((size_t)snprintf(path, sizeof(park.address.sun_path), "%s/.park", folder) >=
		sizeof(park.address.sun_path))
		return -ENAMETOOLONG;
	unlink(path); // left by one that was killed
	sem_init(&park.stands, 0, 0);
	sem_init(&park.go, 0, 0);
	if (rte_vhost_driver_register(path, 0) != 0)
		return -ENOMEM;
	mask = umask(077); // nobody else may dial it
	r = rte_vhost_driver_callback_register(path, &vhost_device_ops) != 0 ||
	    rte_vhost_driver_start(path) != 0;
	umask(mask);
	if (r != 0) {
		rte_vhost_driver_unregister(path);
		return -EIO;
	}
	park.open = true;
	return 0;
}

void vhost_park_close(void)
{
	if (park.open)
		rte_vhost_driver_unregister(park.address.sun_path);
	park.open = false;
}

// The event thread's turn: true if the connection was the call to stand still (and it is over).
bool vhost_parked(const char *path)
{
	if (strcmp(path, park.address.sun_path) != 0)
		return false;
	if (atomic_exchange(&park.wanted, false)) {
		sem_post(&park.stands);
		while (sem_wait(&park.go) != 0)
			;
	}
	return true;
}

bool vhost_park(void)
{
	struct timespec until;

	park.fd = park.open ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	if (park.fd < 0)
		return false;
	atomic_store(&park.wanted, true);
	if (connect(park.fd, (const struct sockaddr *)&park.address, sizeof(park.address)) != 0)
		goto fail;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (sem_timedwait(&park.stands, &until) != 0) {
		if (errno == EINTR)
			continue;
		if (atomic_exchange(&park.wanted, false))
			goto fail;
		sem_wait(&park.stands); // it came at the last moment
		break;
	}
	return true;

fail:
	atomic_store(&park.wanted, false);
	close(park.fd);
	return false;
}

void vhost_unpark(void)
{
	sem_post(&park.go);
	close(park.fd);
}
