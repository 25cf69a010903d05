// SPDX-License-Identifier: BSD-3-Clause
// See vm_seed.h. ISO 9660 is ECMA-119; numbers in brackets are its sections. One directory, files
// of one extent each, no dates. Called by vm.c and vm_spec.c.
#include "control/vm_seed.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SECTOR = 2048,
	// sectors
	AT_PRIMARY = 16,
	AT_END,
	AT_PATHS_LITTLE,
	AT_PATHS_BIG,
	AT_ROOT,
	AT_FILES,
	// bytes
	RECORD_HEAD = 33,
	ROOT_RECORD = 34,
	IS_DIRECTORY = 2, // [9.1.6]
	SHOWN_DIGITS = 16,
};

static void put_little(uint8_t *to, uint32_t n, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)(n >> 8 * i);
}

static void put_big(uint8_t *to, uint32_t n, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[size - 1 - i] = (uint8_t)(n >> 8 * i);
}

// In both orders, one behind the other [7.2.3, 7.3.3].
static void put_both(uint8_t *to, uint32_t n, unsigned size)
{
	put_little(to, n, size);
	put_big(to + size, n, size);
}

static void put_text(uint8_t *to, const char *text, unsigned size)
{
	memset(to, ' ', size);
	memcpy(to, text, strlen(text));
}

// [9.1]; returns its size. A name of one zero byte is the directory itself, of one 1 its parent.
static unsigned put_record(uint8_t *to, const char *name, unsigned name_size, uint32_t sector,
	uint32_t size, uint8_t flags)
{
	unsigned n = RECORD_HEAD + name_size + (name_size % 2 == 0);

	to[0] = (uint8_t)n;
	put_both(to + 2, sector, 4);
	put_both(to + 10, size, 4);
	to[25] = flags;
	put_both(to + 28, 1, 2); // volume
	to[32] = (uint8_t)name_size;
	memcpy(to + RECORD_HEAD, name, name_size);
	return n;
}

static void put_primary(uint8_t *to, uint32_t n_sectors) // [8.4]
{
	to[0] = 1;
	memcpy(to + 1, "CD001", 5);
	to[6] = 1;
	put_text(to + 8, "LINUX", 32);
	put_text(to + 40, "cidata", 32); // as cloud-init looks for it, in small letters
	put_both(to + 80, n_sectors, 4);
	put_both(to + 120, 1, 2); // volumes, and which
	put_both(to + 124, 1, 2);
	put_both(to + 128, SECTOR, 2);
	put_both(to + 132, 10, 4); // bytes of a path table
	put_little(to + 140, AT_PATHS_LITTLE, 4);
	put_big(to + 148, AT_PATHS_BIG, 4);
	put_record(to + 156, "\0", 1, AT_ROOT, SECTOR, IS_DIRECTORY);
	memset(to + 190, ' ', 623); // texts that say nothing
	memset(to + 813, '0', 16); // dates: not told [8.4.26.1]
	memset(to + 830, '0', 16);
	memset(to + 847, '0', 16);
	memset(to + 864, '0', 16);
	to[881] = 1;
}

// [9.4]: of the root.
static void put_paths(uint8_t *little, uint8_t *big)
{
	little[0] = big[0] = 1;
	put_little(little + 2, AT_ROOT, 4);
	put_big(big + 2, AT_ROOT, 4);
	put_little(little + 6, 1, 2);
	put_big(big + 6, 1, 2);
}

static uint32_t sectors_of(size_t size)
{
	return (uint32_t)((size + SECTOR - 1) / SECTOR);
}

static char *make(const char *meta, const char *user, size_t *ret_size)
{
	size_t meta_size = strlen(meta), user_size = strlen(user), n;
	uint32_t at_user = AT_FILES + sectors_of(meta_size);
	uint32_t n_sectors = at_user + sectors_of(user_size);
	uint8_t *image = calloc(n_sectors, SECTOR), *root;

	if (!image)
		return NULL;
	put_primary(image + AT_PRIMARY * SECTOR, n_sectors);
	image[AT_END * SECTOR] = 255; // [8.3]
	memcpy(image + AT_END * SECTOR + 1, "CD001\1", 6);
	put_paths(image + AT_PATHS_LITTLE * SECTOR, image + AT_PATHS_BIG * SECTOR);
	root = image + AT_ROOT * SECTOR;
	n = put_record(root, "\0", 1, AT_ROOT, SECTOR, IS_DIRECTORY);
	n += put_record(root + n, "\1", 1, AT_ROOT, SECTOR, IS_DIRECTORY);
	// Linux shows them in small letters, without what follows the dot.
	n += put_record(root + n, "META-DATA.;1", 12, AT_FILES, (uint32_t)meta_size, 0);
	put_record(root + n, "USER-DATA.;1", 12, at_user, (uint32_t)user_size, 0);
	memcpy(image + AT_FILES * SECTOR, meta, meta_size);
	memcpy(image + at_user * SECTOR, user, user_size);
	*ret_size = (size_t)n_sectors * SECTOR;
	return (char *)image;
}

static void digest(const char *user_data, char ret_text[SHOWN_DIGITS + 1])
{
	char text[SHA256_DIGEST_STRING_LENGTH];

	SHA256Data((const uint8_t *)user_data, strlen(user_data), text);
	memcpy(ret_text, text, SHOWN_DIGITS);
	ret_text[SHOWN_DIGITS] = 0;
}

void vm_seed_name(const char *user_data, char ret_name[VM_SEED_NAME_SIZE])
{
	char text[SHOWN_DIGITS + 1];

	digest(user_data, text);
	snprintf(ret_name, VM_SEED_NAME_SIZE, "seed-%s", text);
}

char *vm_seed_make(const char *host, const char *id, const char *user_data, size_t *ret_size)
{
	char text[SHOWN_DIGITS + 1], meta[256];

	digest(user_data, text);
	snprintf(meta, sizeof(meta), "instance-id: %s-%s\nlocal-hostname: %s\n", id, text, host);
	return make(meta, user_data, ret_size);
}

int vm_seed_write(const char *path, const char *host, const char *id, const char *user_data)
{
	size_t size;
	char *image = vm_seed_make(host, id, user_data, &size);
	int r = 0,
	    fd = image ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
		       : -1;

	if (!image)
		return -ENOMEM;
	if (fd < 0) {
		free(image);
		return -errno;
	}
	ssize_t n = write(fd, image, size);
	if (n != (ssize_t)size)
		r = n < 0 ? -errno : -ENOSPC;
	close(fd);
	free(image);
	return r;
}
