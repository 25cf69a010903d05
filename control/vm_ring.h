// SPDX-License-Identifier: BSD-3-Clause
// What a machine's console said last: 64 KiB in a file that outlives insulad, mapped. Main thread
// only.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { VM_RING_SIZE = 64 << 10 };

struct vm_ring;

// Of the file, or, when that cannot be had, of memory that ends with insulad. NULL: no memory.
struct vm_ring *vm_ring_open(const char *path);
void vm_ring_close(struct vm_ring *r); // NULL is fine
// Bytes ever said; those from there back to VM_RING_SIZE are kept.
uint64_t vm_ring_end(const struct vm_ring *r);
void vm_ring_put(struct vm_ring *r, const char *bytes, size_t n);
// Bytes from *at on, as many as lie in one piece, or none; what is gone is skipped in *at.
const char *vm_ring_from(const struct vm_ring *r, uint64_t *at, size_t *ret_n);
// Where its last `lines` lines begin, within the last `most` bytes.
uint64_t vm_ring_tail(const struct vm_ring *r, unsigned lines, size_t most);
