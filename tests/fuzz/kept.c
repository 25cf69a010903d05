// SPDX-License-Identifier: BSD-3-Clause
// A fuzz target without a fuzzer: runs it on files and folders given as arguments. Linked with each
// fuzz_NAME.c in every build but the fuzzers' own, where meson runs it on what the tree keeps of
// that target (corpus/NAME, crashes/NAME) as a unit test. TAP: all of a corpus is one case, each
// crash is one of its own. A target that aborts ends the run; the last line names the file.
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_cases;

// The target gets a heap block of exactly the file's size.
static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;

	if (f == NULL || fstat(fileno(f), &st) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	if (data == NULL || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
		fprintf(stderr, "%s: cannot be read whole\n", path);
		exit(1);
	}
	fclose(f);
	printf("# %s\n", path);
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
}

static int is_input(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void pass(const char *name)
{
	printf("ok %d - %s\n", ++n_cases, name);
}

// each = every file is a case, and there may be none; else all are one. Returns the number of
// cases; count = does no more than that.
static int run_folder(const char *path, bool each, bool count)
{
	struct dirent **names;
	int n = scandir(path, &names, is_input, alphasort);

	if (n < 0 && errno == ENOENT && each)
		return 0;
	if (n <= 0) {
		fprintf(stderr, "%s: %s\n", path, n < 0 ? strerror(errno) : "is empty");
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (!count) {
			run_file(file);
			if (each)
				pass(names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	if (!each && !count)
		pass("corpus");
	return each ? n : 1;
}

static bool is_crashes(const char *path)
{
	return strstr(path, "/crashes/") != NULL;
}

// What is not there is a target's folder of crashes: not every target has had one.
static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? S_ISDIR(st.st_mode) : is_crashes(path);
}

int main(int argc, char **argv)
{
	int n = 0;

	setvbuf(stdout, NULL, _IOLBF, 0); // what a target that aborts was at is told
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++)
		n += is_folder(argv[i]) ? run_folder(argv[i], is_crashes(argv[i]), true) : 1;
	printf("1..%d\n", n);
	if (LLVMFuzzerInitialize != NULL && LLVMFuzzerInitialize(&argc, &argv) != 0)
		return 1;
	for (int i = 1; i < argc; i++) {
		if (is_folder(argv[i])) {
			run_folder(argv[i], is_crashes(argv[i]), false);
			continue;
		}
		run_file(argv[i]);
		pass(argv[i]);
	}
	return 0;
}
