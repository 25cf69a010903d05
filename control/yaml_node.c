// SPDX-License-Identifier: BSD-3-Clause
// From libyaml's events to a tree with line numbers, everything in one arena. The bytes are
// checked before libyaml sees them (it would take UTF-16 and stops at the first bad byte without a
// line). Called by model_yaml.c, main thread.
#include "control/yaml_node.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "control/model_report.h"

enum { CHUNK_SIZE = 256 << 10 };

struct yaml_chunk {
	struct yaml_chunk *next;
	size_t size;
	_Alignas(16) char data[];
};

struct builder {
	struct yaml_tree *t;
	struct report *r;
	unsigned depth;
	unsigned documents;
	struct yaml_node *open[YAML_MAX_DEPTH];
	// The key read last in each open map, until its value comes.
	const char *key[YAML_MAX_DEPTH];
	int key_line[YAML_MAX_DEPTH];
	int error;
};

static bool check_bytes(const char *yaml, size_t size, struct report *r);
static void on_event(struct builder *b, const yaml_event_t *ev);
static void report_syntax(struct report *r, const yaml_parser_t *p, const char *yaml, size_t size);

int yaml_tree_read(struct yaml_tree *ret_tree, const char *yaml, size_t size, struct report *r)
{
	struct builder b = { .t = ret_tree, .r = r };
	yaml_parser_t parser;
	yaml_event_t ev;
	bool end = false;

	*ret_tree = (struct yaml_tree){ 0 };
	if (size > YAML_MAX_SIZE) {
		report(r, 1, "the document has %zu bytes; allowed: at most %d (16 MiB)", size,
			YAML_MAX_SIZE);
		return -EINVAL;
	}
	if (!check_bytes(yaml, size, r))
		return -EINVAL;
	if (size >= 3 && memcmp(yaml, "\xef\xbb\xbf", 3) == 0) { // byte order mark
		yaml += 3;
		size -= 3;
	}
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, size);
	while (!end && b.error == 0) {
		if (!yaml_parser_parse(&parser, &ev)) {
			b.error = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
			if (b.error == -EINVAL)
				report_syntax(r, &parser, yaml, size);
			break;
		}
		on_event(&b, &ev);
		end = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	return b.error;
}

