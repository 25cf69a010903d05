// SPDX-License-Identifier: BSD-3-Clause
// See config_mend.h. By libyaml's events, which tell where things stand, beside model_schema.c's
// table, which tells what is to be a list or a map. Called by daemon.c at start, main thread.
#include "control/config_mend.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "control/model_schema.h"
#include "control/yaml_node.h"

// A list or map that is open.
struct level {
	const struct object *object; // of a map, or of a list's items; NULL = none of the table's
	bool is_map, is_flow;
	size_t column; // where it begins
	bool has_key; // its value comes next
	const struct field *field; // of the key; NULL = none
	size_t key_end;
};

struct mend {
	const char *yaml;
	size_t size;
	size_t n_chars, at; // marks count characters: as many are before this byte
	unsigned depth;
	struct level open[YAML_MAX_DEPTH + 1];
	FILE *out;
	size_t copied; // bytes of yaml that are in it
	bool mended;
};

// Marks come in the order of the text.
static size_t offset_of(struct mend *m, const yaml_mark_t *mark)
{
	for (; m->n_chars < mark->index && m->at < m->size; m->n_chars++)
		for (m->at++; m->at < m->size && (m->yaml[m->at] & 0xc0) == 0x80;)
			m->at++;
	return m->at;
}

// Bytes [from, to) become `text`.
static void put(struct mend *m, size_t from, size_t to, const char *text)
{
	fwrite(m->yaml + m->copied, 1, from - m->copied, m->out);
	fputs(text, m->out);
	m->copied = to;
	m->mended = true;
}

// The colon behind a key, which after "? key" may stand in a line of its own; or the end of the
// text, or what else comes next.
static size_t behind_key(const struct mend *m, size_t at)
{
	bool comment = false;

	for (; at < m->size; at++) {
		char c = m->yaml[at];

		if (c == '\n' || c == '\r')
			comment = false;
		else if (c == '#')
			comment = true;
		else if (!comment && c != ' ' && c != '\t')
			break;
	}
	return at;
}

static void mend_value(struct mend *m, const struct level *l, const yaml_event_t *ev)
{
	const char *none = l->field->type == FIELD_LIST ? "[]" : "{}";
	size_t at;

	if (ev->data.scalar.length > 0) {
		at = offset_of(m, &ev->start_mark);
		put(m, at, offset_of(m, &ev->end_mark), none);
		return;
	}
	at = behind_key(m, l->key_end);
	if (at < m->size && m->yaml[at] == ':') {
		put(m, at + 1, at + 1, " ");
		fputs(none, m->out);
	} else { // "{key}" or "? key"
		put(m, l->key_end, l->key_end, l->is_flow ? "" : "\n");
		fprintf(m->out, "%*s: %s", l->is_flow ? 0 : (int)l->column, "", none);
	}
}

static bool is_null(const yaml_event_t *ev)
{
	return yaml_is_null(&(struct yaml_node){ .kind = YAML_SCALAR,
		.quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
		.text = (const char *)ev->data.scalar.value });
}

static void on_scalar(struct mend *m, const yaml_event_t *ev)
{
	struct level *l = m->depth > 0 ? &m->open[m->depth - 1] : NULL;

	if (!l || !l->is_map)
		return;
	if (l->has_key) {
		l->has_key = false;
		if (l->field && l->field->object && is_null(ev))
			mend_value(m, l, ev);
		return;
	}
	const struct field *f = l->object ? l->object->fields : NULL;
	while (f && f->key && strcmp(f->key, (char *)ev->data.scalar.value) != 0)
		f++;
	l->field = f && f->key ? f : NULL;
	l->key_end = offset_of(m, &ev->end_mark);
	l->has_key = true;
}

static bool open_level(struct mend *m, const yaml_event_t *ev, bool is_map, bool is_flow)
{
	struct level *l = m->depth > 0 ? &m->open[m->depth - 1] : NULL;
	const struct object *o = l ? l->object : &schema_top;

	if (m->depth > YAML_MAX_DEPTH || (l && l->is_map && !l->has_key))
		return false;
	if (l && l->is_map) {
		bool fits = l->field && l->field->type == (is_map ? FIELD_OBJECT : FIELD_LIST);

		o = fits ? l->field->object : NULL;
		l->has_key = false;
	} else if (!is_map) { // a list in a list, or as the document
		o = NULL;
	}
	m->open[m->depth++] = (struct level){
		.object = o, .is_map = is_map, .is_flow = is_flow, .column = ev->start_mark.column
	};
	return true;
}

// False: not further, as this is nothing that was ever taken.
static bool on_event(struct mend *m, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		on_scalar(m, ev);
		return true;
	case YAML_MAPPING_START_EVENT:
		return open_level(
			m, ev, true, ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(
			m, ev, false, ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		m->depth--;
		return true;
	case YAML_ALIAS_EVENT:
		return false;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
	return true;
}

// 0: to the end of it.
static int mend(struct mend *m)
{
	yaml_parser_t parser;
	yaml_event_t ev;
	bool end = false;
	int r = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&parser, (const unsigned char *)m->yaml + m->at, m->size - m->at);
	while (!end && r == 0) {
		if (!yaml_parser_parse(&parser, &ev)) {
			r = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
			break;
		}
		r = on_event(m, &ev) ? 0 : -EINVAL;
		end = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	return r;
}

int config_mend(const char *yaml, size_t size, char **ret_yaml, size_t *ret_size)
{
	struct mend m = { .yaml = yaml, .size = size };
	char *text = NULL;
	size_t n = 0;

	if (size >= 3 && memcmp(yaml, "\xef\xbb\xbf", 3) == 0)
		m.at = 3; // a byte order mark is no character
	m.out = open_memstream(&text, &n);
	if (!m.out)
		return -ENOMEM;
	int r = mend(&m);
	if (r == 0 && m.mended)
		put(&m, size, size, "");
	bool whole = !ferror(m.out);
	if (fclose(m.out) != 0 || !whole)
		r = -ENOMEM;
	if (r == 0 && m.mended) {
		*ret_yaml = text;
		*ret_size = n;
		return 1;
	}
	free(text);
	return r == -ENOMEM ? r : 0;
}
