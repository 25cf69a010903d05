// SPDX-License-Identifier: BSD-3-Clause
// The test guest: starts, runs the commands of its command line, ends. See ../README.md.
#include "base.h"
#include "cpu.h"
#include "pci.h"
#include "run.h"

enum { HVM_START_MAGIC = 0x336ec578 };

// Xen's arch-x86/hvm/start_info.h; what follows is not needed here.
struct hvm_start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline;
};

_Noreturn void guest_main(const struct hvm_start_info *start);

_Noreturn void guest_main(const struct hvm_start_info *start)
{
	bool known = start->magic == HVM_START_MAGIC;

	if (known && start->cmdline)
		cmdline_init((const char *)(uintptr_t)start->cmdline);
	cpu_init();
	pci_init();
	say("guest: ready%s", known ? "" : ", but not by PVH");
	cpu_end(run_commands(cmdline_get("run")));
}
