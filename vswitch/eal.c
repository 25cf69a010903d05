// SPDX-License-Identifier: BSD-3-Clause
// DPDK's environment as the switch wants it: ordinary memory, no files shared with other processes,
// no PCI bus, the main thread on whatever cores it has.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include "vswitch/eal.h"

int eal_start(unsigned memory_mib, const char *run_dir)
{
	char memory[16], lcores[64];
	char *argv[] = { (char[]){ "insula-switch" }, (char[]){ "--no-huge" },
		(char[]){ "--no-shconf" }, (char[]){ "--no-telemetry" }, (char[]){ "--no-pci" },
		(char[]){ "-m" }, memory, (char[]){ "--lcores" }, lcores,
		(char[]){ "--log-level=lib.*:error" },
		(char[]){ "--log-level=lib.vhost.*:critical" }, NULL };
	int argc = (int)(sizeof(argv) / sizeof(argv[0])) - 1;
	long n_cores = sysconf(_SC_NPROCESSORS_ONLN);

	snprintf(memory, sizeof(memory), "%u", memory_mib);
	// "0@(0-N)": one lcore floating over all processors
	snprintf(lcores, sizeof(lcores), n_cores > 1 ? "0@(0-%ld)" : "0@0", n_cores - 1);
	if (setenv("RUNTIME_DIRECTORY", run_dir, 1) < 0)
		return -errno;
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}
