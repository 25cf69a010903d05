// SPDX-License-Identifier: BSD-3-Clause
// Shared by the port kinds made of file descriptors, see port_fd.h.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "vswitch/port_fd.h"

bool port_fd_rx_lengths(struct rte_mbuf *small, struct rte_mbuf *big, uint32_t size)
{
	uint16_t room = rte_pktmbuf_tailroom(small);

	small->pkt_len = size;
	small->data_len = (uint16_t)RTE_MIN(size, (uint32_t)room);
	if (size <= room)
		return false;
	big->data_len = (uint16_t)(size - room);
	small->next = big;
	small->nb_segs = 2;
	return true;
}

void port_fd_count_drop(struct worker *w, struct port *p, enum drop_reason reason)
{
	struct port_counters *c = p->counters[worker_index(w)];

	if (c != NULL)
		c->drops[reason]++;
}

void port_fd_set_dead(struct port *p)
{
	atomic_store_explicit(&p->up, 0, memory_order_relaxed);
	atomic_store_explicit(&p->dead, 1, memory_order_relaxed);
}

unsigned port_fd_dup(struct port *p, int ret_fds[PORT_MAX_QUEUES])
{
	unsigned n = 0;

	while (n < p->params.n_fds) {
		int fd = fcntl(p->params.fds[n], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			while (n > 0)
				close(ret_fds[--n]);
			return 0;
		}
		ret_fds[n++] = fd;
	}
	return n;
}

void port_fd_close(struct port *p)
{
	for (unsigned i = 0; i < p->params.n_fds; i++)
		close(p->params.fds[i]);
	p->params.n_fds = 0;
}

int port_fd_check(const struct port_params *params, char *err, size_t err_size)
{
	if (params->n_fds < 1 || params->n_fds > PORT_MAX_QUEUES ||
		params->n_fds != params->n_queues) {
		snprintf(err, err_size, "%s: %u fds for %u queues; one each, 1 to %d", params->name,
			params->n_fds, params->n_queues, PORT_MAX_QUEUES);
		return -EINVAL;
	}
	for (unsigned i = 0; i < params->n_fds; i++) {
		int flags = fcntl(params->fds[i], F_GETFL);

		if (flags < 0 || fcntl(params->fds[i], F_SETFL, flags | O_NONBLOCK) < 0) {
			int r = -errno;

			snprintf(err, err_size, "%s: fd %d: %s", params->name, params->fds[i],
				strerror(-r));
			return r;
		}
	}
	return 0;
}
