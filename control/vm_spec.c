// SPDX-License-Identifier: BSD-3-Clause
// See vm_spec.h. Main thread.
#include "control/vm_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "control/log.h"
#include "control/port_spec.h"
#include "control/vm_seed.h"

// Each machine is a user of its own, of those that nobody gives out (systemd's "Users, Groups, UIDs
// and GIDs": 1879048192 to 2147483647 are unused).
#define FIRST_USER 0x70000000u
#define OWN_DISK "own="

enum { CMDLINE_SIZE = 64 << 10 };

void vm_path(char *ret_path, size_t size, const char *run_dir, uint32_t id, const char *name)
{
	snprintf(ret_path, size, "%s/vm/%u/%s", run_dir, id, name);
}

static void word(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void word(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc(0, f);
}

static void put_nic(FILE *f, const struct desired_port *p, const char *run_dir)
{
	const uint8_t *m = p->mac.b;
	char path[256];

	port_spec_vhost_path(p, run_dir, path, sizeof(path));
	word(f, "--net");
	word(f, "vhost-user=%s,mac=%02x:%02x:%02x:%02x:%02x:%02x,mtu=%u,queues=%u", path, m[0],
		m[1], m[2], m[3], m[4], m[5], p->mtu, p->nic->n_queues ? p->nic->n_queues : 1);
}

static void put_disk(FILE *f, const struct model_disk *disk)
{
	word(f, "--disk");
	word(f, VM_SPEC_DISK, disk->path, disk->readonly ? ",readonly" : "",
		disk->direct ? ",direct" : "", disk->n_queues);
}

// In a user namespace without such users a machine is nobody.
static bool has_users; // written once, by vm_spec_learn_users

int vm_spec_learn_users(void)
{
	unsigned long first, outside, n;
	FILE *f = fopen("/proc/self/uid_map", "re");
	bool found = false;

	if (!f)
		return -errno;
	while (!found && fscanf(f, "%lu %lu %lu", &first, &outside, &n) == 3)
		found = first <= FIRST_USER && first + n > FIRST_USER + DESIRED_MAX_INSTANCES;
	fclose(f);
	has_users = found;
	return 0;
}

uint32_t vm_spec_user(uint32_t id)
{
	return has_users ? FIRST_USER + id : 0;
}

bool vm_spec_is_own_disk(const char *word)
{
	return strncmp(word, OWN_DISK, strlen(OWN_DISK)) == 0;
}

// What the instance says, else what its image brings.
static const char *boot_file(const char *own, const char *image)
{
	return own ? own : image && image[0] ? image : NULL;
}

static void put_boot(FILE *f, const struct desired_instance *in)
{
	const struct model_instance *m = in->instance;
	const struct desired_image *image = in->image;
	const char *kernel = boot_file(m->kernel, image ? image->kernel : NULL);
	const char *initrd = boot_file(m->initrd, image && !m->kernel ? image->initrd : NULL);
	const char *cmdline = boot_file(m->cmdline, image ? image->about.cmdline : NULL);

	word(f, "--kernel");
	word(f, "%s", kernel ? kernel : "");
	if (initrd) {
		word(f, "--initrd");
		word(f, "%s", initrd);
	}
	word(f, "--cmdline");
	word(f, "%s", cmdline ? cmdline : "console=ttyS0");
}

static void put(
	FILE *f, const struct desired *d, const struct desired_instance *in, const char *run_dir)
{
	const struct model_instance *m = in->instance;
	char path[128], seed[VM_SEED_NAME_SIZE];

	word(f, "insula-vmm");
	put_boot(f, in);
	word(f, "--cpus");
	word(f, "%u", m->cpus);
	word(f, "--memory");
	word(f, "%u", m->memory_mib);
	if (m->hugepages)
		word(f, "--hugepages");
	for (unsigned i = 0; i < in->n_ports; i++)
		put_nic(f, &d->ports[in->first_port + i], run_dir);
	if (m->image[0]) {
		word(f, "--disk");
		word(f, OWN_DISK "%s", in->image ? in->image->about.disk : "");
	}
	for (unsigned i = 0; i < m->n_disks; i++)
		put_disk(f, &m->disks[i]);
	if (m->user_data) {
		vm_seed_name(m->user_data, seed);
		vm_path(path, sizeof(path), run_dir, in->id, seed);
		word(f, "--disk");
		word(f, "file=%s,readonly", path);
	}
	word(f, "--rng");
	word(f, "--hotplug");
	word(f, "%d", VM_SPEC_SLOTS);
	if (has_users) {
		word(f, "--user");
		word(f, "%u:%u", FIRST_USER + in->id, FIRST_USER + in->id);
	}
	vm_path(path, sizeof(path), run_dir, in->id, "api.sock");
	word(f, "--api");
	word(f, "%s", path);
}

int vm_spec_make(struct vm_spec *ret_spec, const struct desired *d,
	const struct desired_instance *in, const char *run_dir)
{
	*ret_spec = (struct vm_spec){ 0 };
	FILE *f = open_memstream(&ret_spec->text, &ret_spec->size);

	if (!f)
		return -ENOMEM;
	put(f, d, in, run_dir);
	bool failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		vm_spec_clear(ret_spec);
		return -ENOMEM;
	}
	return 0;
}

void vm_spec_clear(struct vm_spec *s)
{
	free(s->text);
	*s = (struct vm_spec){ 0 };
}

int vm_spec_copy(struct vm_spec *ret_spec, const struct vm_spec *from)
{
	char *text = from->text ? malloc(from->size) : NULL;

	if (!text)
		return -ENOMEM;
	memcpy(text, from->text, from->size);
	*ret_spec = (struct vm_spec){ .text = text, .size = from->size };
	return 0;
}

bool vm_spec_equal(const struct vm_spec *a, const struct vm_spec *b)
{
	return a->text && b->text && a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

int vm_spec_write(const struct vm_spec *s, const char *path)
{
	int r = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, s->text, s->size);
	if (n != (ssize_t)s->size)
		r = n < 0 ? -errno : -ENOSPC;
	close(fd);
	return r;
}

int vm_spec_read(struct vm_spec *ret_spec, const char *path)
{
	char *text = malloc(CMDLINE_SIZE);
	ssize_t n = -1;

	*ret_spec = (struct vm_spec){ 0 };
	if (!text)
		return -ENOMEM;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		n = read(fd, text, CMDLINE_SIZE);
		close(fd);
	}
	if (n <= 0) {
		free(text);
		return -ENOENT;
	}
	*ret_spec = (struct vm_spec){ .text = text, .size = (size_t)n };
	return 0;
}

void vm_spec_arguments(const struct vm_spec *s, char *ret_argv[VM_SPEC_WORDS])
{
	unsigned n = 0;

	for (size_t at = 0; at < s->size && n < VM_SPEC_WORDS - 1; at += strlen(s->text + at) + 1)
		ret_argv[n++] = s->text + at;
	ret_argv[n] = NULL;
}
