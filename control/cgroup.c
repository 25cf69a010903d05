// SPDX-License-Identifier: BSD-3-Clause
// See cgroup.h; the files are those of the kernel's Documentation/admin-guide/cgroup-v2.rst.
#include "control/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "control/log.h"

#define MOUNT "/sys/fs/cgroup"
#define UNIT MOUNT "/system.slice/insula-guests.service"
#define KEEPER "keeper" // who was in the unit's group before there were others below it

enum {
	WEIGHT_PER_CPU = 100, // of cpu.weight, whose default it is for all
	WEIGHT_MAX = 10000,
	// Beyond the guest's memory: insula-vmm takes 5 MiB, who serves an image some 40, the
	// kernel some for page tables and what is on its way to disk.
	MEMORY_MORE_MIB = 128,
	MEMORY_MORE_OF = 64, // and a 64th
	PIDS_MAX = 512, // threads: processors, queues of disks, a pool of qemu-storage-daemon's
	PERIOD_US = 100000,
	REMOVE_TRIES = 20,
	REMOVE_PAUSE_MS = 5,
};

static const struct {
	const char *name;
	bool needed; // io weighs only where a scheduler of the disk's does
} controllers[] = { { "cpu", true }, { "memory", true }, { "pids", true }, { "io", false } };

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int read_file(const char *dir, const char *name, char *ret_text, size_t size)
{
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, ret_text, size - 1);
	ret_text[n > 0 ? n : 0] = 0;
	close(fd);
	return n < 0 ? -errno : 0;
}

static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += size)
		if ((at == text || at[-1] == ' ') && strchr(" \n", at[size]) != NULL)
			return true;
	return false;
}

// Gives the controllers to the groups below, and tells which of them they had not; says which are
// not to be had.
static int enable(const char *dir, unsigned *ret_enabled, char *why, size_t size)
{
	char have[256], given[256], missing[64] = "", word[16];

	if (read_file(dir, "cgroup.controllers", have, sizeof(have)) < 0 ||
		read_file(dir, "cgroup.subtree_control", given, sizeof(given)) < 0)
		return log_reason(-ENOENT, why, size, "%s is no cgroup (v2)", dir);
	for (unsigned i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		size_t used = strlen(missing);

		if (!has_word(have, controllers[i].name)) {
			if (controllers[i].needed)
				snprintf(missing + used, sizeof(missing) - used, "%s%s",
					used ? ", " : "", controllers[i].name);
			continue;
		}
		snprintf(word, sizeof(word), "+%s", controllers[i].name);
		int r = write_file(dir, "cgroup.subtree_control", word);
		if (r < 0)
			return log_reason(r, why, size, "%s: %s: %s", dir, word, strerror(-r));
		if (!has_word(given, controllers[i].name))
			*ret_enabled |= 1u << i;
	}
	if (missing[0])
		return log_reason(-ENOTSUP, why, size, "%s lacks the controllers %s", dir, missing);
	return 0;
}

// systemd has started one process in the unit's group, and a group with others below has none.
static int move_keeper(const char *dir, char *why, size_t size)
{
	char path[512], pids[256];
	int r;

	snprintf(path, sizeof(path), "%s/" KEEPER, dir);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return log_reason(-errno, why, size, "%s: %m", path);
	r = read_file(dir, "cgroup.procs", pids, sizeof(pids));
	for (char *at = pids, *end; r == 0 && *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, '\n');
		char pid[16];
		snprintf(pid, sizeof(pid), "%.*s", (int)(end - at), at);
		r = write_file(path, "cgroup.procs", pid);
	}
	return r < 0 ? log_reason(r, why, size, "%s: %s", path, strerror(-r)) : 0;
}

// Where this process is.
static int own_group(char *ret_dir, size_t size)
{
	char text[512], *at;

	if (read_file("/proc/self", "cgroup", text, sizeof(text)) < 0 ||
		(at = strstr(text, "0::/")) == NULL)
		return -ENOENT;
	at += 3;
	at[strcspn(at, "\n")] = 0;
	if (sizeof(MOUNT) + strlen(at) > size)
		return -ENAMETOOLONG;
	snprintf(ret_dir, size, MOUNT "%s", strcmp(at, "/") == 0 ? "" : at);
	return 0;
}

