// SPDX-License-Identifier: BSD-3-Clause
// Files that hold kernels and initrds, for boot*.c. They are read, not mapped: somebody may cut
// them short meanwhile, and that must be an error and not a SIGBUS.
#include "vmm/boot_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_file_open(struct boot_file *f, const char *path, int held, struct error *e)
{
	// O_NONBLOCK: opening a FIFO would wait for who writes to it
	const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = held < 0 ? open(path, flags) : held, err;
	struct stat st;

	if (fd < 0)
		return error_set(e, errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		err = error_set(e, errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err = error_set(e, EINVAL, "%s: not a regular file", path);
	else if (st.st_size == 0)
		err = error_set(e, EINVAL, "%s: the file is empty", path);
	else
		err = 0;
	if (err == 0)
		*f = (struct boot_file){
			.path = path, .fd = fd, .held = held >= 0, .size = (uint64_t)st.st_size
		};
	else if (held < 0)
		close(fd);
	return err;
}

void boot_file_close(struct boot_file *f)
{
	if (!f->held)
		close(f->fd);
}

int boot_file_read(
	const struct boot_file *f, uint64_t offset, void *dst, uint64_t size, struct error *e)
{
	uint8_t *to = dst;

	if (offset > f->size || size > f->size - offset)
		return error_set(e, EINVAL, "%s: truncated: %llu bytes are not all of it", f->path,
			(unsigned long long)f->size);
	while (size > 0) {
		ssize_t n = pread(f->fd, to, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(e, errno, "%s: %s", f->path, strerror(errno));
		if (n == 0)
			return error_set(
				e, EINVAL, "%s: truncated while it was being read", f->path);
		to += n;
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}
