// SPDX-License-Identifier: BSD-3-Clause
// What the files of the session and NAT tables have in common: one page of header, then an array of
// records. Position independent; says which layout and which boot it belongs to. The caller maps
// the file; nothing here makes system calls.
//
// A process may be killed between any two instructions. Stores of one thread reach the pages in
// program order as far as release and acquire ask for it, and a page outlives the process: so what
// is released before a record's commit word is there whenever the commit word is.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_HEADER_SIZE = 4096 };

struct record_header {
	uint64_t magic; // written last when formatting; 0 = not formatted
	uint32_t layout;
	uint32_t record_size;
	uint32_t capacity;
	uint32_t high_water; // every record ever used lies below; workers raise it under a lock
	uint64_t boot_id; // seconds in records are of this boot's clock
	uint64_t next_commit; // atomic; numbers are never given twice
};

struct record_kind {
	uint64_t magic;
	uint32_t layout;
	uint32_t record_size;
};

size_t record_file_size(const struct record_kind *kind, uint32_t capacity);
// Formats fresh memory (no magic) or verifies the header. A capacity other than the file's is taken
// over if every used record still fits. 0; -EINVAL another layout, boot or a damaged header; -E2BIG
// records lie at or above the capacity (their memory is there): *ret_header is set, the file as it
// was.
int record_file_attach(const struct record_kind *kind, void *mem, size_t size, uint32_t capacity,
	uint64_t boot_id, struct record_header **ret_header);

static inline uint64_t record_commit_next(struct record_header *h)
{
	return __atomic_fetch_add(&h->next_commit, 1, __ATOMIC_RELAXED);
}

// Copies into a record that is not committed. Every word is a release store: a reader that sees one
// of them also sees the commit word zero that went before, and discards what it read.
static inline void record_store(void *dst, const void *src, size_t size)
{
	uint32_t *d = dst;
	const uint32_t *s = src;

	for (size_t i = 0; i < size / sizeof(*d); i++)
		__atomic_store_n(&d[i], s[i], __ATOMIC_RELEASE);
}

// Copies out of a record. Every word is an acquire load: the commit word that is checked afterwards
// cannot be read before them.
static inline void record_load(void *dst, const void *src, size_t size)
{
	uint32_t *d = dst;
	const uint32_t *s = src;

	for (size_t i = 0; i < size / sizeof(*d); i++)
		d[i] = __atomic_load_n(&s[i], __ATOMIC_ACQUIRE);
}