static void disable(const char *dir, unsigned enabled)
{
	char word[16];

	for (unsigned i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		snprintf(word, sizeof(word), "-%s", controllers[i].name);
		if (enabled & 1u << i) // refused where somebody else has it below by now
			write_file(dir, "cgroup.subtree_control", word);
	}
}

// For an insulad that comes after this one.
static void note_enabled(const struct cgroups *g)
{
	FILE *f = fopen(g->note, "we");

	if (!f)
		return;
	fprintf(f, "%u\n", g->enabled);
	fclose(f);
}

static void recall_enabled(struct cgroups *g)
{
	FILE *f = fopen(g->note, "re");

	if (f && fscanf(f, "%u", &g->enabled) != 1)
		g->enabled = 0;
	if (f)
		fclose(f);
}

// For the first machine. 0, or -errno and there are no groups from now on.
static int make_base(struct cgroups *g)
{
	char number[32];
	unsigned ours = 0;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	if (!g->above[0] || access(g->base, F_OK) == 0)
		return 0;
	r = enable(g->above, &g->enabled, g->why_not, sizeof(g->why_not));
	note_enabled(g);
	if (r == 0 && mkdir(g->base, 0755) < 0 && errno != EEXIST)
		r = log_reason(-errno, g->why_not, sizeof(g->why_not), "%s: %m", g->base);
	if (r == 0) {
		snprintf(number, sizeof(number), "%ld",
			cpus * WEIGHT_PER_CPU < WEIGHT_MAX ? cpus * WEIGHT_PER_CPU : WEIGHT_MAX);
		write_file(g->base, "cpu.weight", number);
		r = enable(g->base, &ours, g->why_not, sizeof(g->why_not));
	}
	if (r < 0)
		g->base[0] = 0;
	return r;
}

static bool has_groups(const char *dir)
{
	struct dirent *e;
	bool found = false;
	DIR *all = opendir(dir);

	while (all && !found && (e = readdir(all)) != NULL)
		found = e->d_type == DT_DIR && e->d_name[0] != '.';
	if (all)
		closedir(all);
	return found;
}

// With the last machine. The kernel lets go of a group a moment after its last one below is gone.
static void remove_base(struct cgroups *g)
{
	int r = -1;

	if (!g->above[0] || has_groups(g->base))
		return;
	for (unsigned i = 0; i < REMOVE_TRIES && (r = rmdir(g->base)) < 0 && errno == EBUSY; i++)
		poll(NULL, 0, REMOVE_PAUSE_MS);
	if (r < 0)
		return;
	disable(g->above, g->enabled);
	g->enabled = 0;
	unlink(g->note);
}

