// SPDX-License-Identifier: BSD-3-Clause
// See vhost_user.h. The connection; vhost_rings.c has what is said about memory and rings.
#include "vmm/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/listen.h"
#include "vmm/vhost_message.h"
#include "vmm/vhost_rings.h"

enum { PROTOCOL_FEATURES_BIT = 30 };
static const uint64_t PROTOCOL_WANTED = VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_REPLY_ACK |
					VHOST_PROTOCOL_NET_MTU | VHOST_PROTOCOL_MEM_SLOTS;

static void disconnect(struct vhost_user *v)
{
	if (v->connection.fd < 0)
		return;
	loop_remove(&v->machine->loop, &v->connection);
	close(v->connection.fd);
	v->connection.fd = -1;
	v->given = false;
}

static int ask_queues(struct vhost_user *v)
{
	uint64_t n;
	int err;

	if (!(v->protocol & VHOST_PROTOCOL_MQ))
		return v->n_rings > 2 ? -EOPNOTSUPP : 0;
	err = vhost_ask(v->connection.fd, VHOST_GET_QUEUE_NUM, NULL, &n, sizeof(n));
	// queues are pairs for a network device
	return err < 0 ? err : n < v->n_rings / 2u ? -EOPNOTSUPP : 0;
}

// What a connection begins with.
static int introduce(struct vhost_user *v)
{
	int fd = v->connection.fd, err;

	err = vhost_ask(fd, VHOST_GET_FEATURES, NULL, &v->features, sizeof(v->features));
	if (err < 0)
		return err;
	v->protocol = 0;
	if (v->features >> PROTOCOL_FEATURES_BIT & 1) {
		err = vhost_ask(
			fd, VHOST_GET_PROTOCOL_FEATURES, NULL, &v->protocol, sizeof(v->protocol));
		if (err < 0)
			return err;
		v->protocol &= PROTOCOL_WANTED;
		err = vhost_send(fd, VHOST_SET_PROTOCOL_FEATURES, &v->protocol, sizeof(v->protocol),
			NULL, 0);
		if (err < 0)
			return err;
	}
	err = vhost_send(fd, VHOST_SET_OWNER, NULL, 0, NULL, 0);
	return err < 0 ? err : ask_queues(v);
}

static void tell_refused(struct vhost_user *v, uint64_t missing, int err)
{
	if (v->refused_told)
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

// The rings to the back end, if there are both.
static void give(struct vhost_user *v)
{
	uint64_t missing = v->device->features & ~v->features_mine & ~v->features;
	int err;

	if (!v->started || v->given || v->connection.fd < 0)
		return;
	err = missing ? -EOPNOTSUPP : vhost_rings_give(v);
	if (err == 0) {
		v->given = true;
		v->refused_told = false;
		return;
	}
	tell_refused(v, missing, err);
	disconnect(v);
}

static void on_connection(void *arg, uint32_t events)
{
	struct vhost_user *v = arg;
	char byte;

	pthread_mutex_lock(&v->machine->lock);
	// a back end says nothing unasked: this is its end
	if (v->connection.fd >= 0 &&
		(events & (EPOLLHUP | EPOLLERR) ||
			recv(v->connection.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0))
		disconnect(v);
	pthread_mutex_unlock(&v->machine->lock);
}

// One at a time: a second one waits in the backlog until the first has gone.
static void accept_one(struct vhost_user *v)
{
	int err;

	v->connection.fd = accept4(v->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (v->connection.fd < 0)
		return;
	err = introduce(v);
	if (err == 0)
		err = loop_add(&v->machine->loop, &v->connection, EPOLLIN);
	if (err < 0) {
		tell_refused(v, 0, err);
		close(v->connection.fd);
		v->connection.fd = -1;
		return;
	}
	give(v);
}

static void on_listener(void *arg, uint32_t events)
{
	struct vhost_user *v = arg;

	pthread_mutex_lock(&v->machine->lock);
	if (v->connection.fd >= 0)
		disconnect(v); // who connects anew has lost the former
	accept_one(v);
	pthread_mutex_unlock(&v->machine->lock);
}

void vhost_user_init_spare(struct vhost_user *v, struct machine *m)
{
	v->machine = m;
	v->connection = (struct loop_source){ .fd = -1, .ready = on_connection, .arg = v };
	v->listener = (struct loop_source){ .fd = -1, .ready = on_listener, .arg = v };
}

int vhost_user_adopt(struct vhost_user *v, int listener, const char *name, struct error *e)
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

void vhost_user_end(struct vhost_user *v)
{
	disconnect(v);
	if (v->listener.fd < 0)
		return;
	loop_remove(&v->machine->loop, &v->listener);
	close(v->listener.fd);
	v->listener.fd = -1;
	if (v->bound)
		unlink(v->path);
	v->bound = false;
}

int vhost_user_init(struct vhost_user *v, struct machine *m, const char *path, struct error *e)
{
	int fd = listen_at(path, SOCK_STREAM, 1, false), err;

	if (fd < 0)
		return error_set(e, -fd, "%s: %s", path, strerror(-fd));
	vhost_user_init_spare(v, m);
	err = vhost_user_adopt(v, fd, path, e);
	v->bound = err == 0;
	if (err == 0)
		return 0;
	close(fd);
	unlink(path);
	return err;
}

bool vhost_user_wait(struct vhost_user *v, int ms)
{
	struct pollfd p = { .fd = v->listener.fd, .events = POLLIN };

	if (v->connection.fd < 0 && poll(&p, 1, ms) == 1)
		accept_one(v);
	return v->connection.fd >= 0;
}

void vhost_user_free(struct vhost_user *v)
{
	vhost_user_end(v);
}

int vhost_user_start(struct vhost_user *v)
{
	int err = vhost_rings_check(v);

	if (err < 0)
		return err;
	v->started = true;
	give(v);
	return 0;
}

void vhost_user_stop(struct vhost_user *v)
{
	v->started = false;
	if (v->given && vhost_rings_take(v) < 0)
		disconnect(v);
	v->given = false;
}

void vhost_user_enable(struct vhost_user *v, uint16_t ring, bool on)
{
	if (v->enabled[ring] == on)
		return;
	v->enabled[ring] = on;
	if (v->given && vhost_rings_enable(v, ring) < 0)
		disconnect(v);
}
