// SPDX-License-Identifier: BSD-3-Clause
// How `insula` prints: the API's object as JSON or YAML, or tables for people (libsmartcols). No
// colours. On a terminal a table fits its width where it can; elsewhere nothing is cut.
#include "control/cli.h"

#include <ctype.h>
#include <libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <yaml.h>

enum { MAX_COLUMNS = 40 };

void cli_error(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "insula: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

// A scalar as text; free it. Nested values in a table's cell are compact JSON, lists of words
// plain.
static char *text_of(json_t *v)
{
	char *text = NULL, *longer;
	json_t *e;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_STRING:
		return strdup(json_string_value(v));
	case JSON_INTEGER:
		return asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(v)) < 0 ? NULL
											   : text;
	case JSON_REAL:
		return asprintf(&text, "%g", json_real_value(v)) < 0 ? NULL : text;
	case JSON_TRUE:
		return strdup("yes");
	case JSON_FALSE:
		return strdup("no");
	case JSON_NULL:
		return strdup("-");
	case JSON_OBJECT:
		return json_dumps(v, JSON_COMPACT);
	case JSON_ARRAY:
		break;
	}
	text = strdup("");
	json_array_foreach(v, i, e) {
		char *word = text_of(e);

		if (asprintf(&longer, "%s%s%s", text, i > 0 ? ", " : "", word != NULL ? word : "") <
			0)
			longer = NULL;
		free(word);
		free(text);
		text = longer;
		if (text == NULL)
			return NULL;
	}
	return text;
}

// YAML 1.1 readers take these plain scalars for something else than a text.
static bool needs_quotes(const char *s)
{
	static const char *const words[] = { "", "~", "null", "true", "false", "yes", "no", "on",
		"off", "y", "n" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	return strchr("+-.0123456789", s[0]) != NULL; // numbers, MACs (sexagesimal), times
}

static bool emit_scalar(yaml_emitter_t *em, const char *text, bool quoted)
{
	yaml_event_t ev;

	return yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)text,
		       (int)strlen(text), 1, 1,
		       quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE) &&
	       yaml_emitter_emit(em, &ev);
}

static bool emit_text(yaml_emitter_t *em, const char *text)
{
	return emit_scalar(em, text, needs_quotes(text));
}

static bool emit(yaml_emitter_t *em, json_t *v);

static bool emit_collection(yaml_emitter_t *em, json_t *v)
{
	bool map = json_is_object(v);
	yaml_event_t ev;
	json_t *e;
	const char *key;
	size_t i;
	bool ok = map ? yaml_mapping_start_event_initialize(
				&ev, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)
		      : yaml_sequence_start_event_initialize(
				&ev, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);

	ok = ok && yaml_emitter_emit(em, &ev);
	if (map) {
		void *it = json_object_iter(v);

		for (; ok && it != NULL; it = json_object_iter_next(v, it)) {
			key = json_object_iter_key(it);
			ok = emit_text(em, key) && emit(em, json_object_iter_value(it));
		}
		return ok && yaml_mapping_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
	}
	json_array_foreach(v, i, e)
		ok = ok && emit(em, e);
	return ok && yaml_sequence_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

static bool emit(yaml_emitter_t *em, json_t *v)
{
	char *text;
	bool ok;

	if (json_is_object(v) || json_is_array(v))
		return emit_collection(em, v);
	if (json_is_string(v))
		return emit_text(em, json_string_value(v));
	if (json_is_boolean(v))
		return emit_scalar(em, json_is_true(v) ? "true" : "false", false);
	if (json_is_null(v))
		return emit_scalar(em, "null", false);
	text = text_of(v);
	ok = text != NULL && emit_scalar(em, text, false);
	free(text);
	return ok;
}

static bool print_yaml(json_t *object)
{
	yaml_emitter_t em;
	yaml_event_t ev;
	bool ok;

	if (!yaml_emitter_initialize(&em))
		return false;
	yaml_emitter_set_output_file(&em, stdout);
	yaml_emitter_set_unicode(&em, 1);
	yaml_emitter_set_width(&em, -1);
	ok = yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING) &&
	     yaml_emitter_emit(&em, &ev) &&
	     yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1) &&
	     yaml_emitter_emit(&em, &ev) && emit(&em, object) &&
	     yaml_document_end_event_initialize(&ev, 1) && yaml_emitter_emit(&em, &ev) &&
	     yaml_stream_end_event_initialize(&ev) && yaml_emitter_emit(&em, &ev);
	yaml_emitter_delete(&em);
	return ok;
}

void cli_print_object(const struct cli *c, json_t *object)
{
	if (c->output == CLI_YAML) {
		if (!print_yaml(object))
			cli_error("the YAML cannot be written");
		return;
	}
	json_dumpf(object, stdout, JSON_INDENT(2));
	printf("\n");
}

static unsigned add_key(const char *keys[MAX_COLUMNS], unsigned n, const char *key)
{
	for (unsigned k = 0; k < n; k++)
		if (strcmp(keys[k], key) == 0)
			return n;
	if (n < MAX_COLUMNS)
		keys[n++] = key;
	return n;
}

