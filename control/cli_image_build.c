// SPDX-License-Identifier: BSD-3-Clause
// `insula image build`: a Debian made by mmdebstrap, put into an ext4 file system without mounting
// anything (mke2fs -d), imported with its kernel and initrd. It is booted without boot loader or
// partitions. What takes its time happens in this process' children; insulad only imports.
#include "control/cli.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 64, MAX_SOURCES = 16, SOURCE_SIZE = 512, PATH_SIZE = 512 };

#define DEFAULT_SIZE "2GiB"
#define PACKAGES \
	"linux-image-cloud-amd64,initramfs-tools,systemd-sysv,systemd-resolved,udev,dbus,kmod," \
	"cloud-init,openssh-server,ca-certificates,e2fsprogs,locales,iproute2,iputils-ping," \
	"procps,sudo"

static const struct distribution {
	const char *name, *suite;
} distributions[] = { { "debian-12", "bookworm" } };

// In the order they are run, by a shell whose $1 is the new root. What made this host is not to be
// found in the image, and what a guest makes of its own at its first boot is not there yet.
static const char *const hooks[] = {
	"echo '/dev/vda / ext4 defaults,discard 0 1' >\"$1/etc/fstab\"",
	"echo 'datasource_list: [NoCloud, None]' >\"$1/etc/cloud/cloud.cfg.d/90_insula.cfg\"",
	"chroot \"$1\" systemctl enable systemd-networkd systemd-resolved",
	"ln -sf ../run/systemd/resolve/stub-resolv.conf \"$1/etc/resolv.conf\"",
	"rm -f \"$1/etc/hostname\" \"$1\"/etc/ssh/ssh_host_* \"$1/var/lib/dbus/machine-id\"",
	": >\"$1/etc/machine-id\"",
};

struct build {
	const struct distribution *of;
	const char *name;
	char folder[PATH_SIZE], root[PATH_SIZE + 16], disk[PATH_SIZE + 16];
	char size[32]; // in KiB, as mke2fs takes it
	char sources[MAX_SOURCES][SOURCE_SIZE];
	unsigned n_sources;
};

// --- programs ---

// Their output is for people: on standard error, as standard output has the result. An exit status;
// -1: it was killed, or could not be started.
static int run(const char *const *argv)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		cli_error("%s: %m", argv[0]);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_installed(const char *program, const char *package)
{
	const char *at = getenv("PATH");
	char path[PATH_SIZE];

	for (size_t n; at != NULL && *at; at += n + (at[n] == ':')) {
		n = strcspn(at, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)n, at, program);
		if (n > 0 && n < PATH_SIZE && access(path, X_OK) == 0)
			return true;
	}
	cli_error("%s is missing: apt-get install %s", program, package);
	return false;
}

static void tell(const struct cli *c, const char *what)
{
	if (c->output == CLI_TABLE)
		fprintf(stderr, "insula: %s ...\n", what);
}

// --- where packages come from ---

// "REPO_URI SUITE COMPONENT" of the host's own sources, if it is of the same suite.
static void take_source(struct build *b, const char *line)
{
	char uri[256], suite[64], component[64], source[SOURCE_SIZE];
	size_t n = strlen(b->of->suite);

	if (sscanf(line, "%255s %63s %63s", uri, suite, component) != 3 ||
		strncmp(suite, b->of->suite, n) != 0 || (suite[n] && suite[n] != '-') ||
		strcmp(component, "main") != 0 || !strstr(uri, "debian"))
		return;
	snprintf(source, sizeof(source), "deb %s %s %s", uri, suite, component);
	for (unsigned i = 0; i < b->n_sources; i++)
		if (strcmp(b->sources[i], source) == 0)
			return;
	if (b->n_sources < MAX_SOURCES)
		snprintf(b->sources[b->n_sources++], SOURCE_SIZE, "%s", source);
}

