// SPDX-License-Identifier: BSD-3-Clause
// Tells this boot of the host from others, see boot.h. Called by lease.c.
#include "control/boot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int64_t boot_id(void)
{
	char text[64], digits[16 + 1];
	size_t n = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	ssize_t size = read(fd, text, sizeof(text));
	close(fd);
	// A UUID: of its 32 digits those that fit, of which four bits are the same in each.
	for (ssize_t i = 0; i < size && n < sizeof(digits) - 1; i++)
		if (text[i] != '-')
			digits[n++] = text[i];
	digits[n] = 0;
	return (int64_t)strtoull(digits, NULL, 16);
}