// The keys of all objects in order of first appearance.
static unsigned all_columns(json_t *list, const char *ret_keys[MAX_COLUMNS])
{
	unsigned n = 0;
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row) {
		void *it = json_object_iter(row);

		for (; it != NULL; it = json_object_iter_next(row, it))
			n = add_key(ret_keys, n, json_object_iter_key(it));
	}
	return n;
}

// Those of the wanted keys that any object has something under.
static unsigned some_columns(
	json_t *list, const char *const *wanted, const char *ret_keys[MAX_COLUMNS])
{
	unsigned n = 0;
	json_t *row, *v;
	size_t i;

	for (; *wanted != NULL; wanted++) {
		json_array_foreach(list, i, row) {
			v = json_object_get(row, *wanted);
			if (v == NULL || (json_is_string(v) && json_string_length(v) == 0))
				continue;
			n = add_key(ret_keys, n, *wanted);
			break;
		}
	}
	return n;
}

static void add_column(struct libscols_table *t, const char *key, bool number)
{
	char title[64];
	size_t i = 0;

	for (; i < sizeof(title) - 1 && key[i] != '\0'; i++)
		title[i] = key[i] == '_' ? ' ' : (char)toupper((unsigned char)key[i]);
	title[i] = '\0';
	scols_table_new_column(t, title, 0, number ? SCOLS_FL_RIGHT : 0);
}

static struct libscols_table *new_table(void)
{
	struct libscols_table *t = scols_new_table();

	if (t == NULL)
		return NULL;
	if (!isatty(STDOUT_FILENO))
		scols_table_set_termforce(t, SCOLS_TERMFORCE_NEVER);
	return t;
}

static void fill_line(struct libscols_line *line, unsigned column, json_t *v)
{
	char *text = v != NULL ? text_of(v) : strdup("");

	if (text == NULL || scols_line_refer_data(line, column, text) < 0)
		free(text);
}

void cli_print_table(json_t *list, const char *const *columns)
{
	const char *keys[MAX_COLUMNS];
	unsigned n = columns != NULL ? some_columns(list, columns, keys) : all_columns(list, keys);
	struct libscols_table *t = new_table();
	json_t *row;
	size_t i;

	if (t == NULL || n == 0) {
		scols_unref_table(t);
		return;
	}
	for (unsigned k = 0; k < n; k++)
		add_column(t, keys[k],
			json_is_number(json_object_get(json_array_get(list, 0), keys[k])));
	json_array_foreach(list, i, row) {
		struct libscols_line *line = scols_table_new_line(t, NULL);

		if (line == NULL)
			break;
		for (unsigned k = 0; k < n; k++)
			fill_line(line, k, json_object_get(row, keys[k]));
	}
	scols_print_table(t);
	scols_unref_table(t);
}

static bool is_table(json_t *v)
{
	return json_is_array(v) && json_is_object(json_array_get(v, 0));
}

// Sentences, which have commas of their own: a line each.
static bool is_sentences(const json_t *v)
{
	const json_t *e;
	size_t i;

	json_array_foreach(v, i, e)
		if (json_is_string(e) && strchr(json_string_value(e), ' ') != NULL)
			return true;
	return false;
}

static void add_pair(struct libscols_table *t, const char *key, json_t *v)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);

	if (line != NULL && scols_line_set_data(line, 0, key) == 0)
		fill_line(line, 1, v);
}

// "switch.pid  4711": nested objects become dotted keys.
static void add_record(struct libscols_table *t, json_t *object, const char *prefix)
{
	void *it = json_object_iter(object);

	for (; it != NULL; it = json_object_iter_next(object, it)) {
		json_t *v = json_object_iter_value(it), *e;
		char *key, *inner;
		size_t i;

		if (is_table(v) || (json_is_array(v) && json_array_size(v) == 0) ||
			asprintf(&key, "%s%s", prefix, json_object_iter_key(it)) < 0)
			continue;
		if (json_is_object(v)) {
			if (asprintf(&inner, "%s.", key) >= 0) {
				add_record(t, v, inner);
				free(inner);
			}
		} else if (is_sentences(v)) {
			json_array_foreach(v, i, e)
				add_pair(t, i == 0 ? key : "", e);
		} else {
			add_pair(t, key, v);
		}
		free(key);
	}
}

void cli_print_record(json_t *object)
{
	void *it = json_object_iter(object);
	struct libscols_table *t = new_table();

	if (t == NULL)
		return;
	scols_table_enable_noheadings(t, 1);
	scols_table_new_column(t, "key", 0, 0);
	scols_table_new_column(t, "value", 0, 0);
	add_record(t, object, "");
	scols_print_table(t);
	scols_unref_table(t);
	for (; it != NULL; it = json_object_iter_next(object, it)) {
		if (!is_table(json_object_iter_value(it)))
			continue;
		printf("\n%s:\n", json_object_iter_key(it));
		cli_print_table(json_object_iter_value(it), NULL);
	}
}
