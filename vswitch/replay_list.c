// SPDX-License-Identifier: BSD-3-Clause
// The verdict list: a JSON array with one packet a line, so that line tools read it, too. And its
// sum: how many packets met which end, by port. Called by the run with each verdict; one thread.
#include <errno.h>
#include <stdlib.h>
#include "vswitch/replay_list.h"
#include "vswitch/replay_text.h"

struct port_sum {
	char name[REPLAY_NAME_SIZE];
	uint64_t in, out; // packets received, packets that left
	uint64_t *drops; // DROP_COUNT
};

// What all but a packet's number and time say, as it was written last: most packets of a port have
// the same fate.
struct fate {
	const char *stage; // NULL: none yet
	uint32_t in_port, segment, port;
	uint8_t outcome, rule, drop, n_out;
	uint16_t out;
};

enum { FATES = 64, FATE_ROOM = 1024 }; // FATES: a power of two
static_assert(FATE_ROOM > 256 + 6 * REPLAY_NAME_SIZE, "names, and words of ours");

struct fate_text {
	struct fate fate;
	uint16_t n_source, n_end;
	char source[FATE_ROOM], end[FATE_ROOM];
};

struct replay_list {
	uint64_t n, outcomes[REPLAY_OUTCOME_COUNT];
	struct port_sum *ports[POLICY_MAX_PORT_ID + 1]; // by id; NULL: nothing seen there
	const char *path;
	struct fate_text fates[FATES]; // by port in
	struct replay_text text;
};

int replay_list_new(const char *path, struct replay_list **ret_list, char *err, size_t err_size)
{
	struct replay_list *l = calloc(1, sizeof(*l));

	if (!l) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	l->path = path;
	l->text.f = path ? fopen(path, "we") : NULL;
	if (path && !l->text.f) {
		int r = -errno;

		snprintf(err, err_size, "%s: %s", path, strerror(errno));
		free(l);
		return r;
	}
	if (path)
		text_word(&l->text, "[");
	*ret_list = l;
	return 0;
}

static struct port_sum *sum_of(struct replay_list *l, const struct replay *r, uint32_t port)
{
	struct port_sum *s = l->ports[port];

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s || !(s->drops = calloc(DROP_COUNT, sizeof(*s->drops))))
		abort(); // some bytes a port
	snprintf(s->name, sizeof(s->name), "%s", replay_port_name(r, port));
	l->ports[port] = s;
	return s;
}

static void key(struct replay_text *t, const char *name)
{
	text_word(t, ",\"");
	text_word(t, name);
	text_word(t, "\":");
}

// Names and words of ours hold nothing that JSON would want escaped.
static void string(struct replay_text *t, const char *name, const char *value)
{
	key(t, name);
	text_word(t, "\"");
	text_word(t, value);
	text_word(t, "\"");
}

static void outs(struct replay_list *l, const struct replay *r, const struct replay_verdict *v)
{
	const uint16_t *out = replay_out(v);

	key(&l->text, "out");
	text_word(&l->text, "[");
	for (uint32_t i = 0; i < v->n_out; i++) {
		text_word(&l->text, i ? ",\"" : "\"");
		text_word(&l->text, sum_of(l, r, out[i])->name);
		text_word(&l->text, "\"");
	}
	text_word(&l->text, "]");
}

static void source(struct replay_list *l, const struct replay *r, const struct replay_verdict *v)
{
	text_word(&l->text, "\"");
	string(&l->text, "in", sum_of(l, r, v->in_port)->name);
	key(&l->text, "packet");
}

static void end(struct replay_list *l, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_text *t = &l->text;
	char rule[REPLAY_RULE_SIZE];

	string(t, "verdict", replay_outcome_name(v->outcome));
	string(t, "stage", v->stage);
	if (v->rule != REPLAY_RULE_NONE)
		string(t, "rule", replay_rule_text(r, v, rule));
	if (v->drop != DROP_NONE)
		string(t, "drop", drop_name(v->drop));
	if (v->n_out)
		outs(l, r, v);
	if (v->to.known) {
		key(t, "rewrite");
		text_word(t, "{\"from\":\"");
		text_tuple(t, &v->from);
		text_word(t, "\",\"to\":\"");
		text_tuple(t, &v->to);
		text_word(t, "\"}");
	}
	text_word(t, "}");
}

// The remembered text of such a verdict, written anew if it is another's. NULL: too much to keep.
static const struct fate_text *fate_of(
	struct replay_list *l, const struct replay *r, const struct replay_verdict *v)
{
	struct fate_text *text = &l->fates[v->in_port & (FATES - 1)];
	struct fate *f = &text->fate;
	uint16_t out = v->n_out ? replay_out(v)[0] : 0;
	size_t begin = l->text.n;

