// SPDX-License-Identifier: BSD-3-Clause
// Runs every case of pcap-fixtures/TESTLIST through the pipeline, in one process, and speaks TAP.
// Each runs three times: packet by packet; in bursts of 7 over 2 workers; of 32 over 4: the same
// bytes are wanted. Usage: run_fixtures [--bless] [--quick] [NAME...]; see
// pcap-fixtures/README.md
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "control/policy_file.h"
#include "tests/replay/fixture.h"
#include "vswitch/eal.h"
#include "vswitch/replay_list.h"

enum { MEMORY_MIB = REPLAY_MEMORY_MIB + 4 * REPLAY_WORKER_MEMORY_MIB };

struct counts { // of a run, by port and reason
	struct fixture_drop *v;
	unsigned n;
	struct replay_list *list;
};

struct runner {
	char root[FIXTURE_PATH]; // pcap-fixtures
	char work[64]; // where captures go
	bool bless;
	bool quick; // for mutants.py: see variants_agree; stop at the first case that fails
	bool hit[DROP_COUNT];
	struct tables_limits limits; // of the case's policy
};

static bool compile(struct runner *run, const char *name, void **ret_policy, size_t *ret_size)
{
	char path[2 * FIXTURE_PATH], err[512] = "";
	struct model_errors errors = { 0 };
	struct switch_settings settings;
	struct store *store;
	size_t size;
	char *yaml;
	int r = -EINVAL;

	snprintf(path, sizeof(path), "%s/policies/%s.yaml", run->root, name);
	yaml = fixture_read(path, &size);
	if (yaml && store_open_memory(NULL, &store, err, sizeof(err)) == 0) {
		r = policy_file_compile(store, path, yaml, size, ret_policy, ret_size, &settings,
			&errors, err, sizeof(err));
		store_close(store);
	}
	if (r == 0)
		run->limits = (struct tables_limits){ .sessions = settings.sessions,
			.per_tenant = settings.sessions_per_tenant,
			.per_port = settings.sessions_per_port };
	for (unsigned i = 0; i < errors.n; i++)
		printf("%s\n", errors.text[i]);
	if (err[0])
		printf("%s\n", err);
	model_errors_free(&errors);
	free(yaml);
	return r == 0;
}

// Empties and removes a folder of captures: PORT.pcapng and TENANT/PORT.pcapng.
static void remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char below[2 * FIXTURE_PATH];

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		if (unlink(below) < 0)
			remove_tree(below);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

static void count_drop(void *arg, const struct replay *r, const struct replay_verdict *v)
{
	struct counts *c = arg;
	const char *port = v->in_port ? replay_port_name(r, v->in_port) : "?";
	struct fixture_drop *grown;

	replay_list_add(c->list, r, v);
	if (v->drop == DROP_NONE)
		return;
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->v[i].port, port) == 0 &&
			strcmp(c->v[i].reason, drop_name(v->drop)) == 0) {
			c->v[i].count++;
			return;
		}
	grown = realloc(c->v, (c->n + 1) * sizeof(*grown));
	if (!grown)
		abort();
	c->v = grown;
	c->v[c->n++] = (struct fixture_drop){ strdup(port), drop_name(v->drop), 1 };
}

static void counts_free(struct counts *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free((char *)(uintptr_t)c->v[i].port);
	free(c->v);
	*c = (struct counts){ 0 };
}

static bool drops_match(const struct fixture *f, const struct counts *c)
{
	bool ok = true;

	for (unsigned i = 0; i < f->n_drops; i++) {
		unsigned long got = 0;

		for (unsigned k = 0; k < c->n; k++)
			if (strcmp(f->drops[i].port, c->v[k].port) == 0 &&
				strcmp(f->drops[i].reason, c->v[k].reason) == 0)
				got = c->v[k].count;
		if (got != f->drops[i].count) {
			printf("%s:%s: %lu expected, %lu dropped\n", f->drops[i].port,
				f->drops[i].reason, f->drops[i].count, got);
			ok = false;
		}
	}
	for (unsigned k = 0; k < c->n; k++) {
		bool expected = false;

		for (unsigned i = 0; i < f->n_drops; i++)
			expected = expected ||
				   (strcmp(f->drops[i].port, c->v[k].port) == 0 &&
					   strcmp(f->drops[i].reason, c->v[k].reason) == 0);
		if (!expected)
			printf("%s:%s=%lu: not expected\n", c->v[k].port, c->v[k].reason,
				c->v[k].count);
		ok = ok && expected;
	}
	return ok;
}

