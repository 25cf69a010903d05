// SPDX-License-Identifier: BSD-3-Clause
// Starting DPDK's environment without shared configuration or telemetry. Main thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// memory_mib: what EAL may take, from hugepages of 2 MiB or not; run_dir: where its runtime folder
// may lie. 0 or -errno. Before privileges are given up: what memory may be locked for devices is
// settled here.
int eal_start(unsigned memory_mib, bool hugepages, const char *run_dir);
// May all packet memory be locked, which devices reach by DMA? In bytes: what is and what must be.
bool eal_may_lock(size_t *ret_allowed, size_t *ret_needed);
