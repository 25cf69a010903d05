// SPDX-License-Identifier: BSD-3-Clause
// Starting DPDK's environment without hugepages, shared configuration or telemetry. Main thread.
#pragma once

// memory_mib: what EAL may take; run_dir: where its runtime folder may lie. 0 or -errno.
int eal_start(unsigned memory_mib, const char *run_dir);