struct variant {
	const char *name;
	unsigned burst, n_workers;
};

// The last is for --quick alone: workers' pools are most of what a run costs.
enum { PLAIN, BURST7, BURST32, QUICK, VARIANTS };
static const struct variant variants[VARIANTS] = { [PLAIN] = { "plain", 1, 1 },
	[BURST7] = { "burst7", 7, 2 },
	[BURST32] = { "burst32", 32, 4 },
	[QUICK] = { "quick", 32, 1 } };

// One run into WORK/VARIANT; false after saying what failed.
static bool run_variant(const struct runner *run, const struct variant *variant,
	const struct replay_frames *frames, const void *policy, size_t size, struct counts *c)
{
	char dir[FIXTURE_PATH], path[2 * FIXTURE_PATH], err[512] = "";
	struct replay_options o = { .policy = policy,
		.policy_size = size,
		.frames = frames,
		.out_dir = dir,
		.burst = variant->burst,
		.n_workers = variant->n_workers,
		.limits = run->limits,
		.verdict = count_drop,
		.arg = c };
	int r;

	snprintf(dir, sizeof(dir), "%s/%s", run->work, variant->name);
	snprintf(path, sizeof(path), "%s/verdicts.json", dir);
	r = replay_output_dir(dir, err, sizeof(err));
	if (r == 0)
		r = replay_list_new(path, &c->list, err, sizeof(err));
	if (r == 0) {
		r = replay_run(&o, err, sizeof(err));
		if (replay_list_close(c->list, path, sizeof(path)) < 0)
			r = -EIO;
	}
	if (r < 0)
		printf("%s: %s\n", variant->name, err);
	return r == 0;
}

// Does `got` hold what `want` holds, and nothing else? Folders of captures.
static bool same_tree(const char *want, const char *got)
{
	DIR *d = opendir(got);
	struct dirent *e;
	char a[3 * FIXTURE_PATH], b[3 * FIXTURE_PATH];
	struct stat st;
	bool same = true;

	while (d && (e = readdir(d)) && same) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(a, sizeof(a), "%s/%s", want, e->d_name);
		snprintf(b, sizeof(b), "%s/%s", got, e->d_name);
		same = stat(b, &st) == 0 &&
		       (S_ISDIR(st.st_mode) ? same_tree(a, b) && same_tree(b, a)
					    : fixture_same_bytes(a, b));
		if (!same)
			printf("%s and %s differ\n", a, b);
	}
	if (d)
		closedir(d);
	return same && d;
}

static bool expected_output(const struct fixture *f, const char *port)
{
	for (unsigned i = 0; i < f->n_outputs; i++)
		if (strcmp(f->outputs[i], port) == 0)
			return true;
	return false;
}

// Captures that TESTLIST does not know. tenant: of the folder, "" at the top.
static bool no_others(const struct fixture *f, const char *dir, const char *tenant)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[2 * FIXTURE_PATH], port[2 * FIXTURE_PATH];
	bool ok = true;

	while (d && (e = readdir(d))) {
		char *dot = strstr(e->d_name, ".pcapng");

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		snprintf(port, sizeof(port), "%s%s%.*s", tenant, *tenant ? "/" : "",
			dot ? (int)(dot - e->d_name) : 0, e->d_name);
		if (e->d_name[0] == '.' || strcmp(e->d_name, "verdicts.json") == 0)
			continue;
		if (!dot) {
			ok = no_others(f, path, e->d_name) && ok;
		} else if (!expected_output(f, port)) {
			printf("%s: nothing was to leave there\n", port);
			fixture_show("got", path, 1);
			ok = false;
		}
	}
	if (d)
		closedir(d);
	return ok;
}

static void make_parents(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(path, 0777);
		*p = '/';
	}
}

static bool copy(const char *from, char *to)
{
	size_t size;
	char *data = fixture_read(from, &size);
	FILE *f;
	bool ok;

	if (!data)
		return false;
	make_parents(to);
	f = fopen(to, "we");
	ok = f && fwrite(data, 1, size, f) == size;
	ok = f && fclose(f) == 0 && ok;
	free(data);
	if (!ok)
		printf("%s: %s\n", to, strerror(errno));
	return ok;
}

