// SPDX-License-Identifier: BSD-3-Clause
// insula-switch --replay: what `insula replay` starts as a child, with policies it has compiled.
// One thread, no sockets, no privileges, no clock.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vswitch/eal.h"
#include "vswitch/replay_compare.h"
#include "vswitch/replay_list.h"

enum { REPLAY_REFUSED = 1, REPLAY_USAGE = 2, REPLAY_DIFFERS = 1, REPLAY_TROUBLE = 2 };

struct arguments {
	const char *policy, *against, *out;
	struct replay_input *inputs;
	unsigned n_inputs, burst, n_workers;
	uint64_t seed;
	struct tables_limits limits[2]; // of policy and against; all 0: the defaults
	bool json;
};

// Stands before the book of verdicts: which captures are those of other MACs?
struct tally {
	void (*verdict)(void *arg, const struct replay *r, const struct replay_verdict *v);
	void *arg;
	struct {
		uint64_t n, foreign; // packets, and those the guard dropped for their source MAC
	} * inputs;
};

struct view {
	void *data;
	size_t size;
};

// "PORT=FILE".
static bool take_input(struct arguments *a, char *text)
{
	char *equals = strchr(text, '=');
	struct replay_input *grown = realloc(a->inputs, (a->n_inputs + 1) * sizeof(*a->inputs));

	if (!grown || !equals)
		return false;
	a->inputs = grown;
	*equals = 0;
	a->inputs[a->n_inputs++] = (struct replay_input){ text, equals + 1 };
	return true;
}

// The value of an option from 1 to max; 0 after saying what is wrong with it.
static unsigned number_of(const char *option, const char *text, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && *end == '\0' && n >= 1 && n <= max)
		return (unsigned)n;
	fprintf(stderr, "insula replay: %s is %s; 1 to %u is possible\n", option, text, max);
	return 0;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = { { "policy", required_argument, NULL, 'p' },
		{ "against", required_argument, NULL, 'a' }, { "in", required_argument, NULL, 'i' },
		{ "out", required_argument, NULL, 'o' }, { "seed", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' }, { "burst", required_argument, NULL, 'b' },
		{ "workers", required_argument, NULL, 'w' },
		{ "sessions", required_argument, NULL, 'n' },
		{ "against-sessions", required_argument, NULL, 'N' }, { 0 } };
	bool ok = true;
	int c;

	*a = (struct arguments){ .burst = 1, .n_workers = 1 };
	while (ok && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'p')
			a->policy = optarg;
		else if (c == 'a')
			a->against = optarg;
		else if (c == 'i')
			ok = take_input(a, optarg);
		else if (c == 'o')
			a->out = optarg;
		else if (c == 's')
			a->seed = strtoull(optarg, NULL, 10);
		else if (c == 'n' || c == 'N')
			ok = tables_limits_parse(optarg, &a->limits[c == 'N']);
		else if (c == 'j')
			a->json = true;
		else if (c == 'b')
			ok = (a->burst = number_of("--burst", optarg, BURST_MAX)) > 0;
		else if (c == 'w')
			ok = (a->n_workers = number_of("--workers", optarg, WORKER_MAX)) > 0;
		else
			ok = false;
	}
	if (ok && (a->policy == NULL || optind != argc))
		fputs("insula-switch --replay is started by `insula replay`; see insula(1)\n",
			stderr);
	return ok && a->policy && optind == argc;
}

