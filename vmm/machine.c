// SPDX-License-Identifier: BSD-3-Clause
// See machine.h. The making of it; machine_run.c has its processors' threads.
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vmm/cpuid.h"
#include "vmm/machine_run.h"

// Three pages and one that no RAM is at: Intel's processors without unrestricted guest want them.
static const uint64_t IDENTITY_MAP = 0xfffbc000, TASK_STATE = 0xfffbd000;

static int open_kvm(struct machine *m, struct error *e)
{
	int version;

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return error_set(e, errno, "/dev/kvm: %s%s", strerror(errno),
			errno == ENOENT
				? "; the host's kernel has no KVM (modprobe kvm-amd or kvm-intel)"
			: errno == EACCES ? "; it is for root and group kvm"
					  : "");
	version = ioctl(m->kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		close(m->kvm);
		return error_set(e, ENOTSUP, "/dev/kvm: version %d of its interface, not %d",
			version, KVM_API_VERSION);
	}
	return 0;
}

static int set_memory(struct machine *m, struct error *e)
{
	for (unsigned int i = 0; i < m->memory.n_regions; i++) {
		const struct guest_region *r = &m->memory.regions[i];
		struct kvm_userspace_memory_region slot = { .slot = i,
			.guest_phys_addr = r->address,
			.memory_size = r->size,
			.userspace_addr = (uintptr_t)r->host };

		if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return error_set(
				e, errno, "KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
	}
	return 0;
}

static int make_vm(struct machine *m, struct error *e)
{
	uint64_t identity = IDENTITY_MAP;
	int err;

	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return error_set(e, errno, "KVM_CREATE_VM: %s", strerror(errno));
	if (ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
		ioctl(m->vm, KVM_SET_TSS_ADDR, TASK_STATE) < 0 ||
		ioctl(m->vm, KVM_CREATE_IRQCHIP, 0) < 0)
		err = error_set(e, errno, "KVM's interrupt controllers: %s", strerror(errno));
	else
		err = set_memory(m, e);
	if (err < 0)
		close(m->vm);
	return err;
}

static void power_off(void *arg)
{
	machine_end_by_guest(arg, MACHINE_POWERED_OFF);
}

static void panicked(void *arg)
{
	machine_end_by_guest(arg, MACHINE_PANICKED);
}

static void reset_control(void *arg, uint8_t value)
{
	if (value & ACPI_RESET_NOW)
		machine_end_by_guest(arg, MACHINE_RESET);
}

static void ignore(void *arg, uint8_t byte)
{
}

// What every machine has. Nothing here needs to be undone but irqs.
static int add_devices(struct machine *m)
{
	int err = pci_init(&m->pci, &m->mmio, &m->pio);

	if (err == 0)
		err = acpi_init(&m->acpi, &m->pio, &m->irqs, power_off, m);
	if (err == 0)
		err = serial_init(&m->serial, &m->pio, &m->irqs, ignore, m);
	m->acpi.eject = machine_eject;
	m->acpi.panicked = panicked;
	m->pci.reset_control = reset_control;
	m->pci.arg = m;
	return err;
}

static int make_cpus(struct machine *m, struct error *e)
{
	struct kvm_cpuid2 *cpuid;
	int err = cpuid_read(m->kvm, &cpuid, e);

	for (; err == 0 && m->n_cpus < m->config->cpus; m->n_cpus += err == 0) {
		struct machine_cpu *c = &m->cpus[m->n_cpus];

		c->machine = m;
		c->stats.fd = -1;
		cpuid_for(cpuid, m->n_cpus, m->config->cpus);
		err = vcpu_init(&c->vcpu, m->kvm, m->vm, m->n_cpus, cpuid, e);
		if (err == 0 && m->config->stats)
			vcpu_stats_open(&c->stats, c->vcpu.fd);
	}
	free(cpuid);
	return err;
}

static void free_cpus(struct machine *m)
{
	while (m->n_cpus > 0) {
		vcpu_stats_close(&m->cpus[--m->n_cpus].stats);
		vcpu_free(&m->cpus[m->n_cpus].vcpu);
	}
}

static int watch_event(struct machine *m)
{
	int err;

	m->event = (struct loop_source){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = machine_event, .arg = m
	};
	err = m->event.fd < 0 ? -errno : loop_add(&m->loop, &m->event, EPOLLIN);
	if (err == 0)
		return 0;
	if (m->event.fd >= 0)
		close(m->event.fd);
	return err;
}

int machine_init(struct machine *m, const struct machine_config *config, struct error *e)
{
	int err;

	*m = (struct machine){ .config = config,
		.loop = m->loop,
		.boot = config->boot,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER };
	if (!config->cpus || config->cpus > MACHINE_CPUS)
		return error_set(e, EINVAL, "%u processors: 1 to %u are allowed", config->cpus,
			MACHINE_CPUS);
	err = boot_open(&m->boot, e);
	if (err < 0)
		return err;
	err = open_kvm(m, e);
	if (err < 0)
		goto fail_boot;
	err = guest_memory_init(&m->memory, config->memory_size, config->hugepages, e);
	if (err < 0)
		goto fail_kvm;
	err = make_vm(m, e);
	if (err < 0)
		goto fail_memory;
	err = watch_event(m);
	if (err < 0) {
		error_set(e, -err, "epoll: %s", strerror(-err));
		goto fail_vm;
	}
	err = irqs_init(&m->irqs, m->vm);
	if (err == 0)
		err = add_devices(m);
	if (err < 0) {
		error_set(e, -err, "interrupts and devices: %s", strerror(-err));
		goto fail_irqs;
	}
	err = make_cpus(m, e);
	if (err == 0)
		return 0;
	free_cpus(m);
fail_irqs:
	irqs_free(&m->irqs);
	close(m->event.fd);
fail_vm:
	close(m->vm);
fail_memory:
	guest_memory_free(&m->memory);
fail_kvm:
	close(m->kvm);
fail_boot:
	boot_close(&m->boot);
	return err;
}

void machine_notice(struct machine *m, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!m->notice)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	m->notice(m->arg, text);
}

