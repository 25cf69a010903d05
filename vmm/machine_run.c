// SPDX-License-Identifier: BSD-3-Clause
// See machine_run.h.
#include "vmm/machine_run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vmm/confine.h"

enum { KICK = SIGUSR1 };

// Lock held. A processor that is about to enter the guest sees immediate_exit, one that is inside
// the signal.
static void kick_all(struct machine *m)
{
	for (unsigned int i = 0; i < m->n_threads; i++)
		if (!m->cpus[i].halted) {
			m->cpus[i].vcpu.run->immediate_exit = 1;
			pthread_kill(m->cpus[i].thread, KICK);
		}
}

void machine_end_by_guest(struct machine *m, enum machine_end end)
{
	const uint64_t one = 1;

	if (m->want == MACHINE_LEAVING || m->end_pending)
		return; // the first counts
	m->end = end;
	m->end_pending = true;
	if (m->want == MACHINE_RUNNING) { // else it is being halted, and this came on the way
		m->want = MACHINE_HALTED;
		kick_all(m);
	}
	if (write(m->event.fd, &one, sizeof(one)) < 0)
		return; // full: it is signalled already
}

static void wait_all_halted(struct machine *m)
{
	for (unsigned int i = 0; i < m->n_threads; i++)
		while (!m->cpus[i].halted)
			pthread_cond_wait(&m->changed, &m->lock);
}

void machine_event(void *arg, uint32_t events)
{
	struct machine *m = arg;
	uint64_t count;
	enum machine_end end;
	bool pending, ejected;

	if (read(m->event.fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&m->lock);
	pending = m->end_pending; // no more if it was booted anew meanwhile
	if (pending)
		wait_all_halted(m);
	end = m->end;
	m->end_pending = false;
	ejected = m->eject_pending;
	m->eject_pending = false;
	pthread_mutex_unlock(&m->lock);
	if (ejected && m->ejected)
		m->ejected(m->arg);
	if (pending)
		m->ended(m->arg, end, &m->error);
}

static void handle(struct machine_cpu *c, enum vcpu_exit why, const struct error *error)
{
	struct machine *m = c->machine;
	struct vcpu *v = &c->vcpu;

	c->exits[why]++;
	switch (why) {
	case VCPU_AGAIN:
		break;
	case VCPU_PORT:
		vcpu_access_port(v, &m->pio);
		break;
	case VCPU_MEMORY:
		vcpu_access_memory(v, &m->mmio);
		break;
	case VCPU_RESET:
		machine_end_by_guest(m, MACHINE_FAULTED);
		break;
	case VCPU_SHUTDOWN:
		machine_end_by_guest(m, MACHINE_POWERED_OFF);
		break;
	case VCPU_BROKEN:
		if (!m->end_pending)
			m->error = *error;
		machine_end_by_guest(m, MACHINE_BROKEN);
		break;
	}
}

// What the last exit began is completed first: KVM would do it to whatever registers are there when
// it next runs. An access that crosses a page has a second half, and KVM looks at immediate_exit
// only at each 1024th round of a string instruction.
static void complete(struct machine_cpu *c)
{
	struct vcpu *v = &c->vcpu;
	enum vcpu_exit why = VCPU_PORT;
	struct error error;

	for (int i = 0; i < 2 * 1024 && (why == VCPU_PORT || why == VCPU_MEMORY); i++) {
		v->run->immediate_exit = 1;
		why = vcpu_run(v, &error);
		handle(c, why, &error);
	}
}

// Lock held.
static void halt(struct machine_cpu *c)
{
	struct machine *m = c->machine;

	complete(c);
	c->halted = true;
	pthread_cond_broadcast(&m->changed);
	while (m->want == MACHINE_HALTED)
		pthread_cond_wait(&m->changed, &m->lock);
	c->halted = false;
}

static void *cpu_thread(void *arg)
{
	struct machine_cpu *c = arg;
	struct machine *m = c->machine;
	struct error error;
	enum vcpu_exit why;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		if (m->want == MACHINE_HALTED)
			halt(c);
		if (m->want == MACHINE_LEAVING)
			break;
		c->vcpu.run->immediate_exit = 0;
		pthread_mutex_unlock(&m->lock);
		why = vcpu_run(&c->vcpu, &error);
		pthread_mutex_lock(&m->lock);
		handle(c, why, &error);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void kicked(int number)
{
}

int machine_start_threads(struct machine *m, struct error *e)
{
	const struct sigaction action = { .sa_handler = kicked };
	sigset_t all, before;
	int err = 0;

	sigaction(KICK, &action, NULL);
	sigfillset(&all); // what ends the process is for the device thread
	sigdelset(&all, KICK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; err == 0 && m->n_threads < m->n_cpus; m->n_threads += err == 0)
		err = confine_start_thread(m->config->confine, CONFINE_CPU, cpu_thread,
			&m->cpus[m->n_threads], &m->cpus[m->n_threads].thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err < 0)
		return error_set(e, -err, "a thread for a processor: %s", strerror(-err));
	return 0;
}

void machine_end_threads(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->want = MACHINE_LEAVING;
	kick_all(m);
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	for (; m->n_threads > 0; m->n_threads--)
		pthread_join(m->cpus[m->n_threads - 1].thread, NULL);
}

void machine_run(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	if (!m->end_pending) {
		m->want = MACHINE_RUNNING;
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
}

void machine_halt(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	if (m->want == MACHINE_RUNNING) {
		m->want = MACHINE_HALTED;
		kick_all(m);
	}
	wait_all_halted(m);
	pthread_mutex_unlock(&m->lock);
}

static void hold_devices(struct machine *m, bool held)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->n_devices; i++) {
		struct virtio_device *d = m->devices[i]->device;

		if (d->started && d->ops->hold)
			d->ops->hold(d, held);
	}
	pthread_mutex_unlock(&m->lock);
}

void machine_pause(struct machine *m)
{
	machine_halt(m);
	hold_devices(m, true);
	m->clock_known = ioctl(m->vm, KVM_GET_CLOCK, &m->clock) == 0;
}

// kvm-clock goes on from where it stood, and its watchdogs are told that they were not looking
// (Documentation/virt/kvm/api.rst, KVM_KVMCLOCK_CTRL). Its flags would add the time between.
void machine_resume(struct machine *m)
{
	struct kvm_clock_data clock = { .clock = m->clock.clock };

	if (m->clock_known)
		ioctl(m->vm, KVM_SET_CLOCK, &clock);
	for (unsigned int i = 0; i < m->n_cpus; i++)
		ioctl(m->cpus[i].vcpu.fd, KVM_KVMCLOCK_CTRL); // -EINVAL: it uses another clock
	hold_devices(m, false);
	machine_run(m);
}
