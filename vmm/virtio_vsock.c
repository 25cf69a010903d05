// SPDX-License-Identifier: BSD-3-Clause
// See virtio_vsock.h. Ways of a packet: the guest's -> transmit -> vsock_take -> unix socket; unix
// socket -> vsock_event -> receive -> vsock_next -> the guest's buffer.
#include "vmm/virtio_vsock.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/confine.h"
#include "vmm/listen.h"

enum { HOST_CID = 2, STREAM = 0, BACKLOG = 16, FIRST_PORT = 1 << 30 };

static struct virtio_vsock *vsock_of(struct virtio_device *d)
{
	return (struct virtio_vsock *)d; // its first member
}

// A relative path: the folder is the current one, whatever is above it.
static int connect_port(struct virtio_vsock *v, uint32_t port)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s_%u", v->name, port); // one too long is refused
	return connect_to(path, SOCK_STREAM | SOCK_NONBLOCK);
}

static struct vsock_connection *find(struct virtio_vsock *v, uint32_t host, uint32_t guest)
{
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &v->connections[i];

		if (c->state > VSOCK_NAMING && c->host_port == host && c->guest_port == guest)
			return c;
	}
	return NULL;
}

// One that only waits for the guest to agree that it is closed gives way. NULL: all are in use.
static struct vsock_connection *find_free(struct virtio_vsock *v, bool by_host)
{
	struct vsock_connection *c = &v->connections[by_host ? VSOCK_EACH_WAY : 0], *closing = NULL;

	for (unsigned int i = 0; i < VSOCK_EACH_WAY; i++, c++) {
		if (c->state == VSOCK_FREE)
			return c;
		if (c->state == VSOCK_CLOSING && !c->owes)
			closing = c;
	}
	if (closing)
		vsock_drop(closing);
	return closing;
}

static void listen_again(struct virtio_vsock *v)
{
	if (!v->running || v->accepts || !find_free(v, true))
		return;
	v->accepts = loop_modify(&v->loop, &v->listener, EPOLLIN) == 0;
}

static void on_connect(void *arg, uint32_t events)
{
	struct virtio_vsock *v = arg;
	struct vsock_connection *c;
	int fd = -1;

	pthread_mutex_lock(&v->lock);
	c = v->running ? find_free(v, true) : NULL;
	if (c)
		fd = accept4(v->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		vsock_begin(c, VSOCK_NAMING, fd);
	} else if (v->running && (!c || (errno != EAGAIN && errno != EINTR))) {
		loop_modify(&v->loop, &v->listener, 0); // others wait in the backlog
		v->accepts = false;
	}
	pthread_mutex_unlock(&v->lock);
}

// As long as nobody else has it with that port of the guest's.
static void name_host_port(struct virtio_vsock *v, struct vsock_connection *c)
{
	do
		c->host_port = FIRST_PORT | (v->next_port++ & (FIRST_PORT - 1));
	while (find(v, c->host_port, c->guest_port) != c);
}

static void on_event(void *arg, uint32_t events)
{
	struct vsock_connection *c = arg;
	struct virtio_vsock *v =
		(struct virtio_vsock *)((uint8_t *)c->loop - offsetof(struct virtio_vsock, loop));
	bool waits;

	pthread_mutex_lock(&v->lock);
	if (c->source.fd >= 0) { // else a reset was faster
		const bool named = c->state != VSOCK_NAMING;

		vsock_event(c, events);
		if (!named && c->state == VSOCK_ASKING)
			name_host_port(v, c);
	}
	waits = vsock_waits(c);
	listen_again(v);
	pthread_mutex_unlock(&v->lock);
	if (waits)
		loop_queue_kick(&v->queues[VSOCK_RECEIVE]);
}

// A RST is never answered. There is room: transmit_ready.
static void refuse(struct virtio_vsock *v, const struct virtio_vsock_hdr *h)
{
	if (h->op == VIRTIO_VSOCK_OP_RST)
		return;
	v->refusals[(v->first_refusal + v->n_refusals++) % VSOCK_REFUSALS] =
		(struct virtio_vsock_hdr){ .src_cid = h->dst_cid,
			.dst_cid = h->src_cid,
			.src_port = h->dst_port,
			.dst_port = h->src_port,
			.type = h->type,
			.op = VIRTIO_VSOCK_OP_RST };
}

static void request(struct virtio_vsock *v, const struct virtio_vsock_hdr *h)
{
	struct vsock_connection *c = find_free(v, false);
	const int fd = c ? v->connect(v, h->dst_port) : -ENFILE;

	if (fd < 0 || vsock_begin(c, VSOCK_OPEN, fd) < 0) {
		refuse(v, h);
		return;
	}
	c->host_port = h->dst_port;
	c->guest_port = h->src_port;
	c->guest_size = h->buf_alloc;
	c->guest_forwarded = h->fwd_cnt;
	c->owes = VSOCK_OWES_RESPONSE;
}

