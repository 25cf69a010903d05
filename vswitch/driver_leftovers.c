// SPDX-License-Identifier: BSD-3-Clause
// Clears up behind drivers, see driver_leftovers.h. The linker leads every call of this program
// that makes or closes such things through here (--wrap in meson.build). Called by port_ethdev.c,
// control thread.
#include "vswitch/driver_leftovers.h"

#include <rte_interrupts.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FDS_MAX = 64, // virtio_user: a socket, and two eventfds for each of 16 rings
	HANDLES_MAX = 4,
};

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __real_close(int fd);
int __wrap_close(int fd);
struct rte_intr_handle *__real_rte_intr_instance_alloc(uint32_t flags);
struct rte_intr_handle *__wrap_rte_intr_instance_alloc(uint32_t flags);
void __real_rte_intr_instance_free(struct rte_intr_handle *handle);
void __wrap_rte_intr_instance_free(struct rte_intr_handle *handle);

static _Thread_local bool watching;
static _Thread_local unsigned n_fds, n_handles;
static _Thread_local int fds[FDS_MAX];
static _Thread_local struct rte_intr_handle *handles[HANDLES_MAX];

// More than there is room for stays with the driver.
static int note_fd(int fd)
{
	if (watching && fd >= 0 && n_fds < FDS_MAX)
		fds[n_fds++] = fd;
	return fd;
}

int __wrap_socket(int domain, int type, int protocol)
{
	return note_fd(__real_socket(domain, type, protocol));
}

int __wrap_eventfd(unsigned value, int flags)
{
	return note_fd(__real_eventfd(value, flags));
}

int __wrap_close(int fd)
{
	for (unsigned i = 0; watching && i < n_fds; i++)
		if (fds[i] == fd) {
			fds[i] = fds[--n_fds];
			break;
		}
	return __real_close(fd);
}

struct rte_intr_handle *__wrap_rte_intr_instance_alloc(uint32_t flags)
{
	struct rte_intr_handle *handle = __real_rte_intr_instance_alloc(flags);

	if (watching && handle && n_handles < HANDLES_MAX)
		handles[n_handles++] = handle;
	return handle;
}

void __wrap_rte_intr_instance_free(struct rte_intr_handle *handle)
{
	for (unsigned i = 0; watching && i < n_handles; i++)
		if (handles[i] == handle) {
			handles[i] = handles[--n_handles];
			break;
		}
	__real_rte_intr_instance_free(handle);
}

void driver_leftovers_watch(void)
{
	n_fds = n_handles = 0;
	watching = true;
}

void driver_leftovers_end(bool clear)
{
	watching = false;
	while (clear && n_fds > 0)
		__real_close(fds[--n_fds]);
	while (clear && n_handles > 0)
		__real_rte_intr_instance_free(handles[--n_handles]);
}
