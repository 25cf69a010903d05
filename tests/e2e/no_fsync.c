// SPDX-License-Identifier: BSD-3-Clause
// Preloaded: what is said to be on the disk is not. For power_loss.py.
#include <unistd.h>

int fsync(int fd)
{
	return 0;
}

int fdatasync(int fd)
{
	return 0;
}
