// SPDX-License-Identifier: BSD-3-Clause
// See guest_agent.h: the guest's disks, known by what is written on them. Called by guest_agent.c.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/e2e/guest_agent.h"

enum { SECTOR = 512, SHOWN = 2 }; // sectors

static bool is_disk(const struct dirent *e)
{
	return strncmp(e->d_name, "vd", 2) == 0;
}

static int open_disk(const char *name, int flags)
{
	char path[280];

	snprintf(path, sizeof(path), "/dev/%s", name);
	return open(path, flags | O_CLOEXEC);
}

// The word that a sector begins with.
static void word_at(int fd, off_t at, char ret_word[GUEST_WORD])
{
	ssize_t n = pread(fd, ret_word, GUEST_WORD - 1, at);

	ret_word[n > 0 ? n : 0] = 0;
	if (!ret_word[0])
		strcpy(ret_word, n < 0 ? "?" : "-");
}

void guest_disks(const char *number, char *const *words)
{
	DIR *dir = opendir("/sys/block");
	char line[512], word[GUEST_WORD];
	size_t n = (size_t)sprintf(line, "@%s", number);

	for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
		int fd = is_disk(e) ? open_disk(e->d_name, O_RDONLY) : -1;

		if (fd < 0 || n + 2 * GUEST_WORD > sizeof(line))
			continue;
		n += (size_t)sprintf(
			line + n, " %.8s:%lld", e->d_name, (long long)lseek(fd, 0, SEEK_END));
		for (off_t i = 0; i < SHOWN && n + GUEST_WORD + 2 < sizeof(line); i++) {
			word_at(fd, i * SECTOR, word);
			n += (size_t)sprintf(line + n, ":%s", word);
		}
		close(fd);
	}
	if (dir)
		closedir(dir);
	guest_say("%s", line);
}

void guest_write(const char *number, char *const *words)
{
	int fd = open_disk(words[0], O_WRONLY);
	bool good = pwrite(fd, words[1], strlen(words[1]), SECTOR) == (ssize_t)strlen(words[1]) &&
		    fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	guest_say("@%s %s", number, good ? "written" : "failed");
}
