// SPDX-License-Identifier: BSD-3-Clause
// See vhost_listen.h.
#include "vmm/vhost_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/listen.h"

// A back end that is closed comes back; one that is of no use is told of once.
static void lost(struct vhost_user *v, uint64_t missing, int err)
{
	if (v->refused_told || (!missing && !err))
		return;
	v->refused_told = true;
	if (missing)
		machine_notice(v->machine,
			"%s: a back end lacks features %#llx that the guest uses; waiting for "
			"another",
			v->path, (unsigned long long)missing);
	else
		machine_notice(v->machine, "%s: a back end is of no use: %s; waiting for another",
			v->path, strerror(-err));
}

// One at a time: a second one waits in the backlog until the first has gone.
static void accept_one(struct vhost_user *v)
{
	int fd = accept4(v->listener.fd, NULL, NULL, SOCK_CLOEXEC), err;

	if (fd < 0)
		return;
	err = vhost_user_adopt(v, fd);
	if (err < 0) {
		lost(v, 0, err);
		close(fd);
		return;
	}
	vhost_user_give(v);
}

static void on_listener(void *arg, uint32_t events)
{
	struct vhost_user *v = arg;

	pthread_mutex_lock(&v->machine->lock);
	if (v->connection.fd >= 0)
		vhost_user_disconnect(v); // who connects anew has lost the former
	accept_one(v);
	pthread_mutex_unlock(&v->machine->lock);
}

void vhost_listen_init_spare(struct vhost_user *v, struct machine *m)
{
	v->machine = m;
	v->lost = lost;
	v->connection.fd = -1;
	v->listener = (struct loop_source){ .fd = -1, .ready = on_listener, .arg = v };
}

int vhost_listen_adopt(struct vhost_user *v, int listener, const char *name, struct error *e)
{
	int err, listens = 0;
	socklen_t size = sizeof(listens);
	const int flags = fcntl(listener, F_GETFL);

	// else it would be ready for ever, or not let go of the device thread
	if (flags < 0 || !(flags & O_NONBLOCK) ||
		getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
		return error_set(e, EINVAL, "%s: no socket that listens and does not block", name);
	v->path = name;
	v->refused_told = false;
	v->listener.fd = listener;
	err = loop_add(&v->machine->loop, &v->listener, EPOLLIN);
	if (err == 0)
		return 0;
	v->listener.fd = -1;
	return error_set(e, -err, "%s: %s", name, strerror(-err));
}

void vhost_listen_end(struct vhost_user *v)
{
	vhost_user_disconnect(v);
	if (v->listener.fd < 0)
		return;
	loop_remove(&v->machine->loop, &v->listener);
	close(v->listener.fd);
	v->listener.fd = -1;
	if (v->bound)
		unlink(v->path);
	v->bound = false;
}

int vhost_listen_init(struct vhost_user *v, struct machine *m, const char *path, struct error *e)
{
	int fd = listen_at(path, SOCK_STREAM, 1, false), err;

	if (fd < 0)
		return error_set(e, -fd, "%s: %s", path, strerror(-fd));
	vhost_listen_init_spare(v, m);
	err = vhost_listen_adopt(v, fd, path, e);
	v->bound = err == 0;
	if (err == 0)
		return 0;
	close(fd);
	unlink(path);
	return err;
}

bool vhost_listen_wait(struct vhost_user *v, int ms)
{
	struct pollfd p = { .fd = v->listener.fd, .events = POLLIN };

	if (v->connection.fd < 0 && poll(&p, 1, ms) == 1)
		accept_one(v);
	return v->connection.fd >= 0;
}

void vhost_listen_free(struct vhost_user *v)
{
	vhost_listen_end(v);
}