static int map(const char *path, struct view *v)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
	} else {
		v->size = (size_t)st.st_size;
		v->data = mmap(NULL, v->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (v->data == MAP_FAILED) {
			r = -errno;
			v->data = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return r;
}

static void count(void *tally, const struct replay *r, const struct replay_verdict *v)
{
	struct tally *t = tally;

	t->inputs[v->frame->input].n++;
	t->inputs[v->frame->input].foreign += v->drop == DROP_GUARD_SRC_MAC;
	t->verdict(t->arg, r, v);
}

static void warn_of_foreign(const struct arguments *a, const struct tally *t)
{
	for (unsigned i = 0; i < a->n_inputs; i++)
		if (t->inputs[i].n && t->inputs[i].n == t->inputs[i].foreign)
			fprintf(stderr,
				"insula replay: %s: all packets are dropped as guard_src_mac; "
				"their "
				"MACs are not those of this policy: --state-dir /var/lib/insula?\n",
				a->inputs[i].port);
}

static struct replay_options options_of(const struct arguments *a, const struct view *policy,
	const struct replay_frames *f, struct tally *t)
{
	return (struct replay_options){ .policy = policy->data,
		.policy_size = policy->size,
		.frames = f,
		.out_dir = a->out,
		.seed = a->seed,
		.limits = a->limits[0],
		.burst = a->burst,
		.n_workers = a->n_workers,
		.verdict = count,
		.arg = t };
}

// Both policies, and what ends otherwise. 1 if anything does, 0, or -errno.
static int run_against(const struct arguments *a, const struct view policy[2],
	const struct replay_frames *f, struct tally *t, char *err, size_t err_size)
{
	struct replay_compare *c;
	int r = replay_compare_new(f, &c);

	if (r < 0) {
		snprintf(err, err_size, "out of memory");
		return r;
	}
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		struct replay_options o = options_of(a, &policy[i], f, t);

		o.ports_may_lack = true;
		o.limits = a->limits[i];
		t->verdict = i ? replay_compare_then : replay_compare_old;
		t->arg = c;
		r = replay_run(&o, err, err_size);
	}
	if (r == 0)
		r = replay_compare_done(c, err, err_size);
	if (r == 0)
		r = replay_compare_print(c, a->json) > 0;
	replay_compare_free(c);
	return r;
}

static int run(const struct arguments *a, const struct view *policy, const struct replay_frames *f,
	struct tally *t, char *err, size_t err_size)
{
	struct replay_options o = options_of(a, policy, f, t);
	struct replay_list *list;
	char path[4096], ignored[64];
	int r = a->out ? replay_output_dir(a->out, err, err_size) : 0, closed;

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/verdicts.json", a->out ? a->out : "");
	r = replay_list_new(a->out ? path : NULL, &list, err, err_size);
	if (r < 0 && a->out)
		replay_output_remove(a->out);
	if (r < 0)
		return r;
	t->verdict = replay_list_add;
	t->arg = list;
	r = replay_run(&o, err, err_size);
	if (r == 0)
		replay_list_print(list, a->json);
	closed = replay_list_close(list, r < 0 ? ignored : err, r < 0 ? sizeof(ignored) : err_size);
	r = r < 0 ? r : closed;
	if (r < 0 && a->out)
		replay_output_remove(a->out);
	return r;
}

// DPDK wants a folder of its own, although it keeps nothing there. Who ends us meanwhile waits
// until it is gone.
static int start_dpdk(unsigned memory_mib)
{
	const char *scratch = getenv("TMPDIR");
	char dir[64], path[sizeof(dir) + 16];
	sigset_t ends, before;
	int r;

	sigemptyset(&ends);
	sigaddset(&ends, SIGHUP);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGQUIT);
	sigaddset(&ends, SIGTERM);
	snprintf(dir, sizeof(dir), "%s/insula-replay-XXXXXX",
		scratch && *scratch && strlen(scratch) < sizeof(dir) - 32 ? scratch : "/tmp");
	sigprocmask(SIG_BLOCK, &ends, &before);
	r = mkdtemp(dir) ? eal_start(memory_mib, false, dir) : -errno;
	for (const char *const *p = (const char *const[]){ "/dpdk/rte", "/dpdk", "", NULL }; *p;
		p++) {
		snprintf(path, sizeof(path), "%s%s", dir, *p);
		rmdir(path);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

// What was printed has arrived. 0, or -errno with a sentence in err.
static int flush_output(char *err, size_t err_size)
{
	int e = fflush(stdout) == 0 ? 0 : errno;

	if (e == 0 && ferror(stdout)) // earlier, and nobody has kept why
		e = EIO;
	if (e)
		snprintf(err, err_size, "standard output: %s", strerror(e));
	return -e;
}

// Everything behind the arguments. 1 if flows end otherwise, 0, or -errno.
static int replay(const struct arguments *a, char *err, size_t err_size)
{
	const char *const paths[2] = { a->policy, a->against };
	struct replay_frames frames = { 0 };
	struct view policies[2] = { 0 };
	struct tally t = { .inputs = calloc(a->n_inputs + 1, sizeof(*t.inputs)) };
	int r = t.inputs ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < 2 && paths[i]; i++)
		r = map(paths[i], &policies[i]);
	if (r == 0)
		r = replay_frames_load(a->inputs, a->n_inputs, &frames, err, err_size);
	if (r == 0)
		r = start_dpdk(REPLAY_MEMORY_MIB + REPLAY_WORKER_MEMORY_MIB * a->n_workers);
	if (r == 0)
		r = a->against ? run_against(a, policies, &frames, &t, err, err_size)
			       : run(a, policies, &frames, &t, err, err_size);
	if (r >= 0)
		warn_of_foreign(a, &t);
	free(t.inputs);
	replay_frames_free(&frames);
	for (unsigned i = 0; i < 2; i++)
		if (policies[i].data)
			munmap(policies[i].data, policies[i].size);
	if (r < 0 && !err[0])
		snprintf(err, err_size, "%s", strerror(-r));
	return r;
}

int replay_main(int argc, char **argv)
{
	struct arguments a;
	char err[512] = "";
	int r, flushed;

	if (!parse(argc, argv, &a))
		return REPLAY_USAGE;
	r = replay(&a, err, sizeof(err));
	free(a.inputs);
	if (r >= 0 && (flushed = flush_output(err, sizeof(err))) < 0)
		r = flushed;
	if (r < 0)
		fprintf(stderr, "insula replay: %s\n", err);
	if (r < 0)
		return a.against ? REPLAY_TROUBLE : REPLAY_REFUSED;
	return r ? REPLAY_DIFFERS : 0;
}