static bool outputs_match(const struct runner *run, const struct fixture *f)
{
	char want[3 * FIXTURE_PATH], got[2 * FIXTURE_PATH], dir[FIXTURE_PATH];
	bool ok = true;

	if (run->bless) {
		snprintf(want, sizeof(want), "%s/out/%s", run->root, f->name);
		remove_tree(want);
	}
	for (unsigned i = 0; i < f->n_outputs; i++) {
		snprintf(want, sizeof(want), "%s/out/%s/%s.pcapng", run->root, f->name,
			f->outputs[i]);
		snprintf(got, sizeof(got), "%s/plain/%s.pcapng", run->work, f->outputs[i]);
		if (access(got, R_OK) < 0) {
			printf("%s: nothing left there\n", f->outputs[i]);
			ok = false;
		} else if (run->bless ? !copy(got, want) : !fixture_same_capture(want, got)) {
			ok = false;
		}
	}
	snprintf(dir, sizeof(dir), "%s/plain", run->work);
	return no_others(f, dir, "") && ok;
}

// The verdicts of what was dropped: who looks for a drop wants the packet.
static void print_verdicts(const struct runner *run)
{
	char path[FIXTURE_PATH];
	size_t size;
	char *text;

	snprintf(path, sizeof(path), "%s/plain/verdicts.json", run->work);
	text = fixture_read(path, &size);
	if (text)
		printf("verdicts:\n%s", text);
	free(text);
}

static void note_hits(struct runner *run, const struct counts *c)
{
	for (unsigned i = 0; i < c->n; i++)
		for (unsigned d = 1; d < DROP_COUNT; d++)
			if (strcmp(drop_name(d), c->v[i].reason) == 0)
				run->hit[d] = true;
}

static bool variants_agree(const struct runner *run, const struct fixture *f,
	const struct replay_frames *frames, const void *policy, size_t size)
{
	char plain[FIXTURE_PATH], other[FIXTURE_PATH];
	bool ok = true;

	snprintf(plain, sizeof(plain), "%s/plain", run->work);
	for (unsigned i = run->quick ? QUICK : BURST7; ok && i < (run->quick ? VARIANTS : QUICK);
		i++) {
		struct counts c = { 0 };

		snprintf(other, sizeof(other), "%s/%s", run->work, variants[i].name);
		ok = run_variant(run, &variants[i], frames, policy, size, &c) &&
		     same_tree(plain, other) && same_tree(other, plain);
		counts_free(&c);
	}
	return ok;
}

static bool run_loaded(struct runner *run, const struct fixture *f,
	const struct replay_frames *frames, const void *policy, size_t size)
{
	struct counts c = { 0 };
	bool ok = run_variant(run, &variants[PLAIN], frames, policy, size, &c);

	if (ok) {
		bool drops = drops_match(f, &c);

		ok = outputs_match(run, f) && drops;
		if (!drops)
			print_verdicts(run);
		note_hits(run, &c);
		if (ok || !run->quick)
			ok = variants_agree(run, f, frames, policy, size) && ok;
	}
	counts_free(&c);
	return ok;
}

static bool run_case(struct runner *run, const struct fixture *f)
{
	struct replay_input inputs[FIXTURE_WORDS];
	char paths[FIXTURE_WORDS][2 * FIXTURE_PATH], err[512] = "";
	struct replay_frames frames;
	void *policy;
	size_t size;
	bool ok;

	for (unsigned i = 0; i < f->n_inputs; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/in/%s", run->root, f->inputs[i].path);
		inputs[i] = (struct replay_input){ f->inputs[i].port, paths[i] };
	}
	if (!compile(run, f->policy, &policy, &size))
		return false;
	ok = replay_frames_load(inputs, f->n_inputs, &frames, err, sizeof(err)) == 0;
	if (ok) {
		ok = run_loaded(run, f, &frames, policy, size);
		replay_frames_free(&frames);
	} else {
		printf("%s\n", err);
	}
	free(policy);
	for (unsigned i = 0; i < VARIANTS; i++) {
		snprintf(paths[0], sizeof(paths[0]), "%s/%s", run->work, variants[i].name);
		remove_tree(paths[0]);
	}
	return ok;
}

static bool wanted(const struct fixture *f, int n, char **patterns)
{
	for (int i = 0; i < n; i++)
		if (fnmatch(patterns[i], f->name, 0) == 0)
			return true;
	return n == 0;
}

