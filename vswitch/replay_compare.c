// SPDX-License-Identifier: BSD-3-Clause
// Compares the verdicts of two runs, see replay_compare.h. A packet's end is what a user would call
// its verdict: forwarded and where to, behind which address, answered, or dropped and why; the rule
// goes with it, but another rule of the same end is no change. One thread.
#include "vswitch/replay_compare.h"

#include <errno.h>
#include <stdlib.h>
#include "vswitch/replay_text.h"

enum { NONE = UINT32_MAX };

struct words { // each text once, by number
	char **v;
	uint32_t n, room;
	uint32_t *index, mask; // open-addressed by hash; NONE = empty
};

struct end {
	uint32_t text, rule; // words
};

struct past {
	struct end end;
	uint32_t flow; // word
};

struct change {
	uint32_t input, flow;
	struct end old, now;
	uint64_t number, packets; // the first, and how many
};

struct replay_compare {
	const struct replay_frames *frames;
	struct words words;
	struct past *past;
	bool *known; // by input: a policy has its port
	struct change *changes;
	size_t n_changes, room;
	bool no_memory;
	struct replay_text text;
};

static uint64_t hash(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037ull; // FNV-1a

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 1099511628211ull;
	return h;
}

static bool words_grow(struct words *w)
{
	uint32_t room = w->room ? 2 * w->room : 256, mask = 2 * room - 1;
	char **v = realloc(w->v, room * sizeof(*v));
	uint32_t *index = v ? malloc((mask + 1) * sizeof(*index)) : NULL;

	if (v)
		w->v = v;
	if (!index)
		return false;
	memset(index, 0xff, (mask + 1) * sizeof(*index));
	for (uint32_t i = 0; i < w->n; i++) {
		uint32_t at = (uint32_t)hash(v[i], strlen(v[i])) & mask;

		while (index[at] != NONE)
			at = (at + 1) & mask;
		index[at] = i;
	}
	free(w->index);
	w->index = index;
	w->mask = mask;
	w->room = room;
	return true;
}

// The number of what stands in c->text, which is emptied.
static uint32_t word(struct replay_compare *c)
{
	struct words *w = &c->words;
	const char *s = c->text.buf;
	size_t n = c->text.n;
	uint32_t at;

	c->text.n = 0;
	if (w->n == w->room && !words_grow(w)) {
		c->no_memory = true;
		return 0;
	}
	for (at = (uint32_t)hash(s, n) & w->mask; w->index[at] != NONE; at = (at + 1) & w->mask) {
		const char *there = w->v[w->index[at]];

		if (strlen(there) == n && memcmp(there, s, n) == 0)
			return w->index[at];
	}
	w->v[w->n] = strndup(s, n);
	if (!w->v[w->n]) {
		c->no_memory = true;
		return 0;
	}
	return w->index[at] = w->n++;
}

static struct end end_of(
	struct replay_compare *c, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_text *t = &c->text;
	char rule[REPLAY_RULE_SIZE];
	struct end e;

	text_word(t, replay_outcome_name(v->outcome));
	if (v->outcome == REPLAY_DROPPED) {
		text_word(t, ": ");
		text_word(t, drop_name(v->drop));
	}
	for (uint32_t i = 0; v->outcome == REPLAY_FORWARDED && i < v->n_out; i++) {
		text_word(t, i ? ", " : " to ");
		text_word(t, replay_port_name(r, replay_out(v)[i]));
	}
	if (v->to.known && v->to.src != v->from.src) {
		text_word(t, " from ");
		text_address(t, v->to.src);
	}
	if (v->to.known && v->to.dst != v->from.dst) {
		text_word(t, " for ");
		text_address(t, v->to.dst);
	}
	e.text = word(c);
	text_word(t, replay_rule_text(r, v, rule));
	e.rule = word(c);
	return e;
}

static void text_mac(struct replay_text *t, const uint8_t *mac)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 6; i++) {
		text_bytes(t, &digits[mac[i] >> 4], 1);
		text_bytes(t, &digits[mac[i] & 15], 1);
		if (i < 5)
			text_bytes(t, ":", 1);
	}
}

static uint32_t flow_of(struct replay_compare *c, const struct replay_verdict *v)
{
	const struct replay_frame *f = v->frame;

	if (v->from.known) {
		text_tuple(&c->text, &v->from);
	} else if (f->size >= ETH_HDR_SIZE) {
		text_word(&c->text, "frame ");
		text_mac(&c->text, f->data + 6);
		text_word(&c->text, " > ");
		text_mac(&c->text, f->data);
	} else {
		text_word(&c->text, "frame without addresses");
	}
	return word(c);
}

int replay_compare_new(const struct replay_frames *frames, struct replay_compare **ret_compare)
{
	struct replay_compare *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->frames = frames;
	c->past = calloc(frames->n + 1, sizeof(*c->past));
	c->known = calloc(frames->n_inputs + 1, sizeof(*c->known));
	if (!c->past || !c->known) {
		replay_compare_free(c);
		return -ENOMEM;
	}
	*ret_compare = c;
	return 0;
}

