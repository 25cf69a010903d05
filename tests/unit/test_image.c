// SPDX-License-Identifier: BSD-3-Clause
// Images without instances: imported whole or not at all, whatever is in the way (a full disk, a
// wrong checksum, SIGKILL at any moment), their content kept once, formats taken as they are said.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "control/image_copy.h"
#include "control/images.h"
#include "control/log.h"

enum { MIB = 1 << 20, ROUNDS = 24 };

static char dir[64], file[96];
static struct loop *loop;
static struct images *images;
static const char *user; // who uses each image

static json_t *used(void *arg, const struct image *image)
{
	return user ? json_pack("[s]", user) : NULL;
}

static void open_images(void)
{
	char err[300] = "";

	assert_int_equal(loop_new(&loop), 0);
	if (images_new(loop, dir, used, NULL, &images, err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

static void close_images(void)
{
	images_free(images);
	loop_free(loop);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/insula-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/disk", dir);
	user = NULL;
	open_images();
	return 0;
}

static int teardown(void **state)
{
	char command[100];

	close_images();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void write_file(const char *path, const void *data, size_t size, uint64_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(ftruncate(fd, (off_t)length), 0);
	close(fd);
}

static unsigned n_files(const char *folder)
{
	char path[128];
	unsigned n = 0;
	struct dirent *e;

	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	DIR *d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

// A new reference, or NULL.
static json_t *show(const char *name)
{
	json_t *list = json_array(), *o, *found = NULL;
	size_t i;

	images_list(images, list);
	json_array_foreach(list, i, o)
		if (strcmp(json_string_value(json_object_get(o, "name")), name) == 0)
			found = json_incref(o);
	json_decref(list);
	return found;
}

static struct waiting {
	const char *name;
	struct loop_source *timer;
} waiting;

static void look(void *arg)
{
	json_t *o = show(waiting.name);

	if (o && strcmp(json_string_value(json_object_get(o, "state")), "importing") == 0)
		loop_timer_arm(waiting.timer, 1000000);
	else
		loop_quit(loop);
	json_decref(o);
}

// What became of it: "ready", or its trouble.
static const char *import(json_t *definition, char text[1400])
{
	char name[64];
	json_t *o;

	snprintf(name, sizeof(name), "%s", json_string_value(json_object_get(definition, "name")));
	int r = images_import(images, definition, text, 1400);
	json_decref(definition);
	if (r < 0)
		return text;
	waiting.name = name;
	assert_int_equal(loop_add_timer(loop, look, NULL, &waiting.timer), 0);
	loop_timer_arm(waiting.timer, 0);
	assert_int_equal(loop_run(loop), 0);
	o = show(name);
	snprintf(text, 1400, "%s",
		json_object_get(o, "trouble") ? json_string_value(json_object_get(o, "trouble"))
					      : json_string_value(json_object_get(o, "state")));
	json_decref(o);
	close_images(); // a loop that was quit does not run again
	open_images();
	return text;
}

static json_t *raw(const char *name, const char *path)
{
	return json_pack("{s:s, s:s}", "name", name, "path", path);
}

// The blob of an image: its path.
static const char *blob_of(const char *name, char path[IMAGE_PATH_SIZE])
{
	struct image image;

	assert_int_equal(image_store_get(images_store(images), name, &image), 0);
	image_store_blob(images_store(images), image.disk, path);
	return path;
}

static void imports(void **state)
{
	char text[1400], path[IMAGE_PATH_SIZE], *content = calloc(1, 3 * MIB);
	struct image image;
	struct stat st;

	memset(content + MIB, 'x', 5000); // between holes
	memcpy(content, "\177ELF", 4); // a kernel's beginning
	write_file(file, content, 2 * MIB, 3 * MIB);
	json_t *definition = raw("one", file);
	json_object_set_new(definition, "kernel", json_string(file));
	json_object_set_new(definition, "cmdline", json_string("a b"));
	json_object_set_new(definition, "sha256",
		json_string("ffbd6904598f04ef11609b3fed10315b7441f8174256be21302efb9a6bf85efb"));
	assert_string_equal(import(definition, text), "ready");
	assert_int_equal(image_store_get(images_store(images), "one", &image), 0);
	assert_string_equal(image.disk, image.kernel);
	assert_string_equal(image.initrd, "");
	assert_string_equal(image.cmdline, "a b");
	assert_int_equal(image.bytes, 3 * MIB);
	assert_int_equal(image.disk_bytes, 3 * MIB);
	assert_int_equal(stat(blob_of("one", path), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(st.st_size, 3 * MIB);
	assert_true(st.st_blocks * 512 < MIB); // holes stay holes
	FILE *f = fopen(path, "r");
	char *copy = malloc(3 * MIB);
	assert_int_equal(fread(copy, 1, 3 * MIB, f), 3 * MIB);
	assert_memory_equal(copy, content, 3 * MIB);
	fclose(f);
	free(copy);
	free(content);
	assert_int_equal(n_files("images/blobs"), 1);
}

// The same content is kept once, as long as one image has it.
static void shares(void **state)
{
	char text[1400], path[IMAGE_PATH_SIZE];

	write_file(file, "content", 7, MIB);
	assert_string_equal(import(raw("one", file), text), "ready");
	assert_string_equal(import(raw("two", file), text), "ready");
	assert_int_equal(n_files("images/blobs"), 1);
	assert_string_equal(import(raw("one", file), text), "there is an image one already");
	user = "red/web";
	assert_int_equal(images_delete(images, "one", text, sizeof(text)), -EBUSY);
	assert_string_equal(
		text, "image one is used by red/web; `insula image show one` tells by whom");
	user = NULL;
	assert_int_equal(images_delete(images, "one", text, sizeof(text)), 0);
	assert_int_equal(access(blob_of("two", path), F_OK), 0);
	assert_int_equal(images_delete(images, "one", text, sizeof(text)), -ENOENT);
	assert_int_equal(images_delete(images, "two", text, sizeof(text)), 0);
	assert_int_equal(n_files("images/blobs"), 0);
}

static void refuses(void **state)
{
	static const struct {
		const char *key, *value, *told;
	} bad[] = {
		{ "name", "a/b", "name \"a/b\" has a character" },
		{ "name", "", "name \"\" is empty" },
		{ "format", "vmdk", "format \"vmdk\"; allowed: raw or qcow2" },
		{ "path", "disk", "\"disk\" is no absolute path" },
		{ "sha256", "abc", "sha256 \"abc\"; allowed: 64" },
		{ "cmdline", "a\nb", "cmdline is no line" },
		{ "size", "1", "size is no key" },
		{ "path", "/no/such/file", "/no/such/file: No such file" },
		{ "path", "/dev/null", "/dev/null: is neither a file" },
		{ "kernel", "/no/kernel", "/no/kernel: No such file" },
		{ "kernel", "/etc/passwd", "/etc/passwd is not a kernel image: neither a Linux" },
		{ "format", "qcow2", "is no qcow2 image" },
		{ "sha256", "0123456789012345678901234567890123456789012345678901234567890123",
			"its SHA-256 is "
			"30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58" },
	};
	char text[1400];

	write_file(file, "", 0, MIB);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *definition = raw("one", file);

		json_object_set_new(definition, bad[i].key, json_string(bad[i].value));
		import(definition, text);
		if (!strstr(text, bad[i].told))
			fail_msg("%s: %s: %s", bad[i].key, bad[i].value, text);
		assert_null(show("one"));
		assert_int_equal(n_files("images/blobs"), 0);
	}
	write_file(file, "", 0, 1000);
	assert_non_null(strstr(import(raw("one", file), text), "not a multiple of 512"));
	write_file(file, "", 0, 0);
	assert_non_null(strstr(import(raw("one", file), text), "is empty"));
}

struct qcow2 {
	uint32_t magic, version;
	uint64_t backing;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt, l1_size;
	uint64_t l1, refcounts;
	uint32_t refcount_clusters, n_snapshots;
	uint64_t snapshots, features, more[2];
	uint32_t refcount_order, length;
	uint8_t compression, more_8[7];
	uint32_t extension, extension_size;
} __attribute__((packed));

// Its tables are empty.
static struct qcow2 good_qcow2(void)
{
	return (struct qcow2){ htobe32(0x514649fb), htobe32(3), .cluster_bits = htobe32(16),
		.size = htobe64(5 << 20), .l1_size = htobe32(1), .l1 = htobe64(64 << 10),
		.refcounts = htobe64(128 << 10), .refcount_clusters = htobe32(1),
		.refcount_order = htobe32(4), .length = htobe32(112) };
}

// A qcow2 image may name other files, which would be the host's: such a one is none of ours. And a
// raw one that begins like it is raw (HOSTILE.md H-34).
static void qcow2(void **state)
{
	const struct qcow2 good = good_qcow2();
	struct qcow2 h[6] = { good, good, good, good, good, good };
	static const char *const told[6] = { "ready", "names a backing file", "in another file",
		"was not closed", "version other", "is encrypted" };
	char text[1400];
	struct image image;

	h[1].backing = htobe64(104);
	h[2].features = htobe64(4);
	h[3].features = htobe64(1);
	h[4].version = htobe32(4);
	h[5].crypt = htobe32(2);
	for (int i = 5; i >= 0; i--) {
		json_t *definition = raw("one", file);

		write_file(file, &h[i], sizeof(h[i]), MIB);
		json_object_set_new(definition, "format", json_string("qcow2"));
		import(definition, text);
		if (!strstr(text, told[i]))
			fail_msg("%d: %s", i, text);
	}
	assert_int_equal(image_store_get(images_store(images), "one", &image), 0);
	assert_int_equal(image.disk_bytes, 5 << 20);
	write_file(file, &h[1], sizeof(h[1]), MIB);
	assert_string_equal(import(raw("two", file), text), "ready");
	assert_int_equal(image_store_get(images_store(images), "two", &image), 0);
	assert_int_equal(image.disk_bytes, MIB);
	assert_int_equal(image.format, IMAGE_RAW);
}

struct cut {
	uint64_t header[15]; // struct qcow2
	uint8_t to_l1[(64 << 10) - 15 * 8]; // clusters of 64 KiB
	uint64_t l1[8192], l2[8192];
};

static const char *import_qcow2(const struct cut *c, uint64_t size, char text[1400])
{
	json_t *definition = raw("cut", file);
	struct image image;

	write_file(file, c, sizeof(*c), size);
	json_object_set_new(definition, "format", json_string("qcow2"));
	import(definition, text);
	if (image_store_get(images_store(images), "cut", &image) == 0) {
		char err[300];
		assert_int_equal(images_delete(images, "cut", err, sizeof(err)), 0);
	}
	return text;
}

// Its tables and clusters have to be there, all but the end of the last one.
static void qcow2_cut(void **state)
{
	enum { CLUSTER = 64 << 10, TABLES = 3 * CLUSTER };
	struct cut *c = calloc(1, sizeof(*c));
	struct qcow2 h = good_qcow2();
	static const char cut[] = "is cut short: it lacks clusters that it names";
	char text[1400];

	h.l1_size = htobe32(2);
	h.refcounts = 0;
	memcpy(c->header, &h, sizeof(h));
	c->l1[0] = htobe64(1ull << 63 | 2 * CLUSTER);
	c->l2[3] = htobe64(1ull << 63 | TABLES);
	c->l2[9] = htobe64(1ull << 62 | 5ull << 54 | (TABLES + CLUSTER + 700)); // compressed
	assert_string_equal(import_qcow2(c, TABLES + 2 * CLUSTER, text), "ready");
	assert_string_equal(import_qcow2(c, TABLES + CLUSTER + 701, text), "ready");
	assert_non_null(strstr(import_qcow2(c, TABLES + CLUSTER + 700, text), cut));
	assert_non_null(strstr(import_qcow2(c, TABLES, text), cut));
	c->l2[9] = 0;
	assert_string_equal(import_qcow2(c, TABLES + 1, text), "ready");
	assert_non_null(strstr(import_qcow2(c, TABLES - 1, text), cut)); // the L2 table
	assert_non_null(strstr(import_qcow2(c, CLUSTER + 8, text), cut)); // the L1 table
	assert_non_null(strstr(import_qcow2(c, 1000, text), cut));
	for (int i = 0; i < 8; i++) // one table for many
		c->l1[i] = c->l1[0];
	h.l1_size = htobe32(8);
	memcpy(c->header, &h, sizeof(h));
	assert_non_null(strstr(import_qcow2(c, TABLES + CLUSTER, text), "is damaged"));
	h.l1_size = htobe32(~0u);
	memcpy(c->header, &h, sizeof(h));
	assert_non_null(strstr(import_qcow2(c, TABLES + CLUSTER, text), "is damaged"));
	h.cluster_bits = htobe32(40);
	memcpy(c->header, &h, sizeof(h));
	assert_non_null(strstr(import_qcow2(c, TABLES + CLUSTER, text), "of a size that no"));
	free(c);
}

// What QEMU would not open is not kept either.
static void qcow2_header(void **state)
{
	const struct qcow2 good = good_qcow2();
	struct cut *c = calloc(1, sizeof(*c));
	char text[1400];

#define BAD(field, value, name) \
	{ \
		offsetof(struct qcow2, field), sizeof(good.field), value, name \
	}
	static const struct {
		size_t at, size;
		uint64_t value;
		const char *told;
	} bad[] = { BAD(length, 0, "header_length"), BAD(length, 103, "header_length"),
		BAD(length, 65537, "header_length"), BAD(refcount_order, 7, "refcount_order"),
		BAD(l1_size, 0, "l1_size"), BAD(size, (512 << 20) + 512, "l1_size"),
		BAD(l1_size, (4 << 20) + 1, "l1_size"), BAD(l1, 65537, "l1_table_offset"),
		BAD(refcount_clusters, 0, "refcount_table_clusters"),
		BAD(refcount_clusters, 129, "refcount_table_clusters"),
		BAD(refcounts, 1, "refcount_table_offset"), BAD(n_snapshots, 65537, "nb_snapshots"),
		BAD(n_snapshots, 65536, "cut short"), BAD(snapshots, 1, "snapshots_offset"),
		BAD(compression, 1, "compression_type"), BAD(compression, 2, "compression_type"),
		BAD(features, 8, "compression_type"),
		BAD(extension_size, 65536 - 120 + 1, "header extensions"),
		BAD(extension, 1, "ready") };
#undef BAD
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t value = htobe64(bad[i].value << (64 - 8 * bad[i].size));

		memcpy(c->header, &good, sizeof(good));
		memcpy((char *)c->header + bad[i].at, &value, bad[i].size);
		if (!strstr(import_qcow2(c, MIB, text), bad[i].told))
			fail_msg("%zu, %s: %s", i, bad[i].told, text);
	}
	// a snapshot's entry where the header is: l1_size is where it has its extra data's size
	struct qcow2 h = good;
	h.n_snapshots = htobe32(1);
	for (unsigned extra = 1024; extra <= 1025; extra++) {
		h.l1_size = htobe32(extra);
		memcpy(c->header, &h, sizeof(h));
		import_qcow2(c, MIB, text);
		assert_non_null(strstr(text, extra > 1024 ? "snapshot table" : "ready"));
	}
	memcpy(c->header, &good, sizeof(good));
	assert_string_equal(import_qcow2(c, MIB, text), "ready");
	free(c);
}

// No disk of its own could be made of it.
static void large(void **state)
{
	enum { CLUSTER = 2 << 20 };
	struct cut *c = calloc(1, sizeof(*c));
	struct qcow2 h = good_qcow2();
	char text[1400];

	h.cluster_bits = htobe32(21);
	h.l1_size = htobe32(33);
	h.l1 = htobe64(CLUSTER);
	h.refcounts = htobe64(2 * CLUSTER);
	h.size = htobe64(1ull << 44);
	memcpy(c->header, &h, sizeof(h));
	assert_string_equal(import_qcow2(c, 3 * CLUSTER, text), "ready");
	h.size = htobe64((1ull << 44) + 512);
	memcpy(c->header, &h, sizeof(h));
	assert_non_null(strstr(import_qcow2(c, 3 * CLUSTER, text), "larger than 16 TiB"));
	free(c);
}

// What cannot be read is told, and takes nothing with it.
static void damaged(void **state)
{
	char text[1400], path[128];

	write_file(file, "content", 7, MIB);
	assert_string_equal(import(raw("one", file), text), "ready");
	snprintf(path, sizeof(path), "%s/images/one.json", dir);
	write_file(path, "{\"name\": \"one\"", 14, 14);
	close_images();
	open_images();
	assert_int_equal(n_files("images/blobs"), 1);
	json_t *o = show("one");
	assert_string_equal(json_string_value(json_object_get(o, "state")), "failed");
	assert_non_null(strstr(json_string_value(json_object_get(o, "trouble")),
		"/images/one.json is damaged; `insula image delete one` removes it"));
	json_decref(o);
	assert_int_equal(images_delete(images, "one", text, sizeof(text)), 0);
	close_images();
	open_images();
	assert_int_equal(n_files("images/blobs"), 0);
}

// Away in a moment, whatever the child is at.
static void ended(void **state)
{
	char text[1400];
	json_t *definition = raw("one", file);

	write_file(file, "content", 7, 4096ull * MIB);
	assert_int_equal(images_import(images, definition, text, sizeof(text)), 0);
	assert_int_equal(images_import(images, definition, text, sizeof(text)), -EBUSY);
	json_decref(definition);
	assert_int_equal(images_delete(images, "one", text, sizeof(text)), 0);
	assert_null(show("one"));
	assert_int_equal(n_files("images/blobs"), 0);
}

// A small file system of its own; false: this user may not mount.
static bool small_disk(const char *folder)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", folder, "tmpfs", 0, "size=2m") == 0;
}

static void fill(uint64_t size, uint64_t length)
{
	char *content = malloc(size);

	memset(content, 'f', size);
	write_file(file, content, size, length);
	free(content);
}

static void full_disk(void **state)
{
	char text[1400], path[IMAGE_PATH_SIZE], folder[100];

	close_images();
	snprintf(folder, sizeof(folder), "%s/images", dir);
	bool small = small_disk(folder);
	open_images();
	if (!small)
		skip();
	fill(MIB, MIB);
	assert_string_equal(import(raw("one", file), text), "ready");
	fill(3 * MIB, 3 * MIB);
	assert_non_null(strstr(import(raw("two", file), text), "No space left on device"));
	assert_int_equal(n_files("images/blobs"), 1);
	assert_int_equal(access(blob_of("one", path), F_OK), 0);
	close_images();
	umount(folder);
	open_images();
}

// Killed anywhere in an import, with the child: afterwards the image is there and whole, or it is
// not, and nothing else is.
static void killed(void **state)
{
	char text[1400], path[IMAGE_PATH_SIZE], *content = malloc(2 * MIB);
	unsigned whole = 0;
	struct timespec begin, end;
	uint64_t whole_ns = 0;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	memset(content, 'k', 2 * MIB);
	write_file(file, content, 2 * MIB, 2 * MIB);
	free(content);
	for (int i = 0; i <= ROUNDS; i++) {
		struct image image;
		struct stat st;
		int status;

		close_images();
		clock_gettime(CLOCK_MONOTONIC, &begin);
		pid_t pid = fork();
		if (pid == 0) {
			open_images();
			import(raw("one", file), text);
			_exit(0);
		}
		if (i > 0) { // the first one tells how long it takes
			struct timespec moment = { .tv_nsec = (long)(whole_ns * (unsigned)i /
								     ROUNDS) };

			nanosleep(&moment, NULL);
			kill(pid, SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (waitpid(-1, &status, 0) > 0) // what it has left behind dies, too
			;
		clock_gettime(CLOCK_MONOTONIC, &end);
		if (i == 0)
			whole_ns = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u +
				   (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
		open_images();
		int r = image_store_get(images_store(images), "one", &image);
		assert_int_equal(n_files("images/blobs"), r == 0);
		if (r < 0)
			continue;
		whole++;
		assert_int_equal(stat(blob_of("one", path), &st), 0);
		assert_int_equal(st.st_size, 2 * MIB);
		assert_int_equal(images_delete(images, "one", text, sizeof(text)), 0);
	}
	print_message("%u of %d were whole, %llu us\n", whole, ROUNDS + 1,
		(unsigned long long)whole_ns / 1000);
	assert_true(whole > 0 && whole < ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(imports, setup, teardown),
		cmocka_unit_test_setup_teardown(shares, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(qcow2, setup, teardown),
		cmocka_unit_test_setup_teardown(qcow2_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(qcow2_header, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(ended, setup, teardown),
		cmocka_unit_test_setup_teardown(killed, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
