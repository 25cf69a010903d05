// SPDX-License-Identifier: BSD-3-Clause
// DPDK's environment as the switch wants it: ordinary memory or hugepages that nobody else can
// open (they go with the process, however it ends), no files shared with other processes, no PCI
// device but those a port names later, the main thread on whatever cores it has.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include "vswitch/eal.h"

// An allow list of a device that cannot be (a bus has 32). PCI devices are probed one by one, when
// a port names them; with an empty list DPDK would take all of them.
#define NO_PCI_DEVICE "0000:ff:ff.7"
#define PCI_DEVICES "/sys/bus/pci/devices"

enum { LOCK_MARGIN_MIB = 16 };

// Since eal_start; immutable then.
static size_t may_lock, must_lock;

// Raises RLIMIT_MEMLOCK as far as may be: no more than packet memory is ever locked.
static void raise_lock_limit(unsigned memory_mib)
{
	struct rlimit now, raised;

	must_lock = (size_t)memory_mib << 20;
	may_lock = 0;
	if (getrlimit(RLIMIT_MEMLOCK, &now) < 0)
		return;
	raised = (struct rlimit){ .rlim_cur = must_lock + ((size_t)LOCK_MARGIN_MIB << 20) };
	raised.rlim_max = now.rlim_max > raised.rlim_cur ? now.rlim_max : raised.rlim_cur;
	if (now.rlim_cur < raised.rlim_cur && setrlimit(RLIMIT_MEMLOCK, &raised) == 0)
		now = raised;
	may_lock = now.rlim_cur;
}

bool eal_may_lock(size_t *ret_allowed, size_t *ret_needed)
{
	*ret_allowed = may_lock;
	*ret_needed = must_lock;
	return may_lock >= must_lock;
}

int eal_start(unsigned memory_mib, bool hugepages, const char *run_dir)
{
	char no_pci[] = "--no-pci", pci[] = "--allow=" NO_PCI_DEVICE;
	char memory[16], lcores[64], pages[16];
	char *argv[] = { (char[]){ "insula-switch" }, pages, (char[]){ "--no-shconf" },
		(char[]){ "--no-telemetry" }, access(PCI_DEVICES, R_OK) == 0 ? pci : no_pci,
		(char[]){ "--iova-mode=va" }, (char[]){ "-m" }, memory, (char[]){ "--lcores" },
		lcores, (char[]){ "--log-level=lib.*:error" },
		(char[]){ "--log-level=lib.vhost.*:critical" }, NULL };
	int argc = (int)(sizeof(argv) / sizeof(argv[0])) - 1;
	long n_cores = sysconf(_SC_NPROCESSORS_ONLN);

#ifdef __x86_64__
	// DPDK's virtio driver takes the right to all I/O ports in a constructor, for every thread
	// to come; it would outlive the privileges. VFIO needs none.
	iopl(0);
#endif
	raise_lock_limit(memory_mib);
	snprintf(pages, sizeof(pages), "%s", hugepages ? "--in-memory" : "--no-huge");
	snprintf(memory, sizeof(memory), "%u", memory_mib);
	// "0@(0-N)": one lcore floating over all processors
	snprintf(lcores, sizeof(lcores), n_cores > 1 ? "0@(0-%ld)" : "0@0", n_cores - 1);
	if (setenv("RUNTIME_DIRECTORY", run_dir, 1) < 0)
		return -errno;
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}
