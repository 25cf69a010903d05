// SPDX-License-Identifier: BSD-3-Clause
// Preloaded into insulad and insula-switch: counts what may fail, and makes the n-th call of a
// group fail once. Told what to do, and tells what it did, in a file that inject.py maps too
// (INSULA_FAULT): a page for insulad and those it forks, one for the switch. Main thread only: it
// is the one that applies.
#undef _FILE_OFFSET_BITS // open and open64 are two symbols, and callers use either
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE_SIZE = 4096, N_FRAMES = 24 };
enum group { ALLOCATION, SYSTEM_CALL, N_GROUPS };

struct page { // inject.py knows the layout
	_Atomic uint32_t armed;
	uint32_t group;
	uint64_t nth; // 0 = count only
	_Atomic uint64_t counts[N_GROUPS];
	_Atomic uint32_t failed;
	uint32_t n_frames;
	char what[32];
	void *frames[N_FRAMES];
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct page *page;

static void *next_of(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	return f;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("INSULA_FAULT");
	bool daemon = strcmp(program_invocation_short_name, "insulad") == 0;
	void *frames[4], *at;
	int fd;

	if (!path || (!daemon && strcmp(program_invocation_short_name, "insula-switch") != 0))
		return;
	backtrace(frames, 4); // the first call loads a library
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	at = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, daemon ? 0 : PAGE_SIZE);
	close(fd);
	if (at != MAP_FAILED)
		page = at;
}

// Whether this call is the one.
static bool fails(enum group group, const char *what)
{
	struct page *p = page;

	if (!p || !atomic_load(&p->armed) || syscall(SYS_gettid) != getpid())
		return false;
	if (atomic_fetch_add(&p->counts[group], 1) + 1 != p->nth || p->group != group)
		return false;
	atomic_store(&p->armed, 0); // what tells of it allocates too
	snprintf(p->what, sizeof(p->what), "%s", what);
	p->n_frames = (uint32_t)backtrace(p->frames, N_FRAMES);
	atomic_store(&p->failed, 1);
	atomic_store(&p->armed, 1);
	return true;
}

#define FAIL_ALLOCATION(name) \
	do { \
		if (fails(ALLOCATION, name)) { \
			errno = ENOMEM; \
			return NULL; \
		} \
	} while (0)

void *malloc(size_t size)
{
	FAIL_ALLOCATION("malloc");
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	FAIL_ALLOCATION("calloc");
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	if (size)
		FAIL_ALLOCATION("realloc");
	return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	FAIL_ALLOCATION("aligned_alloc");
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *p;

	if (fails(ALLOCATION, "posix_memalign"))
		return ENOMEM;
	p = __libc_memalign(alignment, size);
	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

// The connections to the kernel and to the switch; an answer to `insula` that is lost is lost.
static bool is_ours(int fd)
{
	int domain = 0, type = 0, e = errno;
	socklen_t size = sizeof(int);
	bool ours;

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	size = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	ours = domain == AF_NETLINK || (domain == AF_UNIX && type == SOCK_SEQPACKET);
	errno = e;
	return ours;
}

#define CALL(type, name, params, args, if_so, error) \
	type name params \
	{ \
		static type(*real) params; \
		if (!real) \
			real = (type(*) params)next_of(#name); \
		if ((if_so) && fails(SYSTEM_CALL, #name)) { \
			errno = (error); \
			return -1; \
		} \
		return real args; \
	}

CALL(int, fsync, (int fd), (fd), true, EIO)
CALL(int, fdatasync, (int fd), (fd), true, EIO)
CALL(int, ftruncate, (int fd, off_t size), (fd, size), true, EIO)
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), true, EIO)
CALL(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), true, ENOSPC)
CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), true,
	ENOSPC)
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
	true, ENOSPC)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), true, EMFILE)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), is_ours(fd),
	ENOBUFS)
CALL(ssize_t, sendto,
	(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
		socklen_t len),
	(fd, data, size, flags, to, len), is_ours(fd), ENOBUFS)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), is_ours(fd), ENOBUFS)
CALL(int, bind, (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len), true, ENOMEM)
CALL(int, setns, (int fd, int type), (fd, type), true, ENOMEM)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), true, EMFILE)

// Those with a last argument that need not be there.
#define LAST(type) \
	va_list ap; \
	type last; \
	va_start(ap, last_named); \
	last = va_arg(ap, type); \
	va_end(ap)

int ioctl(int fd, unsigned long last_named, ...)
{
	static int (*real)(int, unsigned long, void *);
	LAST(void *);

	if (!real)
		real = (int (*)(int, unsigned long, void *))next_of("ioctl");
	if (fails(SYSTEM_CALL, "ioctl")) {
		errno = ENOMEM;
		return -1;
	}
	return real(fd, last_named, last);
}

// That cannot fail, and would be held from then on.
static bool is_unlock(int command, const void *arg)
{
	return command == F_SETLK && ((const struct flock *)arg)->l_type == F_UNLCK;
}

#define CONTROL(name) \
	int name(int fd, int last_named, ...) \
	{ \
		static int (*real)(int, int, void *); \
		LAST(void *); \
		if (!real) \
			real = (int (*)(int, int, void *))next_of(#name); \
		if (!is_unlock(last_named, last) && fails(SYSTEM_CALL, #name)) { \
			errno = EMFILE; \
			return -1; \
		} \
		return real(fd, last_named, last); \
	}

CONTROL(fcntl)
CONTROL(fcntl64)

#define OPEN(name) \
	int name(const char *path, int last_named, ...) \
	{ \
		static int (*real)(const char *, int, mode_t); \
		LAST(mode_t); \
		if (!real) \
			real = (int (*)(const char *, int, mode_t))next_of(#name); \
		if (fails(SYSTEM_CALL, #name)) { \
			errno = EMFILE; \
			return -1; \
		} \
		return real(path, last_named, last); \
	}

OPEN(open)
OPEN(open64)