void yaml_tree_free(struct yaml_tree *t)
{
	while (t->chunks != NULL) {
		struct yaml_chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	*t = (struct yaml_tree){ 0 };
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (map == NULL || map->kind != YAML_MAP)
		return NULL;
	for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
		if (strcmp(n->key, key) == 0)
			return n;
	return NULL;
}

bool yaml_has(const struct yaml_node *map, const char *key)
{
	if (yaml_get(map, key) != NULL)
		return true;
	if (map == NULL || map->kind != YAML_MAP)
		return false;
	for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
		if (n->means != NULL && strcmp(n->means, key) == 0)
			return true;
	return false;
}

bool yaml_is_null(const struct yaml_node *n)
{
	return n->kind == YAML_SCALAR && !n->quoted &&
	       (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

// Bytes of the UTF-8 sequence at p (RFC 3629 §4: no overlong form, no surrogate, nothing above
// U+10FFFF); 0 if it is none.
size_t yaml_utf8_size(const uint8_t *p, size_t left)
{
	uint32_t c;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	if (n == 0 || n > left)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) ||
		(c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

static bool check_bytes(const char *yaml, size_t size, struct report *r)
{
	const uint8_t *p = (const uint8_t *)yaml;
	size_t n;
	int line = 1;

	for (size_t i = 0; i < size; i += n) {
		n = yaml_utf8_size(p + i, size - i);
		if (n == 0) {
			report(r, line, "byte 0x%02x is not valid UTF-8; plain UTF-8 text", p[i]);
			return false;
		}
		if (p[i] == '\n' || (p[i] == '\r' && (i + 1 == size || p[i + 1] != '\n')))
			line++;
		else if ((p[i] < 0x20 && p[i] != '\t' && p[i] != '\r') || p[i] == 0x7f) {
			report(r, line, "control character 0x%02x; plain UTF-8 text", p[i]);
			return false;
		}
	}
	return true;
}

// Does this line (0..) begin with white space that has a tab in it?
static bool tab_indented(const char *yaml, size_t size, size_t line)
{
	const char *end = yaml + size;

	for (; line > 0 && yaml != NULL; line--) {
		yaml = memchr(yaml, '\n', (size_t)(end - yaml));
		yaml = yaml != NULL ? yaml + 1 : NULL;
	}
	while (yaml != NULL && yaml < end && *yaml == ' ')
		yaml++;
	return yaml != NULL && yaml < end && *yaml == '\t';
}

static void report_syntax(struct report *r, const yaml_parser_t *p, const char *yaml, size_t size)
{
	const char *problem = p->problem != NULL ? p->problem : "unreadable";
	const char *context = p->context != NULL ? p->context : "";

	// libyaml's own words for this most usual mistake tell nobody what to do.
	if (tab_indented(yaml, size, p->problem_mark.line))
		context = "", problem = "the line is indented with a tab; spaces only";
	report(r, (int)p->problem_mark.line + 1, "not YAML: %s%s%s; see insula.yaml(5)", context,
		context[0] != '\0' ? ", " : "", problem);
}

static void *arena(struct builder *b, size_t size)
{
	struct yaml_tree *t = b->t;
	struct yaml_chunk *c = t->chunks;
	void *p;

	size = (size + 7) & ~(size_t)7;
	if (c == NULL || c->size - t->used < size) {
		size_t n = size > CHUNK_SIZE ? size : CHUNK_SIZE;

		c = malloc(sizeof(*c) + n);
		if (c == NULL) {
			b->error = -ENOMEM;
			return NULL;
		}
		c->next = t->chunks;
		c->size = n;
		t->chunks = c;
		t->used = 0;
	}
	p = c->data + t->used;
	t->used += size;
	return p;
}

static void fail(struct builder *b, int line, const char *what)
{
	report(b->r, line, "%s", what);
	b->error = -EINVAL;
}

static bool key_is_new(struct builder *b, const struct yaml_node *map, const char *key, int line)
{
	const struct yaml_node *twin = yaml_get(map, key);

	if (twin == NULL)
		return true;
	report(b->r, line, "key \"%s\" stands twice, first in line %d; once", key, twin->key_line);
	return false;
}

// Takes a node into its parent. A map's scalar without pending key is a key.
static void add(struct builder *b, struct yaml_node *n)
{
	struct yaml_node *parent = b->depth > 0 ? b->open[b->depth - 1] : NULL;

	if (parent == NULL) {
		b->t->root = n;
		return;
	}
	if (parent->kind == YAML_MAP) {
		const char **key = &b->key[b->depth - 1];

		if (*key == NULL) {
			if (n->kind != YAML_SCALAR) {
				fail(b, n->line, "a list or map as a key; a word");
				return;
			}
			*key = n->text;
			b->key_line[b->depth - 1] = n->line;
			return;
		}
		n->key = *key;
		n->key_line = b->key_line[b->depth - 1];
		*key = NULL;
		if (parent->n >= 256) { // also bounds the search for twins
			fail(b, n->key_line, "a map with more than 256 keys; see insula.yaml(5)");
			return;
		}
		if (!key_is_new(b, parent, n->key, n->key_line))
			return; // reported; the rest of the file is still worth reading
	}
	if (parent->last != NULL)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->n++;
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, const yaml_event_t *ev,
	const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct yaml_node *n;
	int line = (int)ev->start_mark.line + 1;

	if (anchor != NULL) {
		fail(b, line, "an anchor (&); each thing written out where it is used");
		return NULL;
	}
	if (tag != NULL) {
		fail(b, line, "a tag (!); plain values");
		return NULL;
	}
	if (++b->t->n_nodes > YAML_MAX_NODES) {
		fail(b, line, "the document has too many values; at most 2097152");
		return NULL;
	}
	n = arena(b, sizeof(*n));
	if (n != NULL)
		*n = (struct yaml_node){ .kind = kind, .line = line };
	return n;
}

static void on_scalar(struct builder *b, const yaml_event_t *ev)
{
	size_t size = ev->data.scalar.length;
	struct yaml_node *n =
		new_node(b, YAML_SCALAR, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
	char *text;

	if (n == NULL)
		return;
	if (memchr(ev->data.scalar.value, '\0', size) != NULL) {
		fail(b, n->line, "a NUL character in a text; plain UTF-8 text");
		return;
	}
	text = arena(b, size + 1);
	if (text == NULL)
		return;
	memcpy(text, ev->data.scalar.value, size);
	text[size] = '\0';
	n->text = text;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	add(b, n);
}

static void on_open(struct builder *b, struct yaml_node *n)
{
	if (n == NULL)
		return;
	if (b->depth == YAML_MAX_DEPTH) {
		fail(b, n->line, "lists and maps nested deeper than 32; see insula.yaml(5)");
		return;
	}
	add(b, n);
	b->open[b->depth] = n;
	b->key[b->depth] = NULL;
	b->depth++;
}

static void on_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++b->documents > 1)
			fail(b, (int)ev->start_mark.line + 1,
				"a second document (---); one document in a file");
		break;
	case YAML_ALIAS_EVENT:
		fail(b, (int)ev->start_mark.line + 1,
			"an alias (*); each thing written out where it is used");
		break;
	case YAML_SCALAR_EVENT:
		on_scalar(b, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
		on_open(b, new_node(b, YAML_LIST, ev, ev->data.sequence_start.anchor,
				   ev->data.sequence_start.tag));
		break;
	case YAML_MAPPING_START_EVENT:
		on_open(b, new_node(b, YAML_MAP, ev, ev->data.mapping_start.anchor,
				   ev->data.mapping_start.tag));
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		break;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
}
