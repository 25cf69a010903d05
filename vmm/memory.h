// SPDX-License-Identifier: BSD-3-Clause
// The guest's RAM: at most two regions, below and above the hole under 4 GiB where devices are,
// each a memfd of its own, sealed against shrinking, so that whoever maps it (the switch, a disk
// server) cannot be hit by SIGBUS. Made once by main before any thread; read by all afterwards.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/error.h"

#define GUEST_HOLE_BEGIN 0xc0000000ull
#define GUEST_HOLE_END 0x100000000ull

enum { GUEST_MEMORY_REGIONS = 2 };

struct guest_region {
	uint64_t address; // where the guest sees it
	uint64_t size;
	uint8_t *host;
	int fd;
};

struct guest_memory {
	uint64_t size;
	unsigned int n_regions;
	struct guest_region regions[GUEST_MEMORY_REGIONS];
};

// size: bytes, a multiple of 2 MiB (mapped pages of that size with `hugepages`, which the host must
// have free). Errors: -EINVAL, -ENOMEM, what memfd_create, ftruncate and mmap answer.
int guest_memory_init(struct guest_memory *m, uint64_t size, bool hugepages, struct error *e);
void guest_memory_free(struct guest_memory *m);

// Where [address, address + size) is mapped here; NULL unless all of it is RAM of one region. What
// is read there may change at any moment: copy once, check the copy.
void *guest_memory_at(const struct guest_memory *m, uint64_t address, uint64_t size);

// Makes pages of 2 MiB of [address, address + size), rounded to such pages; nothing, unless all of
// it is RAM of one region. What is there stays. For memory of which nearly all is used at once: a
// page takes the guest one fault instead of 512. Only an offer: the host's kernel may be too old,
// or have none left.
void guest_memory_collapse(const struct guest_memory *m, uint64_t address, uint64_t size);
