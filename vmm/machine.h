// SPDX-License-Identifier: BSD-3-Clause
// One virtual machine: processors, memory, buses and the devices every one has. main (and the API)
// make and command it on the device thread; each vCPU has a thread. `lock` guards everything below
// it that is not said to be constant: an exit's work is done under it, the guest runs without it.
#pragma once
#include <pthread.h>
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/bus.h"
#include "vmm/irq.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/pci.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"
#include "vmm/vcpu_stats.h"
#include "vmm/virtio_pci.h"

enum { MACHINE_CPUS = 32, MACHINE_SPARES = 64 };

struct machine_config {
	struct boot_source boot;
	unsigned int cpus;
	uint64_t memory_size; // bytes
	bool hugepages;
	bool stats; // of KVM's, an fd more for each processor
	const struct confine *confine; // what threads begin with; NULL, in tests: nothing
};

// What the guest, or KVM, has come to; told once by `ended`.
enum machine_end {
	MACHINE_POWERED_OFF,
	MACHINE_RESET,
	MACHINE_FAULTED, // a triple fault, which is a reset too
	MACHINE_PANICKED,
	MACHINE_BROKEN
};

struct machine;

struct machine_cpu {
	struct machine *machine; // constant
	struct vcpu vcpu; // its thread's, or, while it is halted, the device thread's
	pthread_t thread; // constant
	bool halted; // its thread waits
	uint64_t exits[VCPU_EXITS]; // by why
	struct vcpu_stats stats; // constant
};

struct machine {
	const struct machine_config *config; // constant, as are the next five
	struct boot_source boot; // the configuration's, its files open
	int kvm, vm;
	struct guest_memory memory;
	struct loop loop;
	// On the device thread, all processors halted. error: of MACHINE_BROKEN.
	void (*ended)(void *arg, enum machine_end end, const struct error *error);
	// On the device thread: the guest has let go of a removable device, which is a spare now.
	void (*ejected)(void *arg);
	// A sentence for the log, from any thread; at most a few in a machine's life.
	void (*notice)(void *arg, const char *text);
	void *arg; // of all three

	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum { MACHINE_HALTED, MACHINE_RUNNING, MACHINE_LEAVING } want;
	enum machine_end end;
	bool end_pending; // `ended` is to be called: until then nothing runs
	bool eject_pending; // `ejected` is to be called
	struct error error;
	struct bus pio, mmio;
	struct irqs irqs;
	struct pci pci;
	struct acpi acpi;
	struct serial serial;
	struct loop_source event; // eventfd: a processor has set `end`
	unsigned int n_devices;
	struct virtio_pci *devices[PCI_SLOTS];
	unsigned int n_spares; // made, but not plugged in
	struct virtio_pci *spares[MACHINE_SPARES];
	struct kvm_clock_data clock; // at the pause
	bool clock_known;
	unsigned int n_cpus, n_threads;
	struct machine_cpu cpus[MACHINE_CPUS];
};

// Makes it, halted, with memory but nothing loaded, and no thread. The config must live as long.
// The loop is there before, and stays.
int machine_init(struct machine *m, const struct machine_config *config, struct error *e);
// Ends the processors' threads first.
void machine_free(struct machine *m);
// Plugs the device in; it must live until machine_remove_devices. Before machine_run, or with the
// lock held.
int machine_add_device(struct machine *m, struct virtio_device *d);
// Makes it, but does not plug it in: it may be while the machine runs, when nothing can be made any
// more. Before machine_start, else as machine_add_device.
int machine_add_spare(struct machine *m, struct virtio_device *d);
// On the device thread, the lock held: the guest finds a spare, which is as `offered`, `ops` and
// configuration say now. -ENOSPC: the bus is full.
int machine_plug_spare(struct machine *m, struct virtio_device *d);
// The guest is asked to let go of it; `ejected` tells when it has.
void machine_ask_eject(struct machine *m, struct virtio_device *d);
// Without asking, halted or with the lock held: it is a spare.
void machine_pull_out(struct machine *m, struct virtio_device *d);
// A device, plugged in or spare, is no more; halted, or with the lock held.
void machine_remove_device(struct machine *m, struct virtio_device *d);
// Stops them all and pulls them out; halted only. machine_free does it, if it was not done.
void machine_remove_devices(struct machine *m);
void machine_notice(struct machine *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
// Loads the kernel and puts processors and devices into the state of power-on. Halted only.
int machine_boot(struct machine *m, struct error *e);
// The threads of processors and devices, once, before the first run.
int machine_start(struct machine *m, struct error *e);
// From any thread that is no vCPU's. halt returns when no processor runs. run does nothing if the
// guest has come to an end that is not told yet.
void machine_run(struct machine *m);
void machine_halt(struct machine *m);
// On the device thread: the processors halt, and the queues that this process serves take nothing
// new from the guest; what they have taken ends. resume: the guest's clock goes on from where it
// was.
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);