// 5.10.6.6: a CID that is not its own is a lie that nobody answers; an unknown type, or a peer that
// is not there, is answered by RST.
static void take(struct virtio_vsock *v, const struct virtio_vsock_hdr *h, const uint8_t *data)
{
	struct vsock_connection *c;

	if (h->src_cid != v->cid)
		return;
	c = h->dst_cid == HOST_CID && h->type == VIRTIO_VSOCK_TYPE_STREAM
		    ? find(v, h->dst_port, h->src_port)
		    : NULL;
	if (c && h->op == VIRTIO_VSOCK_OP_REQUEST)
		vsock_reset(c);
	else if (c)
		vsock_take(c, h, data);
	else if (h->op == VIRTIO_VSOCK_OP_REQUEST && h->dst_cid == HOST_CID &&
		 h->type == VIRTIO_VSOCK_TYPE_STREAM)
		request(v, h);
	else
		refuse(v, h);
}

static bool receive_waits(struct virtio_vsock *v)
{
	bool waits = v->n_refusals > 0;

	for (unsigned int i = 0; !waits && i < VSOCK_CONNECTIONS; i++)
		waits = vsock_waits(&v->connections[i]);
	return waits;
}

// A packet that is cut off, or has more than anybody was promised room for, is broken.
static int64_t transmit(struct virtio_device *d, struct virtq_chain *chain)
{
	struct virtio_vsock *v = vsock_of(d);
	struct virtio_vsock_hdr h;
	bool waits;

	if (!virtq_chain_read(chain, &h, sizeof(h)) || h.len > chain->size_out ||
		h.len > VSOCK_BUFFER)
		return -1;
	pthread_mutex_lock(&v->lock);
	virtq_chain_read(chain, v->payload, h.len);
	take(v, &h, v->payload);
	waits = receive_waits(v);
	listen_again(v);
	pthread_mutex_unlock(&v->lock);
	if (waits)
		loop_queue_kick(&v->queues[VSOCK_RECEIVE]);
	return 0;
}

static bool transmit_ready(struct virtio_device *d)
{
	struct virtio_vsock *v = vsock_of(d);
	bool ready;

	pthread_mutex_lock(&v->lock);
	ready = v->n_refusals < VSOCK_REFUSALS;
	pthread_mutex_unlock(&v->lock);
	return ready;
}

static bool receive_ready(struct virtio_device *d)
{
	struct virtio_vsock *v = vsock_of(d);
	bool ready;

	pthread_mutex_lock(&v->lock);
	ready = receive_waits(v);
	pthread_mutex_unlock(&v->lock);
	return ready;
}

static bool next_refusal(struct virtio_vsock *v, struct virtio_vsock_hdr *h)
{
	if (v->n_refusals == 0)
		return false;
	*h = v->refusals[v->first_refusal];
	v->first_refusal = (v->first_refusal + 1) % VSOCK_REFUSALS;
	if (v->n_refusals-- == VSOCK_REFUSALS)
		loop_queue_kick(&v->queues[VSOCK_TRANSMIT]); // it was stopped
	return true;
}

// In turn.
static bool next_packet(struct virtio_vsock *v, struct virtio_vsock_hdr *h, size_t most)
{
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &v->connections[v->turn];

		v->turn = (v->turn + 1) % VSOCK_CONNECTIONS;
		if (!vsock_waits(c))
			continue;
		*h = (struct virtio_vsock_hdr){ .src_cid = HOST_CID,
			.dst_cid = v->cid,
			.src_port = c->host_port,
			.dst_port = c->guest_port,
			.type = VIRTIO_VSOCK_TYPE_STREAM,
			.buf_alloc = VSOCK_BUFFER };
		if (vsock_next(c, h, v->payload, most))
			return true;
	}
	return false;
}

static int64_t receive(struct virtio_device *d, struct virtq_chain *chain)
{
	struct virtio_vsock *v = vsock_of(d);
	int64_t written = LOOP_QUEUE_LATER;
	struct virtio_vsock_hdr h;

	if (chain->size_in <= sizeof(h)) // 5.10.6.1: room for data, too
		return -1;
	pthread_mutex_lock(&v->lock);
	if (next_refusal(v, &h) || next_packet(v, &h, chain->size_in - sizeof(h))) {
		virtq_chain_write(chain, &h, sizeof(h));
		virtq_chain_write(chain, v->payload, h.len);
		written = (int64_t)sizeof(h) + h.len;
	}
	listen_again(v);
	pthread_mutex_unlock(&v->lock);
	return written;
}

static void config_read(struct virtio_device *d, uint32_t offset, void *data, uint32_t size)
{
	const uint64_t cid = vsock_of(d)->cid;

	memcpy(data, (const uint8_t *)&cid + offset, size);
}

static void config_write(struct virtio_device *d, uint32_t offset, const void *data, uint32_t size)
{
}

