// SPDX-License-Identifier: BSD-3-Clause
// What a replay leaves behind on its ports: one pcapng each (draft-ietf-opsawg-pcapng: section
// header, one interface, enhanced packets), stamps in nanoseconds, no option that tells of this
// machine. librte_pcapng stamps by the TSC and libpcap writes no pcapng, hence our own. One thread.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vswitch/replay.h"

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	LINKTYPE_ETHERNET = 1,
	OPTION_IF_NAME = 2,
	OPTION_IF_TSRESOL = 9,
	// The first files get larger buffers than stdio's.
	WIDE_FILES = 64,
	WIDE_BUFFER = 1 << 16,
};

struct replay_output {
	const char *dir;
	int error; // the first -errno
	unsigned n_open;
	char path[4096]; // of the file that failed
	FILE *files[POLICY_MAX_PORT_ID + 1]; // by port; NULL: nothing left by it yet
};

int replay_output_dir(const char *dir, char *err, size_t err_size)
{
	struct dirent *e;
	DIR *d;
	bool empty = true;

	if (mkdir(dir, 0777) == 0)
		return 0;
	d = errno == EEXIST ? opendir(dir) : NULL;
	if (!d) {
		int r = -errno;

		snprintf(err, err_size, "%s: %s", dir, strerror(errno));
		return r;
	}
	while ((e = readdir(d)))
		empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
	closedir(d);
	if (empty)
		return 0;
	snprintf(err, err_size, "%s is not empty; name a new directory", dir);
	return -ENOTEMPTY;
}

static bool is_ours(const char *name)
{
	const char *dot = strrchr(name, '.');

	return (dot && strcmp(dot, ".pcapng") == 0) || strcmp(name, "verdicts.json") == 0;
}

void replay_output_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (is_ours(e->d_name))
			unlink(path);
		else if (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) // a tenant's
			replay_output_remove(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

int replay_output_new(const char *dir, struct replay_output **ret_output)
{
	struct replay_output *o = calloc(1, sizeof(*o));
	struct rlimit files;

	if (!o)
		return -ENOMEM;
	o->dir = dir;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) { // a file for each port
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	*ret_output = o;
	return 0;
}

static void fail(struct replay_output *o, int error, const char *path)
{
	if (o->error)
		return;
	o->error = error;
	snprintf(o->path, sizeof(o->path), "%s", path);
}

static void put32(FILE *f, uint32_t v)
{
	fwrite_unlocked(&v, sizeof(v), 1, f);
}

static void put16(FILE *f, uint16_t v)
{
	fwrite_unlocked(&v, sizeof(v), 1, f);
}

static void pad(FILE *f, uint32_t size)
{
	fwrite_unlocked("\0\0\0", 1, -size & 3, f);
}

static void put_head(FILE *f, const char *name)
{
	uint32_t name_size = (uint32_t)strlen(name);
	uint32_t size = 20 + 4 + ((name_size + 3) & ~3u) + 8 + 4;

	put32(f, BLOCK_SECTION);
	put32(f, 28);
	put32(f, BYTE_ORDER_MAGIC);
	put16(f, 1);
	put16(f, 0);
	put32(f, UINT32_MAX); // the section's size: not told
	put32(f, UINT32_MAX);
	put32(f, 28);
	put32(f, BLOCK_INTERFACE);
	put32(f, size);
	put16(f, LINKTYPE_ETHERNET);
	put16(f, 0);
	put32(f, 0); // no snaplen
	put16(f, OPTION_IF_NAME);
	put16(f, (uint16_t)name_size);
	fwrite_unlocked(name, 1, name_size, f);
	pad(f, name_size);
	put16(f, OPTION_IF_TSRESOL);
	put16(f, 1);
	put32(f, 9); // 10^-9 s, and padding
	put32(f, 0); // end of options
	put32(f, size);
}

// TENANT/INSTANCE.NIC: a folder for each tenant.
static FILE *open_port(struct replay_output *o, uint32_t port, const char *name)
{
	const char *slash = strchr(name, '/');
	char path[4096];
	FILE *f;

	if (slash) {
		snprintf(path, sizeof(path), "%s/%.*s", o->dir, (int)(slash - name), name);
		if (mkdir(path, 0777) < 0 && errno != EEXIST) {
			fail(o, -errno, path);
			return NULL;
		}
	}
	snprintf(path, sizeof(path), "%s/%s.pcapng", o->dir, name);
	f = fopen(path, "we");
	if (!f) {
		fail(o, -errno, path);
		return NULL;
	}
	if (o->n_open++ < WIDE_FILES)
		setvbuf(f, NULL, _IOFBF, WIDE_BUFFER);
	put_head(f, name);
	o->files[port] = f;
	return f;
}

void replay_output_put(struct replay_output *o, uint32_t port, const char *name, uint64_t ts_ns,
	const struct rte_mbuf *m)
{
	FILE *f = o->files[port];
	uint32_t head[7] = { BLOCK_PACKET, 32 + ((m->pkt_len + 3) & ~3u), 0,
		(uint32_t)(ts_ns >> 32), (uint32_t)ts_ns, m->pkt_len, m->pkt_len };

	if (o->error || (!f && !(f = open_port(o, port, name))))
		return;
	fwrite_unlocked(head, sizeof(head), 1, f);
	for (const struct rte_mbuf *s = m; s; s = s->next)
		fwrite_unlocked(rte_pktmbuf_mtod(s, const void *), 1, s->data_len, f);
	pad(f, m->pkt_len);
	put32(f, head[1]);
}

int replay_output_close(struct replay_output *o, char *err, size_t err_size)
{
	int r;

	for (uint32_t port = 0; port <= POLICY_MAX_PORT_ID; port++) {
		FILE *f = o->files[port];
		bool bad = f && ferror(f);

		if (f && (fclose(f) != 0 || bad) && !o->error) // a full disk is no success
			fail(o, errno ? -errno : -EIO, o->dir);
	}
	r = o->error;
	if (r)
		snprintf(err, err_size, "%s: %s", o->path, strerror(-r));
	free(o);
	return r;
}