// Is the reason on the list of those without a case? A line is the reason's name, the test that
// meets it instead, and why.
static const char *excused(const char *list, const char *reason)
{
	size_t n = strlen(reason);

	for (const char *at = list; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
		if (strncmp(at, reason, n) == 0 && at[n] == ' ')
			return at + n;
	return NULL;
}

// Does the test that the line names speak of the reason?
static bool met_elsewhere(const struct runner *run, const char *line, const char *reason)
{
	char name[FIXTURE_PATH] = "", path[3 * FIXTURE_PATH];
	bool met = false;
	size_t size;
	char *text;

	sscanf(line, "%1023s", name);
	snprintf(path, sizeof(path), "%s/../tests/%s", run->root, name);
	text = fixture_read(path, &size);
	if (text)
		met = strcasestr(text, reason);
	free(text);
	if (!met)
		printf("%s: UNREACHED names tests/%s, which has no word of it\n", reason, name);
	return met;
}

// Every reason of drop.h is met by a case, or pcap-fixtures/UNREACHED says why not.
static bool every_reason(const struct runner *run)
{
	char path[2 * FIXTURE_PATH];
	size_t size;
	char *list;
	bool ok = true;

	snprintf(path, sizeof(path), "%s/UNREACHED", run->root);
	list = fixture_read(path, &size);
	for (unsigned d = 1; d < DROP_COUNT; d++) {
		const char *line = list ? excused(list, drop_name(d)) : NULL;
		bool listed = line;

		if (run->hit[d] == listed)
			printf("%s: %s\n", drop_name(d),
				listed ? "a case drops for it; take it out of UNREACHED"
				       : "no case drops for it, and UNREACHED does not say why");
		ok = ok && run->hit[d] != listed;
		if (listed)
			ok = met_elsewhere(run, line, drop_name(d)) && ok;
	}
	free(list);
	return ok;
}

static int run_all(struct runner *run, int n_patterns, char **patterns)
{
	char path[2 * FIXTURE_PATH];
	struct fixture *list;
	unsigned n, failed = 0, number = 0, planned = 0;

	snprintf(path, sizeof(path), "%s/TESTLIST", run->root);
	list = fixture_list_read(path, &n);
	if (!list)
		return 1;
	for (unsigned i = 0; i < n; i++)
		planned += wanted(&list[i], n_patterns, patterns);
	planned += n_patterns == 0;
	printf("1..%u\n", planned);
	for (unsigned i = 0; i < n; i++) {
		bool ok;

		if (!wanted(&list[i], n_patterns, patterns))
			continue;
		if (fixture_begins)
			fixture_begins(list[i].name);
		ok = run_case(run, &list[i]);
		if (fixture_ends)
			fixture_ends(list[i].name);
		printf("%sok %u - %s\n", ok ? "" : "not ", ++number, list[i].name);
		fflush(stdout);
		failed += !ok;
		if (failed && run->quick)
			break;
	}
	if (n_patterns == 0 && !(failed && run->quick)) {
		bool ok = every_reason(run);

		printf("%sok %u - every_reason\n", ok ? "" : "not ", ++number);
		failed += !ok;
	}
	fixture_list_free(list, n);
	return failed > 100 ? 100 : (int)failed;
}

int main(int argc, char **argv)
{
	const char *root = getenv("INSULA_SOURCE_ROOT");
	const char *scratch = getenv("TMPDIR");
	struct runner run = { 0 };
	char dir[FIXTURE_PATH];
	int first = 1, failed;

	for (; first < argc && argv[first][0] == '-'; first++) {
		run.bless = run.bless || strcmp(argv[first], "--bless") == 0;
		run.quick = run.quick || strcmp(argv[first], "--quick") == 0;
	}
	snprintf(run.root, sizeof(run.root), "%s/pcap-fixtures", root ? root : ".");
	snprintf(run.work, sizeof(run.work), "%s/insula-fixtures-XXXXXX",
		scratch && strlen(scratch) < sizeof(run.work) - 32 ? scratch : "/tmp");
	if (!mkdtemp(run.work)) {
		perror(run.work);
		return 1;
	}
	if (eal_start(MEMORY_MIB, false, run.work) < 0) {
		printf("DPDK does not start\n");
		return 1;
	}
	snprintf(dir, sizeof(dir), "%s/dpdk", run.work);
	remove_tree(dir);
	failed = run_all(&run, argc - first, argv + first);
	remove_tree(run.work);
	return failed;
}
