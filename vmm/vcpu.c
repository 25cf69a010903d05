// SPDX-License-Identifier: BSD-3-Clause
// See vcpu.h. Exits; vcpu_state.c has the registers.
#include "vmm/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vmm/vcpu_state.h"

int vcpu_init(struct vcpu *v, int kvm, int vm, unsigned int id, const struct kvm_cpuid2 *cpuid,
	struct error *e)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), err;

	if (size < 0)
		return error_set(e, errno, "KVM_GET_VCPU_MMAP_SIZE: %s", strerror(errno));
	v->fd = ioctl(vm, KVM_CREATE_VCPU, id);
	if (v->fd < 0)
		return error_set(
			e, errno, "processor %u: KVM_CREATE_VCPU: %s", id, strerror(errno));
	v->run_size = (size_t)size;
	v->run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		err = error_set(e, errno, "processor %u: mmap: %s", id, strerror(errno));
		goto fail_fd;
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, cpuid) < 0) {
		err = error_set(e, errno, "processor %u: KVM_SET_CPUID2: %s", id, strerror(errno));
		goto fail_run;
	}
	err = vcpu_state_read(v->fd, &v->reset, e);
	if (err == 0)
		return 0;
fail_run:
	munmap(v->run, v->run_size);
fail_fd:
	close(v->fd);
	return err;
}

void vcpu_free(struct vcpu *v)
{
	free(v->reset);
	munmap(v->run, v->run_size);
	close(v->fd);
}

int vcpu_reset(struct vcpu *v, struct error *e)
{
	return vcpu_state_write(v->fd, v->reset, e);
}

int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry, struct error *e)
{
	return vcpu_state_enter(v->fd, v->reset, entry, e);
}

static enum vcpu_exit system_event(const struct kvm_run *run, struct error *ret_error)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_RESET:
		return VCPU_RESET;
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return VCPU_SHUTDOWN;
	default:
		error_set(ret_error, EIO, "the guest has crashed (KVM system event %u)",
			run->system_event.type);
		return VCPU_BROKEN;
	}
}

enum vcpu_exit vcpu_run(struct vcpu *v, struct error *ret_error)
{
	struct kvm_run *run = v->run;

	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return VCPU_AGAIN;
		error_set(ret_error, errno, "KVM_RUN: %s", strerror(errno));
		return VCPU_BROKEN;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return VCPU_PORT;
	case KVM_EXIT_MMIO:
		return VCPU_MEMORY;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_HLT: // an in-kernel local APIC waits itself
		return VCPU_AGAIN;
	case KVM_EXIT_SHUTDOWN: // triple fault
		return VCPU_RESET;
	case KVM_EXIT_SYSTEM_EVENT:
		return system_event(run, ret_error);
	case KVM_EXIT_INTERNAL_ERROR:
		error_set(ret_error, EIO,
			"KVM cannot run the guest any further (internal error %u)",
			run->internal.suberror);
		return VCPU_BROKEN;
	case KVM_EXIT_FAIL_ENTRY:
		error_set(ret_error, EIO, "KVM cannot enter the guest (hardware reason %#llx)",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return VCPU_BROKEN;
	default:
		error_set(ret_error, EIO, "KVM left the guest for a reason that is not known: %u",
			run->exit_reason);
		return VCPU_BROKEN;
	}
}

// A string instruction may carry several values at once.
void vcpu_access_port(struct vcpu *v, struct bus *pio)
{
	const struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)v->run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			bus_write(pio, run->io.port, run->io.size, value);
		} else {
			value = bus_read(pio, run->io.port, run->io.size);
			memcpy(data, &value, run->io.size);
		}
	}
}

void vcpu_access_memory(struct vcpu *v, struct bus *mmio)
{
	struct kvm_run *run = v->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		bus_write(mmio, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		value = bus_read(mmio, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
}
