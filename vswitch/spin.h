// SPDX-License-Identifier: BSD-3-Clause
// A spin lock for the few dozen instructions that publish or retire a record. It lies in private
// memory only: a lock in a file would stay taken for ever when its holder is killed. No system call
// is made, so it works under any seccomp filter.
#pragma once

#include <stdint.h>

struct spin {
	uint32_t taken;
};

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline void spin_lock(struct spin *s)
{
	// Acquire: nothing of the critical section is done before the lock is ours.
	while (__atomic_exchange_n(&s->taken, 1, __ATOMIC_ACQUIRE) != 0) {
		while (__atomic_load_n(&s->taken, __ATOMIC_RELAXED) != 0)
			spin_pause();
	}
}

static inline void spin_unlock(struct spin *s)
{
	// Release: everything of the critical section is seen by the next holder.
	__atomic_store_n(&s->taken, 0, __ATOMIC_RELEASE);
}