static int find_base(struct cgroups *g)
{
	const char *given = getenv("INSULA_CGROUP");
	struct statfs fs;
	unsigned ours = 0;
	int r;

	if (given && given[0]) {
		snprintf(g->base, sizeof(g->base), "%s", given);
		return enable(g->base, &ours, g->why_not, sizeof(g->why_not));
	}
	if (statfs(MOUNT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return log_reason(-ENOTSUP, g->why_not, sizeof(g->why_not),
			MOUNT " is no cgroup v2; boot with systemd.unified_cgroup_hierarchy=1, or "
			      "`mount -t cgroup2 cgroup2 " MOUNT "`");
	if (access(UNIT, F_OK) == 0) {
		snprintf(g->base, sizeof(g->base), UNIT);
		r = move_keeper(g->base, g->why_not, sizeof(g->why_not));
		return r < 0 ? r : enable(g->base, &ours, g->why_not, sizeof(g->why_not));
	}
	if (access("/run/systemd/system", F_OK) == 0)
		return log_reason(-ENOENT, g->why_not, sizeof(g->why_not),
			"insula-guests.service does not run; install it (`meson install`), "
			"`systemctl enable --now insula-guests`, and start insulad again");
	if (own_group(g->above, sizeof(g->above)) < 0)
		return log_reason(
			-ENOTSUP, g->why_not, sizeof(g->why_not), "insulad is in no cgroup (v2)");
	snprintf(g->base, sizeof(g->base), "%s/insula", g->above);
	return 0;
}

void cgroups_open(struct cgroups *g, const char *run_dir)
{
	*g = (struct cgroups){ 0 };
	snprintf(g->note, sizeof(g->note), "%s/cgroup", run_dir);
	recall_enabled(g);
	snprintf(g->prefix, sizeof(g->prefix), "%s", run_dir + strspn(run_dir, "/"));
	for (char *p = g->prefix; *p; p++)
		if (*p == '/')
			*p = '-';
	if (find_base(g) < 0)
		g->base[0] = 0;
}

void cgroup_path(const struct cgroups *g, uint32_t id, char *path, size_t size)
{
	path[0] = 0;
	if (g->base[0])
		snprintf(path, size, "%s/%s.%u", g->base, g->prefix, id);
}

static int limit(const char *dir, const struct cgroup_limits *l)
{
	const uint64_t mib =
		(uint64_t)l->memory_mib + l->memory_mib / MEMORY_MORE_OF + MEMORY_MORE_MIB;
	const uint32_t weight = l->cpus * WEIGHT_PER_CPU;
	char text[64];
	int r;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)mib << 20);
	r = write_file(dir, "memory.max", text);
	if (r == 0) // all of it ends, not its disk alone
		r = write_file(dir, "memory.oom.group", "1");
	snprintf(text, sizeof(text), "%d", PIDS_MAX);
	if (r == 0)
		r = write_file(dir, "pids.max", text);
	snprintf(text, sizeof(text), "%u", weight < WEIGHT_MAX ? weight : WEIGHT_MAX);
	if (r == 0)
		r = write_file(dir, "cpu.weight", text);
	// Its processors, and as much again as one for what serves its devices.
	snprintf(text, sizeof(text), "%u %d", (l->cpus + 1) * PERIOD_US, PERIOD_US);
	if (r == 0)
		r = write_file(dir, "cpu.max", text);
	// Not there without a scheduler that weighs.
	snprintf(text, sizeof(text), "%d", WEIGHT_PER_CPU);
	write_file(dir, "io.weight", text);
	return r;
}

int cgroup_get(struct cgroups *g, uint32_t id, const struct cgroup_limits *limits, char *err,
	size_t err_size)
{
	char path[512];
	int r, fd;

	cgroup_path(g, id, path, sizeof(path));
	if (path[0] && make_base(g) < 0)
		path[0] = 0;
	if (!path[0] && !g->told)
		log_warning("machines share memory and processors without limits: %s", g->why_not);
	g->told = true;
	if (!path[0])
		return 0;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return log_reason(-errno, err, err_size, "%s: %m", path);
	r = limit(path, limits);
	if (r < 0)
		return log_reason(r, err, err_size, "limits in %s: %s", path, strerror(-r));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return log_reason(-errno, err, err_size, "%s: %m", path);
	return fd;
}

void cgroup_remove(struct cgroups *g, uint32_t id)
{
	char path[512];

	cgroup_path(g, id, path, sizeof(path));
	if (path[0] && rmdir(path) < 0 && errno != ENOENT && errno != EBUSY)
		log_warning("%s: %m", path);
	remove_base(g);
}

unsigned cgroup_oom_kills(const struct cgroups *g, uint32_t id)
{
	static const char key[] = "\noom_kill ";
	char path[512], text[512];
	const char *at;

	cgroup_path(g, id, path, sizeof(path));
	if (!path[0] || read_file(path, "memory.events", text, sizeof(text)) < 0 ||
		(at = strstr(text, key)) == NULL)
		return 0;
	return (unsigned)strtoul(at + strlen(key), NULL, 10);
}