void replay_compare_free(struct replay_compare *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->words.n; i++)
		free(c->words.v[i]);
	free(c->words.v);
	free(c->words.index);
	free(c->past);
	free(c->known);
	free(c->changes);
	free(c);
}

void replay_compare_old(void *compare, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_compare *c = compare;

	c->known[v->frame->input] |= v->in_port != 0;
	c->past[v->number - 1] = (struct past){ end_of(c, r, v), flow_of(c, v) };
}

void replay_compare_then(void *compare, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_compare *c = compare;
	const struct past *past = &c->past[v->number - 1];
	struct end now = end_of(c, r, v);

	c->known[v->frame->input] |= v->in_port != 0;
	if (now.text == past->end.text)
		return;
	if (c->n_changes == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct change *grown = realloc(c->changes, room * sizeof(*grown));

		if (!grown) {
			c->no_memory = true;
			return;
		}
		c->changes = grown;
		c->room = room;
	}
	// What has no port under one policy has its addresses under the other.
	c->changes[c->n_changes++] = (struct change){ .input = v->frame->input,
		.flow = v->from.known ? flow_of(c, v) : past->flow,
		.old = past->end,
		.now = now,
		.number = v->number,
		.packets = 1 };
}

int replay_compare_done(struct replay_compare *c, char *err, size_t err_size)
{
	for (size_t i = 0; i < c->frames->n; i++) {
		uint32_t input = c->frames->v[i].input;

		if (c->known[input])
			continue;
		snprintf(err, err_size, "neither policy has a port '%s'",
			c->frames->inputs[input].port);
		return -ENOENT;
	}
	if (!c->no_memory)
		return 0;
	snprintf(err, err_size, "out of memory");
	return -ENOMEM;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_flow(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	int r = compare_u64(x->input, y->input);

	r = r ? r : compare_u64(x->flow, y->flow);
	r = r ? r : compare_u64(x->old.text, y->old.text);
	r = r ? r : compare_u64(x->now.text, y->now.text);
	return r ? r : compare_u64(x->number, y->number);
}

static int by_number(const void *a, const void *b)
{
	return compare_u64(((const struct change *)a)->number, ((const struct change *)b)->number);
}

// One entry a flow, with its first packet's number. Returns how many flows.
static size_t fold(struct replay_compare *c)
{
	size_t n = 0;

	qsort(c->changes, c->n_changes, sizeof(*c->changes), by_flow);
	for (size_t i = 0; i < c->n_changes; i++) {
		struct change *last = n ? &c->changes[n - 1] : NULL;
		const struct change *now = &c->changes[i];

		if (last && last->input == now->input && last->flow == now->flow &&
			last->old.text == now->old.text && last->now.text == now->now.text)
			last->packets++;
		else
			c->changes[n++] = *now;
	}
	qsort(c->changes, n, sizeof(*c->changes), by_number);
	return n;
}

static void print_end(const struct replay_compare *c, const char *when, struct end e, bool json)
{
	const char *text = c->words.v[e.text], *rule = c->words.v[e.rule];

	if (json)
		printf(",\"%s\":{\"verdict\":\"%s\",\"rule\":\"%s\"}", when, text, rule);
	else
		printf("  %s: %s%s%s%s\n", when, text, *rule ? " (" : "", rule, *rule ? ")" : "");
}

static void print_flow(const struct replay_compare *c, const struct change *f, bool json)
{
	const char *port = c->frames->inputs[f->input].port, *flow = c->words.v[f->flow];

	if (json)
		printf("{\"in\":\"%s\",\"flow\":\"%s\",\"first\":%llu,\"packets\":%llu", port, flow,
			(unsigned long long)f->number, (unsigned long long)f->packets);
	else
		printf("%s: %s: %llu packet%s from number %llu on\n", port, flow,
			(unsigned long long)f->packets, f->packets == 1 ? "" : "s",
			(unsigned long long)f->number);
	print_end(c, "old", f->old, json);
	print_end(c, "new", f->now, json);
	if (json)
		printf("}");
}

size_t replay_compare_print(struct replay_compare *c, bool json)
{
	size_t n = c->n_changes, flows = n ? fold(c) : 0;

	if (json)
		printf("{\"packets\":%zu,\"changed\":%zu,\"flows\":[", c->frames->n, n);
	for (size_t i = 0; i < flows; i++) {
		if (json && i)
			printf(",");
		print_flow(c, &c->changes[i], json);
	}
	if (json)
		printf("]}\n");
	else
		printf("%zu of %zu packets end otherwise, in %zu flow%s\n", n, c->frames->n, flows,
			flows == 1 ? "" : "s");
	return n;
}
