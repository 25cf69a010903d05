// SPDX-License-Identifier: BSD-3-Clause
// See vhost_user.h. The connection; vhost_rings.c has what is said about memory and rings.
#include "vmm/vhost_user.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/vhost_rings.h"

enum { PROTOCOL_FEATURES_BIT = 30 };

void vhost_user_disconnect(struct vhost_user *v)
{
	if (v->connection.fd < 0)
		return;
	loop_remove(&v->machine->loop, &v->connection);
	close(v->connection.fd);
	v->connection.fd = -1;
	v->given = v->has_memory = false;
}

void vhost_user_lose(struct vhost_user *v, uint64_t missing, int err)
{
	if (v->connection.fd < 0)
		return;
	v->lost(v, missing, err);
	vhost_user_disconnect(v);
}

int vhost_user_tell(struct vhost_user *v, enum vhost_request request, const void *payload,
	size_t size, const int *fds, unsigned int n_fds)
{
	int fd = v->connection.fd;

	return v->protocol & VHOST_PROTOCOL_REPLY_ACK
		       ? vhost_send_acknowledged(fd, request, payload, size, fds, n_fds)
		       : vhost_send(fd, request, payload, size, fds, n_fds);
}

static int ask_queues(struct vhost_user *v)
{
	uint64_t n;
	int err;

	if (!(v->protocol & VHOST_PROTOCOL_MQ))
		return v->n_rings > v->rings_a_queue ? -EOPNOTSUPP : 0;
	err = vhost_ask(v->connection.fd, VHOST_GET_QUEUE_NUM, NULL, &n, sizeof(n));
	return err < 0 ? err : n < (unsigned int)v->n_rings / v->rings_a_queue ? -EOPNOTSUPP : 0;
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
		v->protocol &= v->protocol_wanted;
		err = vhost_send(fd, VHOST_SET_PROTOCOL_FEATURES, &v->protocol, sizeof(v->protocol),
			NULL, 0);
		if (err < 0)
			return err;
	}
	err = vhost_send(fd, VHOST_SET_OWNER, NULL, 0, NULL, 0);
	return err < 0 ? err : ask_queues(v);
}

void vhost_user_give(struct vhost_user *v)
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
	vhost_user_lose(v, missing, err);
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
		vhost_user_lose(v, 0, 0);
	pthread_mutex_unlock(&v->machine->lock);
}

int vhost_user_adopt(struct vhost_user *v, int fd)
{
	int err;

	v->connection = (struct loop_source){ .fd = fd, .ready = on_connection, .arg = v };
	err = introduce(v);
	if (err == 0)
		err = loop_add(&v->machine->loop, &v->connection, EPOLLIN);
	if (err < 0)
		v->connection.fd = -1;
	return err;
}

int vhost_user_start(struct vhost_user *v)
{
	int err = vhost_rings_check(v);

	if (err < 0)
		return err;
	v->started = true;
	vhost_user_give(v);
	return 0;
}

void vhost_user_stop(struct vhost_user *v)
{
	int err;

	v->started = false;
	err = v->given ? vhost_rings_take(v) : 0;
	if (err < 0)
		vhost_user_lose(v, 0, err);
	v->given = false;
}

void vhost_user_enable(struct vhost_user *v, uint16_t ring, bool on)
{
	int err;

	if (v->enabled[ring] == on)
		return;
	v->enabled[ring] = on;
	err = v->given ? vhost_rings_enable(v, ring) : 0;
	if (err < 0)
		vhost_user_lose(v, 0, err);
}