void machine_free(struct machine *m)
{
	machine_end_threads(m);
	machine_remove_devices(m);
	free_cpus(m);
	irqs_free(&m->irqs);
	close(m->event.fd);
	close(m->vm);
	guest_memory_free(&m->memory);
	close(m->kvm);
	boot_close(&m->boot);
}

static int begin_all(
	struct machine *m, struct virtio_pci *const *list, unsigned int n, struct error *e)
{
	int err = 0;

	for (unsigned int i = 0; err == 0 && i < n; i++) {
		struct virtio_device *d = list[i]->device;

		err = d->ops->begin ? d->ops->begin(d, m->config->confine) : 0;
		if (err < 0)
			error_set(
				e, -err, "threads of device %s: %s", d->ops->name, strerror(-err));
	}
	return err;
}

int machine_start(struct machine *m, struct error *e)
{
	int err = machine_start_threads(m, e);

	if (err == 0)
		err = begin_all(m, m->devices, m->n_devices, e);
	return err < 0 ? err : begin_all(m, m->spares, m->n_spares, e);
}

// Linux takes a hardware-reduced machine for one with EFI, and without EFI's services jumps in real
// mode to where a PC's BIOS has its reset vector: f000:fff0.
static void write_reset_vector(struct machine *m)
{
	static const uint8_t code[] = { 0xb0, ACPI_RESET_VALUE, // mov al, 6
		0xba, ACPI_RESET_PORT & 0xff, ACPI_RESET_PORT >> 8, // mov dx, 0xcf9
		0xee, // out dx, al
		0xf4, 0xeb, 0xfd }; // hlt, for ever
	void *at = guest_memory_at(&m->memory, ACPI_TABLES_END, sizeof(code));

	if (at)
		memcpy(at, code, sizeof(code));
}

int machine_boot(struct machine *m, struct error *e)
{
	struct boot_entry entry;
	uint64_t rsdp;
	int err;

	pthread_mutex_lock(&m->lock);
	pci_reset(&m->pci);
	serial_reset(&m->serial);
	acpi_reset(&m->acpi);
	m->end_pending = false;
	err = irqs_reset(&m->irqs);
	pthread_mutex_unlock(&m->lock);
	if (err < 0)
		return error_set(e, -err, "KVM_SET_IRQCHIP: %s", strerror(-err));
	write_reset_vector(m);
	err = acpi_write_tables(&m->memory, m->config->cpus, &rsdp, e);
	if (err == 0)
		err = boot_load(&m->memory, &m->boot, rsdp, &entry, e);
	for (unsigned int i = 0; err == 0 && i < m->n_cpus; i++)
		err = vcpu_reset(&m->cpus[i].vcpu, e);
	return err < 0 ? err : vcpu_set_entry(&m->cpus[0].vcpu, &entry, e);
}
