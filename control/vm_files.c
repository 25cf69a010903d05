// SPDX-License-Identifier: BSD-3-Clause
// See vm_files.h.
#include "control/vm_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/log.h"
#include "control/vm.h"

static int check_file(const char *what, const char *path, bool device, char *err, size_t err_size)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return log_reason(-errno, err, err_size, "%s %s: %s", what, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !(device && S_ISBLK(st.st_mode)))
		return log_reason(-EINVAL, err, err_size, "%s %s: not a file%s", what, path,
			device ? " or block device" : "");
	return 0;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// One file by two names: the machine would say that somebody else uses it, which is itself.
static int check_twins(const struct model_instance *m, char *err, size_t err_size)
{
	for (unsigned i = 0; i < m->n_disks; i++)
		for (unsigned k = 0; k < i; k++) {
			const struct model_disk *a = &m->disks[k], *b = &m->disks[i];

			if (!(a->readonly && b->readonly) && is_same_file(a->path, b->path))
				return log_reason(-EINVAL, err, err_size,
					"disk %.160s is the same file as %.160s; leave one out",
					b->path, a->path);
		}
	return 0;
}

// --- what is Insula's own ---

// By whatever symbolic links it was opened: where they have led is what counts.
static bool is_below(int fd, const char *folder)
{
	char link[40], file[PATH_MAX], *dir = realpath(folder, NULL);
	size_t n = dir ? strlen(dir) : 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, file, sizeof(file) - 1);
	file[size > 0 ? size : 0] = 0;
	bool below = dir && strncmp(file, dir, n) == 0 && file[n] == '/';
	free(dir);
	return below;
}

// A file of several names may have one of them in there.
static bool has_name_below(const struct stat *st, const char *folder)
{
	char *root[] = { (char *)(uintptr_t)folder, NULL };
	bool found = false;
	FTSENT *e;

	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return false;
	FTS *all = fts_open(root, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	while (all && !found && (e = fts_read(all)) != NULL)
		found = e->fts_info == FTS_F && e->fts_statp->st_ino == st->st_ino &&
			e->fts_statp->st_dev == st->st_dev;
	if (all)
		fts_close(all);
	return found;
}

// A guest that writes there writes into images, other instances' disks, or the state. The file
// that is at the path now is ret_st's.
static int check_owner(const char *path, const struct vm_owned *own, struct stat *ret_st, char *err,
	size_t err_size)
{
	const char *const folders[] = { own->state_dir, own->run_dir };
	int r = 0, fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0 || fstat(fd, ret_st) < 0)
		r = log_reason(-errno, err, err_size, "disk %s: %s", path, strerror(errno));
	for (unsigned i = 0; r == 0 && i < sizeof(folders) / sizeof(folders[0]); i++)
		if (is_below(fd, folders[i]) || has_name_below(ret_st, folders[i]))
			r = log_reason(-EINVAL, err, err_size,
				"disk %.160s is a file in %.120s, which is Insula's own: a volume "
				"there is named by `volume`, an image by `image`",
				path, folders[i]);
	if (fd >= 0)
		close(fd);
	return r;
}

static int check_disk(
	const struct model_disk *disk, const struct vm_owned *own, char *err, size_t err_size)
{
	if (disk->volume[0])
		return access(disk->path, F_OK) == 0
			       ? check_file("disk", disk->path, true, err, err_size)
			       : log_reason(-errno, err, err_size,
					 "there is no volume %s; `insula volume list` shows them",
					 disk->volume);
	struct stat st;
	int r = check_file("disk", disk->path, true, err, err_size);
	return r == 0 ? check_owner(disk->path, own, &st, err, err_size) : r;
}

int vm_files_check(
	const struct desired_instance *in, const struct vm_owned *own, char *err, size_t err_size)
{
	const struct model_instance *m = in->instance;
	int r = 0;

	if (!m->kernel && !in->image->kernel[0])
		return log_reason(-EINVAL, err, err_size,
			"image %s has no kernel, and the instance names none", m->image);
	if (m->kernel)
		r = check_file("kernel", m->kernel, false, err, err_size);

	if (r == 0 && m->initrd)
		r = check_file("initrd", m->initrd, false, err, err_size);
	for (unsigned i = 0; r == 0 && i < m->n_disks; i++)
		r = check_disk(&m->disks[i], own, err, err_size);
	return r < 0 ? r : check_twins(m, err, err_size);
}

// --- at the start ---

// Of that word of insula-vmm's command line, if it names one of the instance's disks.
static const struct model_disk *disk_of(const struct model_instance *m, const char *word)
{
	char path[VMS_PATH_SIZE];

	if (vms_next_disk(word, path))
		for (unsigned i = 0; i < m->n_disks; i++)
			if (strcmp(m->disks[i].path, path) == 0)
				return &m->disks[i];
	return NULL;
}

int vm_files_pin(const struct vm_spec *spec, const struct desired_instance *in,
	const struct vm_owned *own, struct vm_spec *ret_spec, char *err, size_t err_size)
{
	char *argv[VM_SPEC_WORDS];
	struct stat st = { 0 };
	int r = 0;

	*ret_spec = (struct vm_spec){ 0 };
	if (!in)
		return log_reason(-ENOENT, err, err_size, "it is stored no more");
	FILE *f = open_memstream(&ret_spec->text, &ret_spec->size);
	if (!f)
		return log_reason(-ENOMEM, err, err_size, "out of memory");
	vm_spec_arguments(spec, argv);
	for (char **word = argv; r == 0 && *word; word++) {
		const struct model_disk *disk = disk_of(in->instance, *word);

		fputs(*word, f);
		if (disk && !disk->volume[0]) {
			r = check_owner(disk->path, own, &st, err, err_size);
			fprintf(f, ",inode=%llx:%llx", (unsigned long long)st.st_dev,
				(unsigned long long)st.st_ino);
		}
		fputc(0, f);
	}
	if (fclose(f) != 0 && r == 0)
		r = log_reason(-ENOMEM, err, err_size, "out of memory");
	return r;
}
