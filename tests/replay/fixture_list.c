// SPDX-License-Identifier: BSD-3-Clause
// Reads pcap-fixtures/TESTLIST: a case a line, five words: name, policy, inputs, outputs, drops.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/replay/fixture.h"
#include "vswitch/drop.h"

static bool known_reason(const char *name)
{
	for (unsigned i = 1; i < DROP_COUNT; i++)
		if (strcmp(drop_name(i), name) == 0)
			return true;
	return false;
}

// Cuts at the commas; "-" is no word. Returns how many.
static unsigned split(char *text, char *words[FIXTURE_WORDS])
{
	unsigned n = 0;

	if (strcmp(text, "-") == 0)
		return 0;
	for (char *w = strtok_r(text, ",", &text); w && n < FIXTURE_WORDS;
		w = strtok_r(NULL, ",", &text))
		words[n++] = w;
	return n;
}

// Cuts at the last (or first) `mark`; NULL if there is none.
static char *cut(char *text, char mark, bool last)
{
	char *at = last ? strrchr(text, mark) : strchr(text, mark);

	if (at)
		*at++ = 0;
	return at;
}

static bool parse_drop(char *word, struct fixture_drop *d)
{
	char *count = cut(word, '=', true), *reason = count ? cut(word, ':', true) : NULL, *end;

	if (!reason || !known_reason(reason))
		return false;
	*d = (struct fixture_drop){ word, reason, strtoul(count, &end, 10) };
	return *end == 0 && d->count > 0;
}

static const char *parse(struct fixture *f)
{
	char *words[FIXTURE_WORDS], *fields[6];
	unsigned n = 0;

	for (char *rest = f->line, *w; n < 6 && (w = strtok_r(rest, " \t\n", &rest));)
		fields[n++] = w;
	if (n != 5)
		return "five words are needed: name, policy, inputs, outputs, drops";
	f->name = fields[0];
	f->policy = fields[1];
	f->n_inputs = split(fields[2], words);
	for (unsigned i = 0; i < f->n_inputs; i++) {
		f->inputs[i] = (struct replay_input){ words[i], cut(words[i], '=', false) };
		if (!f->inputs[i].path)
			return "an input is not PORT=FILE";
	}
	f->n_outputs = split(fields[3], words);
	for (unsigned i = 0; i < f->n_outputs; i++)
		f->outputs[i] = words[i];
	f->n_drops = split(fields[4], words);
	for (unsigned i = 0; i < f->n_drops; i++)
		if (!parse_drop(words[i], &f->drops[i]))
			return "a drop is not PORT:REASON=COUNT with a reason of drop.h";
	return f->n_inputs ? NULL : "there is no input";
}

static bool add(struct fixture **list, unsigned *n, const char *line, const char **ret_wrong)
{
	struct fixture *grown = realloc(*list, (*n + 1) * sizeof(*grown)), *f;

	if (!grown)
		abort();
	*list = grown;
	f = &grown[(*n)++];
	*f = (struct fixture){ .line = strdup(line) };
	*ret_wrong = f->line ? parse(f) : strerror(ENOMEM);
	for (unsigned i = 0; !*ret_wrong && i + 1 < *n; i++)
		if (strcmp(grown[i].name, f->name) == 0)
			*ret_wrong = "another case has this name";
	return !*ret_wrong;
}

struct fixture *fixture_list_read(const char *path, unsigned *ret_n)
{
	FILE *file = fopen(path, "re");
	struct fixture *list = NULL;
	const char *wrong = NULL;
	char *line = NULL;
	size_t room = 0;
	unsigned n = 0, number = 0;

	if (!file) {
		printf("%s: %s\n", path, strerror(errno));
		return NULL;
	}
	while (!wrong && getline(&line, &room, file) >= 0) {
		const char *p = line + strspn(line, " \t\n");

		number++;
		if (*p && *p != '#' && !add(&list, &n, p, &wrong))
			printf("%s:%u: %s\n", path, number, wrong);
	}
	free(line);
	fclose(file);
	if (!wrong && n) {
		*ret_n = n;
		return list;
	}
	fixture_list_free(list, n);
	return NULL;
}

void fixture_list_free(struct fixture *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(list[i].line);
	free(list);
}