static void stop(struct virtio_device *d)
{
	struct virtio_vsock *v = vsock_of(d);

	for (unsigned int i = 0; i < VSOCK_EVENT; i++)
		loop_queue_stop(&v->queues[i]);
	pthread_mutex_lock(&v->lock);
	if (v->running)
		loop_remove(&v->loop, &v->listener);
	v->running = false;
	v->n_refusals = 0;
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS; i++)
		vsock_drop(&v->connections[i]);
	pthread_mutex_unlock(&v->lock);
}

// Programs that connect before the guest's driver is there wait in the backlog.
static int start(struct virtio_device *d)
{
	struct virtio_vsock *v = vsock_of(d);
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < VSOCK_EVENT; i++)
		err = loop_queue_start(&v->queues[i]);
	if (err == 0) {
		pthread_mutex_lock(&v->lock);
		err = loop_add(&v->loop, &v->listener, EPOLLIN);
		v->running = v->accepts = err == 0;
		pthread_mutex_unlock(&v->lock);
	}
	if (err < 0)
		stop(d);
	return err;
}

static void hold(struct virtio_device *d, bool held)
{
	for (unsigned int i = 0; i < VSOCK_EVENT; i++)
		loop_queue_hold(&vsock_of(d)->queues[i], held);
}

static void *work(void *arg)
{
	struct virtio_vsock *v = arg;

	loop_run(&v->loop);
	return NULL;
}

static int begin(struct virtio_device *d, const struct confine *confine)
{
	struct virtio_vsock *v = vsock_of(d);
	int err = confine_start_thread(confine, CONFINE_SOCKET, work, v, &v->thread);

	v->has_thread = err == 0;
	return err;
}

static const struct virtio_ops OPS = { .name = "vsock",
	.type = VIRTIO_ID_VSOCK,
	.config_size = sizeof(struct virtio_vsock_config),
	.config_read = config_read,
	.config_write = config_write,
	.begin = begin,
	.start = start,
	.hold = hold,
	.stop = stop };

static void prepare(struct virtio_vsock *v, struct machine *m, const struct virtio_vsock_options *o)
{
	*v = (struct virtio_vsock){ .device = { .ops = &OPS,
					    .memory = &m->memory,
					    .offered = VIRTQ_FEATURES | 1ull << STREAM,
					    .n_queues = VSOCK_QUEUES },
		.cid = o->cid,
		.connect = connect_port,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.listener = { .fd = -1, .ready = on_connect, .arg = v } };
	for (unsigned int i = 0; i < VSOCK_EVENT; i++) {
		v->queues[i] = (struct loop_queue){ .loop = &v->loop,
			.device = &v->device,
			.index = i,
			.serve = i == VSOCK_TRANSMIT ? transmit : receive,
			.ready = i == VSOCK_TRANSMIT ? transmit_ready : receive_ready };
		loop_queue_init(&v->queues[i]);
	}
	v->device.queues[VSOCK_EVENT].size_max = LOOP_QUEUE_SIZE;
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS; i++)
		v->connections[i] = (struct vsock_connection){ .loop = &v->loop,
			.source = { .fd = -1, .ready = on_event, .arg = &v->connections[i] } };
}

// dirname changes what it is given, and `name` has to stay.
static int split(struct virtio_vsock *v, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *copy = strdup(path);

	v->path = strdup(path);
	v->folder = copy ? strdup(dirname(copy)) : NULL;
	free(copy);
	v->name = v->path && slash ? v->path + (slash + 1 - path) : v->path;
	return v->path && v->folder ? 0 : -ENOMEM;
}

int virtio_vsock_init(struct virtio_vsock *v, struct machine *m,
	const struct virtio_vsock_options *o, struct error *e)
{
	int err;

	prepare(v, m, o);
	err = loop_init(&v->loop);
	if (err < 0) {
		for (unsigned int i = 0; i < VSOCK_EVENT; i++)
			loop_queue_free(&v->queues[i]);
		return error_set(e, -err, "epoll: %s", strerror(-err));
	}
	err = split(v, o->path);
	if (err == 0)
		err = v->listener.fd = listen_at(o->path, SOCK_STREAM, BACKLOG, true);
	if (err >= 0)
		err = machine_add_device(m, &v->device);
	if (err == 0)
		return 0;
	virtio_vsock_free(v);
	return error_set(e, -err, "--vsock: %s: %s", o->path, strerror(-err));
}

void virtio_vsock_free(struct virtio_vsock *v)
{
	if (!v->connect)
		return; // it never was
	if (v->has_thread) {
		loop_stop(&v->loop);
		pthread_join(v->thread, NULL);
	}
	for (unsigned int i = 0; i < VSOCK_EVENT; i++)
		loop_queue_free(&v->queues[i]);
	if (v->listener.fd >= 0) {
		close(v->listener.fd);
		unlink(v->path); // not seen, once the process is confined
	}
	loop_free(&v->loop);
	free(v->path);
	free(v->folder);
	*v = (struct virtio_vsock){ 0 };
}