	if (v->n_out > 1 || v->to.known)
		return NULL;
	if (f->stage == v->stage && f->in_port == v->in_port && f->segment == v->segment &&
		f->port == v->port && f->outcome == v->outcome && f->rule == v->rule &&
		f->drop == v->drop && f->n_out == v->n_out && f->out == out)
		return text;
	*f = (struct fate){ v->stage, v->in_port, v->segment, v->port, v->outcome, v->rule, v->drop,
		(uint8_t)v->n_out, out };
	source(l, r, v);
	text->n_source = (uint16_t)(l->text.n - begin);
	memcpy(text->source, l->text.buf + begin, text->n_source);
	l->text.n = begin;
	end(l, r, v);
	text->n_end = (uint16_t)(l->text.n - begin);
	memcpy(text->end, l->text.buf + begin, text->n_end);
	l->text.n = begin;
	return text;
}

static void write_one(struct replay_list *l, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_text *t = &l->text;
	const struct fate_text *fate;

	text_reserve(t, 4 * FATE_ROOM);
	fate = fate_of(l, r, v);
	text_word(t, v->number > 1 ? ",\n{\"number\":" : "\n{\"number\":");
	text_number(t, v->number, 1);
	key(t, "time");
	text_word(t, "\"");
	text_number(t, v->frame->ts_ns / 1000000000, 1);
	text_word(t, ".");
	text_number(t, v->frame->ts_ns % 1000000000, 9);
	if (fate)
		text_bytes(t, fate->source, fate->n_source);
	else
		source(l, r, v);
	text_number(t, v->frame->number, 1);
	if (fate)
		text_bytes(t, fate->end, fate->n_end);
	else
		end(l, r, v);
}

void replay_list_add(void *list, const struct replay *r, const struct replay_verdict *v)
{
	struct replay_list *l = list;
	const uint16_t *out = replay_out(v);
	struct port_sum *in = sum_of(l, r, v->in_port);

	l->n++;
	l->outcomes[v->outcome]++;
	in->in++;
	if (v->drop != DROP_NONE)
		in->drops[v->drop]++;
	for (uint32_t i = 0; i < v->n_out; i++)
		sum_of(l, r, out[i])->out++;
	if (l->path)
		write_one(l, r, v);
}

static void print_json(const struct replay_list *l)
{
	bool some = false;

	printf("{\"packets\":%llu", (unsigned long long)l->n);
	for (unsigned i = REPLAY_FORWARDED; i < REPLAY_OUTCOME_COUNT; i++)
		printf(",\"%s\":%llu", replay_outcome_name(i), (unsigned long long)l->outcomes[i]);
	printf(",\"ports\":[");
	for (uint32_t port = 0; port <= POLICY_MAX_PORT_ID; port++) {
		const struct port_sum *s = l->ports[port];
		const char *between = "";

		if (!s)
			continue;
		printf("%s{\"port\":\"%s\",\"in\":%llu,\"out\":%llu,\"drops\":{", some ? "," : "",
			s->name, (unsigned long long)s->in, (unsigned long long)s->out);
		for (unsigned d = 1; d < DROP_COUNT; d++) {
			if (!s->drops[d])
				continue;
			printf("%s\"%s\":%llu", between, drop_name(d),
				(unsigned long long)s->drops[d]);
			between = ",";
		}
		printf("}}");
		some = true;
	}
	printf("]}\n");
}

void replay_list_print(const struct replay_list *l, bool json)
{
	if (json) {
		print_json(l);
		return;
	}
	printf("%llu packets: %llu forwarded, %llu answered, %llu taken, %llu dropped\n",
		(unsigned long long)l->n, (unsigned long long)l->outcomes[REPLAY_FORWARDED],
		(unsigned long long)l->outcomes[REPLAY_ANSWERED],
		(unsigned long long)l->outcomes[REPLAY_TAKEN],
		(unsigned long long)l->outcomes[REPLAY_DROPPED]);
	for (uint32_t port = 0; port <= POLICY_MAX_PORT_ID; port++) {
		const struct port_sum *s = l->ports[port];

		if (!s)
			continue;
		printf("%s: %llu in, %llu out\n", s->name, (unsigned long long)s->in,
			(unsigned long long)s->out);
		for (unsigned d = 1; d < DROP_COUNT; d++)
			if (s->drops[d])
				printf("  %llu dropped: %s: %s\n", (unsigned long long)s->drops[d],
					drop_name(d), drop_text(d));
	}
}

int replay_list_close(struct replay_list *l, char *err, size_t err_size)
{
	int r = 0;

	if (l->text.f) {
		bool bad;

		text_word(&l->text, "\n]\n");
		text_flush(&l->text);
		bad = ferror(l->text.f);
		if (fclose(l->text.f) != 0 || bad) {
			r = errno ? -errno : -EIO;
			snprintf(err, err_size, "%s: %s", l->path, strerror(-r));
		}
	}
	for (uint32_t port = 0; port <= POLICY_MAX_PORT_ID; port++) {
		if (l->ports[port])
			free(l->ports[port]->drops);
		free(l->ports[port]);
	}
	free(l);
	return r;
}