// Else mmdebstrap's own default is used, deb.debian.org.
static void find_sources(struct build *b)
{
	char line[600];
	FILE *f = popen("apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' "
			"'Created-By: Packages' 2>/dev/null",
		"re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		take_source(b, line);
	if (f != NULL)
		pclose(f);
}

// --- its steps ---

static bool bootstrap(const struct cli *c, struct build *b)
{
	const char *argv[MAX_WORDS];
	char *hook[sizeof(hooks) / sizeof(hooks[0])], *include = NULL;
	unsigned n = 0;
	bool good = true;

	if (asprintf(&include, "--include=" PACKAGES "%s%s", c->image.packages != NULL ? "," : "",
		    c->image.packages != NULL ? c->image.packages : "") < 0)
		return false;
	argv[n++] = "mmdebstrap";
	argv[n++] = "--format=directory";
	argv[n++] = "--variant=minbase";
	argv[n++] = include;
	for (unsigned i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		good = asprintf(&hook[i], "--customize-hook=%s", hooks[i]) >= 0 && good;
		argv[n++] = hook[i];
	}
	argv[n++] = b->of->suite;
	argv[n++] = b->root;
	if (c->image.mirror != NULL)
		argv[n++] = c->image.mirror;
	for (unsigned i = 0; c->image.mirror == NULL && i < b->n_sources; i++)
		argv[n++] = b->sources[i];
	argv[n] = NULL;
	good = good && run(argv) == 0;
	for (unsigned i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		free(hook[i]);
	free(include);
	return good;
}

static bool make_disk(const struct build *b)
{
	const char *const argv[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-m", "1",
		"-d", b->root, b->disk, b->size, NULL };
	return run(argv) == 0;
}

// The newest; free() it.
static char *find_boot_file(const struct build *b, const char *pattern)
{
	char path[PATH_SIZE + 64], *found = NULL;
	glob_t g;

	snprintf(path, sizeof(path), "%s/boot/%s", b->root, pattern);
	if (glob(path, 0, NULL, &g) == 0) {
		found = strdup(g.gl_pathv[g.gl_pathc - 1]);
		globfree(&g);
	}
	if (found == NULL)
		cli_error("%s: there is none", path);
	return found;
}

static int import(const struct cli *c, const struct build *b)
{
	char *kernel = find_boot_file(b, "vmlinuz-*"), *initrd = find_boot_file(b, "initrd.img-*");
	const struct cli_import from = { .name = b->name,
		.path = b->disk,
		.format = "raw",
		.kernel = kernel,
		.initrd = initrd,
		.cmdline = "root=/dev/vda rw console=ttyS0" };
	int r = kernel != NULL && initrd != NULL ? cli_image_import_from(c, &from) : CLI_FAILED;

	free(kernel);
	free(initrd);
	return r;
}

static int build(const struct cli *c, struct build *b)
{
	tell(c, "1 of 3: packages, by mmdebstrap");
	if (!bootstrap(c, b)) {
		cli_error("mmdebstrap has failed");
		return CLI_FAILED;
	}
	tell(c, "2 of 3: its file system, by mke2fs");
	if (!make_disk(b)) {
		cli_error("mke2fs has failed; --size SIZE makes a larger one");
		return CLI_FAILED;
	}
	tell(c, "3 of 3: import");
	return import(c, b);
}

// --- the command ---

static bool find_distribution(const char *word, struct build *b)
{
	for (size_t i = 0; i < sizeof(distributions) / sizeof(distributions[0]); i++)
		if (strcmp(distributions[i].name, word) == 0)
			b->of = &distributions[i];
	if (b->of == NULL)
		cli_error("\"%s\" cannot be built; debian-12 can", word);
	return b->of != NULL;
}

// Before the minute that it takes: insulad answers, and has none of this name.
static bool is_free(const struct cli *c, const char *name)
{
	struct cli_reply r;
	bool found = false;
	json_t *o;
	size_t i;

	if (!cli_ask(c, "GET", "/v1/images", NULL, NULL, 0, &r))
		return false;
	json_array_foreach(json_object_get(r.json, "images"), i, o) {
		const char *state = json_string_value(json_object_get(o, "state"));
		const char *its = json_string_value(json_object_get(o, "name"));

		found = found || (its != NULL && strcmp(its, name) == 0 &&
					 (state == NULL || strcmp(state, "failed") != 0));
	}
	cli_reply_free(&r);
	if (found)
		cli_error("there is an image %s already; --name gives this one another", name);
	return !found;
}

// As `memory` in the file.
static bool read_size(const char *size, struct build *b)
{
	uint64_t mib = cli_parse_size(size);

	if (mib == 0)
		cli_error("--size %s: allowed: " CLI_SIZES, size);
	snprintf(b->size, sizeof(b->size), "%lluk", (unsigned long long)mib << 10);
	return mib > 0;
}

static bool make_folder(struct build *b)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(b->folder, sizeof(b->folder), "%.400s/insula-image-XXXXXX",
		tmp != NULL && tmp[0] == '/' ? tmp : "/var/tmp");
	// apt fetches as a user of its own, which has to get there.
	if (mkdtemp(b->folder) == NULL || chmod(b->folder, 0755) < 0) {
		cli_error("%s: %m", b->folder);
		return false;
	}
	snprintf(b->root, sizeof(b->root), "%s/root", b->folder);
	snprintf(b->disk, sizeof(b->disk), "%s/disk", b->folder);
	return true;
}

int cli_image_build(const struct cli *c, int n_args, char *const *args)
{
	struct build b = { .name = c->image.name != NULL ? c->image.name : args[0] };

	if (!find_distribution(args[0], &b) ||
		!read_size(c->image.size != NULL ? c->image.size : DEFAULT_SIZE, &b))
		return CLI_USAGE;
	if (geteuid() != 0) {
		cli_error("image build makes files of all kinds and owners: be root, or use sudo");
		return CLI_FAILED;
	}
	if (!is_installed("mmdebstrap", "mmdebstrap") || !is_installed("mke2fs", "e2fsprogs") ||
		!is_free(c, b.name) || !make_folder(&b))
		return CLI_FAILED;
	signal(SIGINT, SIG_IGN); // what it interrupts fails, and is tidied up after
	find_sources(&b);
	int r = build(c, &b);
	// Not into what an interrupted mmdebstrap has left mounted.
	const char *const tidy[] = { "rm", "-rf", "--one-file-system", b.folder, NULL };
	run(tidy);
	return r;
}
