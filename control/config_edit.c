// SPDX-License-Identifier: BSD-3-Clause
// See config_edit.h. libyaml tells where things stand, by line and character; called by
// daemon_instances.c, main thread.
#include "control/config_edit.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "control/log.h"

struct edit {
	const char *yaml;
	size_t size;
	yaml_document_t doc;
	char *err;
	size_t err_size;
};

static int fail(struct edit *e, int r, const char *what, const char *name)
{
	return log_reason(r, e->err, e->err_size, "%s%s", what, name);
}

// --- where things stand ---

static int load(struct edit *e)
{
	yaml_parser_t parser;
	int good;

	if (!yaml_parser_initialize(&parser))
		return fail(e, -ENOMEM, "out of memory", "");
	yaml_parser_set_input_string(&parser, (const unsigned char *)e->yaml, e->size);
	good = yaml_parser_load(&parser, &e->doc);
	yaml_parser_delete(&parser);
	return good ? 0 : fail(e, -EINVAL, "the file applied last cannot be read", "");
}

static yaml_node_t *node_at(struct edit *e, int index)
{
	return yaml_document_get_node(&e->doc, index);
}

static bool is_text(const yaml_node_t *n, const char *text)
{
	return n && n->type == YAML_SCALAR_NODE && strcmp((char *)n->data.scalar.value, text) == 0;
}

static const yaml_node_pair_t *pair_of(struct edit *e, const yaml_node_t *map, const char *key)
{
	if (!map || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
		p++)
		if (is_text(node_at(e, p->key), key))
			return p;
	return NULL;
}

static yaml_node_t *value_of(struct edit *e, const yaml_node_t *map, const char *key)
{
	const yaml_node_pair_t *p = pair_of(e, map, key);

	return p ? node_at(e, p->value) : NULL;
}

// The map in a list that has this text under the key.
static yaml_node_t *with(struct edit *e, const yaml_node_t *list, const char *key, const char *name)
{
	if (!list || list->type != YAML_SEQUENCE_NODE)
		return NULL;
	for (yaml_node_item_t *i = list->data.sequence.items.start;
		i < list->data.sequence.items.top; i++)
		if (is_text(value_of(e, node_at(e, *i), key), name))
			return node_at(e, *i);
	return NULL;
}

static yaml_node_t *named(struct edit *e, const yaml_node_t *list, const char *name)
{
	return with(e, list, "name", name);
}

static bool is_flow(const yaml_node_t *n)
{
	return (n->type == YAML_MAPPING_NODE && n->data.mapping.style == YAML_FLOW_MAPPING_STYLE) ||
	       (n->type == YAML_SEQUENCE_NODE &&
		       n->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE);
}

// Where the text of a line begins, counted from 0; the end of the text if there is no such line.
static size_t line_at(const struct edit *e, size_t line)
{
	size_t at = 0;

	for (; line > 0 && at < e->size; at++)
		line -= e->yaml[at] == '\n';
	return at;
}

// Marks count characters: a byte order mark is none, and others may have several bytes.
static size_t offset_of(const struct edit *e, const yaml_mark_t *m)
{
	size_t at = line_at(e, m->line);

	if (m->line == 0 && e->size >= 3 && memcmp(e->yaml, "\xef\xbb\xbf", 3) == 0)
		at = 3;
	for (size_t n = 0; n < m->column && at < e->size; n++)
		for (at++; at < e->size && (e->yaml[at] & 0xc0) == 0x80;)
			at++;
	return at;
}

static bool is_before(const yaml_mark_t *a, const yaml_mark_t *b)
{
	return a->line < b->line || (a->line == b->line && a->column < b->column);
}

// Where its last word ends: a block's own end is where the next thing begins, behind comments.
static yaml_mark_t last_of(struct edit *e, const yaml_node_t *n)
{
	yaml_mark_t last = n->start_mark, end;

	if (n->type == YAML_SCALAR_NODE || is_flow(n))
		return n->end_mark;
	if (n->type == YAML_SEQUENCE_NODE) {
		for (yaml_node_item_t *i = n->data.sequence.items.start;
			i < n->data.sequence.items.top; i++) {
			end = last_of(e, node_at(e, *i));
			last = is_before(&last, &end) ? end : last;
		}
		return last;
	}
	for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top;
		p++) {
		end = last_of(e, node_at(e, p->key));
		last = is_before(&last, &end) ? end : last;
		end = last_of(e, node_at(e, p->value));
		last = is_before(&last, &end) ? end : last;
	}
	return last;
}

// The line behind it.
static size_t behind(struct edit *e, const yaml_node_t *n)
{
	yaml_mark_t last = last_of(e, n);

	return line_at(e, last.column > 0 ? last.line + 1 : last.line);
}

// --- an instance as text, on one line ---

static bool is_plain(const char *s)
{
	if (!isalpha((unsigned char)s[0]) && s[0] != '/')
		return false;
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("/._-", *p))
			return false;
	return true;
}

// Where line breaks are to stay what they are (YAML 1.2, 7.3.1).
static void put_lines(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++)
		if (*s == '\n')
			fputs("\\n", f);
		else if (*s == '\r')
			fputs("\\r", f);
		else if (*s == '\t')
			fputs("\\t", f);
		else
			fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	fputc('"', f);
}

static void put_text(FILE *f, const char *s)
{
	if (is_plain(s)) {
		fputs(s, f);
		return;
	}
	if (strpbrk(s, "\n\r\t")) {
		put_lines(f, s);
		return;
	}
	fputc('\'', f);
	for (; *s; s++)
		fprintf(f, *s == '\'' ? "''" : "%c", *s);
	fputc('\'', f);
}

static void put_value(FILE *f, const json_t *v)
{
	const char *key;
	json_t *inner;
	size_t i;

	if (json_is_string(v)) {
		put_text(f, json_string_value(v));
	} else if (json_is_object(v)) {
		i = 0;
		fputc('{', f);
		json_object_foreach((json_t *)(uintptr_t)v, key, inner) {
			fputs(i++ ? ", " : "", f);
			put_text(f, key);
			fputs(": ", f);
			put_value(f, inner);
		}
		fputc('}', f);
	} else if (json_is_array(v)) {
		fputc('[', f);
		json_array_foreach(v, i, inner) {
			fputs(i ? ", " : "", f);
			put_value(f, inner);
		}
		fputc(']', f);
	} else if (json_is_integer(v)) {
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	} else {
		fputs(json_is_true(v) ? "true" : json_is_false(v) ? "false" : "~", f);
	}
}

static char *flow_text(const json_t *v)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	put_value(f, v);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

// --- the change ---

// Bytes [from, to) become `text`.
static int replace(
	struct edit *e, size_t from, size_t to, const char *text, char **ret_yaml, size_t *ret_size)
{
	size_t n = strlen(text);
	// One that did not end in a line break gets it.
	bool breaks = n > 0 && from == e->size && from > 0 && e->yaml[from - 1] != '\n';
	char *made = malloc(e->size + n + 2), *at = made;

	if (!made)
		return fail(e, -ENOMEM, "out of memory", "");
	memcpy(at, e->yaml, from);
	at += from;
	if (breaks)
		*at++ = '\n';
	memcpy(at, text, n);
	at += n;
	memcpy(at, e->yaml + to, e->size - to);
	*ret_size = (size_t)(at - made) + e->size - to;
	made[*ret_size] = 0;
	*ret_yaml = made;
	return 0;
}

static int insert(struct edit *e, size_t at, size_t until, char **ret_yaml, size_t *ret_size,
	const char *fmt, ...) __attribute__((format(printf, 6, 7)));

static int insert(struct edit *e, size_t at, size_t until, char **ret_yaml, size_t *ret_size,
	const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return fail(e, -ENOMEM, "out of memory", "");
	n = replace(e, at, until, text, ret_yaml, ret_size);
	free(text);
	return n;
}

// One more in the list under the key of a map.
static int add(struct edit *e, const yaml_node_t *map, const char *key, const char *item,
	char **ret_yaml, size_t *ret_size)
{
	const yaml_node_t *list = value_of(e, map, key);
	int indent = (int)map->start_mark.column;
	size_t at;

	if (!list && is_flow(map)) {
		at = offset_of(e, &map->end_mark) - 1;
		return insert(e, at, at, ret_yaml, ret_size, ", %s: [%s]", key, item);
	}
	if (!list) {
		at = behind(e, map);
		return insert(e, at, at, ret_yaml, ret_size, "%*s%s:\n%*s  - %s\n", indent, "", key,
			indent, "", item);
	}
	if (list->type != YAML_SEQUENCE_NODE ||
		list->data.sequence.items.start == list->data.sequence.items.top)
		return insert(e, offset_of(e, &list->start_mark), offset_of(e, &list->end_mark),
			ret_yaml, ret_size, " [%s]", item); // what is empty ends at its colon
	if (is_flow(list)) {
		at = offset_of(e, &list->end_mark) - 1;
		return insert(e, at, at, ret_yaml, ret_size, ", %s", item);
	}
	at = behind(e, list);
	return insert(
		e, at, at, ret_yaml, ret_size, "%*s- %s\n", (int)list->start_mark.column, "", item);
}

static int find_tenant(struct edit *e, const char *name, yaml_node_t **ret_tenant)
{
	*ret_tenant = named(e, value_of(e, yaml_document_get_root_node(&e->doc), "tenants"), name);
	return *ret_tenant ? 0 : fail(e, -ENOENT, "there is no tenant ", name);
}

int config_add_instance(const char *yaml, size_t size, const char *tenant, const json_t *instance,
	char **ret_yaml, size_t *ret_size, char *err, size_t err_size)
{
	struct edit e = { .yaml = yaml, .size = size, .err = err, .err_size = err_size };
	yaml_node_t *t;
	char *item = flow_text(instance);
	int r = item ? load(&e) : fail(&e, -ENOMEM, "out of memory", "");

	if (r < 0) {
		free(item);
		return r;
	}
	r = find_tenant(&e, tenant, &t);
	if (r == 0)
		r = add(&e, t, "instances", item, ret_yaml, ret_size);
	yaml_document_delete(&e.doc);
	free(item);
	return r;
}

// In [...]: with the comma behind it, else with the one before.
static int delete_flow(struct edit *e, const yaml_node_t *item, char **ret_yaml, size_t *ret_size)
{
	size_t from = offset_of(e, &item->start_mark), to = offset_of(e, &item->end_mark), at = to;

	while (at < e->size && isspace((unsigned char)e->yaml[at]))
		at++;
	if (at < e->size && e->yaml[at] == ',') {
		for (to = at + 1; to < e->size && e->yaml[to] == ' ';)
			to++;
		return replace(e, from, to, "", ret_yaml, ret_size);
	}
	for (at = from; at > 0 && isspace((unsigned char)e->yaml[at - 1]);)
		at--;
	return replace(
		e, at > 0 && e->yaml[at - 1] == ',' ? at - 1 : from, to, "", ret_yaml, ret_size);
}

static int odd(struct edit *e)
{
	return fail(e, -EINVAL, "the file is written in a way that cannot be edited", "");
}

// Of a list's only item: what is left is written [], as a key without a value is refused.
static int delete_last(struct edit *e, const yaml_node_t *map, const char *key, size_t from,
	size_t until, char **ret_yaml, size_t *ret_size)
{
	size_t at = offset_of(e, &node_at(e, pair_of(e, map, key)->key)->end_mark);

	while (at < e->size && e->yaml[at] == ' ')
		at++;
	if (at >= from || e->yaml[at] != ':') // "? instances" and other oddities
		return odd(e);
	at++;
	return insert(e, at, until, ret_yaml, ret_size, " []%.*s", (int)(from - at), e->yaml + at);
}

// The lines from its dash to its last word.
static int delete_block(struct edit *e, const yaml_node_t *map, const char *key,
	const yaml_node_t *item, char **ret_yaml, size_t *ret_size)
{
	const yaml_node_t *list = value_of(e, map, key);
	size_t line = item->start_mark.line, column = list->start_mark.column;

	while (line > 0 && line_at(e, line) + column < e->size &&
		e->yaml[line_at(e, line) + column] != '-')
		line--;
	size_t from = line_at(e, line);
	for (size_t i = 0; i < column; i++)
		if (e->yaml[from + i] != ' ') // "instances: - name" and other oddities
			return odd(e);
	if (list->data.sequence.items.top - list->data.sequence.items.start == 1)
		return delete_last(e, map, key, from, behind(e, item), ret_yaml, ret_size);
	return replace(e, from, behind(e, item), "", ret_yaml, ret_size);
}

int config_delete_instance(const char *yaml, size_t size, const char *tenant, const char *name,
	char **ret_yaml, size_t *ret_size, char *err, size_t err_size)
{
	struct edit e = { .yaml = yaml, .size = size, .err = err, .err_size = err_size };
	yaml_node_t *t, *list, *item;
	int r = load(&e);

	if (r < 0)
		return r;
	r = find_tenant(&e, tenant, &t);
	if (r == 0) {
		list = value_of(&e, t, "instances");
		item = named(&e, list, name);
		if (!item)
			r = fail(&e, -ENOENT, "there is no instance ", name);
		else
			r = is_flow(list)
				    ? delete_flow(&e, item, ret_yaml, ret_size)
				    : delete_block(&e, t, "instances", item, ret_yaml, ret_size);
	}
	yaml_document_delete(&e.doc);
	return r;
}

static int find_instance(struct edit *e, const char *tenant, const char *name, yaml_node_t **ret)
{
	yaml_node_t *t;
	int r = find_tenant(e, tenant, &t);

	if (r < 0)
		return r;
	*ret = named(e, value_of(e, t, "instances"), name);
	return *ret ? 0 : fail(e, -ENOENT, "there is no instance ", name);
}

int config_attach(const char *yaml, size_t size, const char *tenant, const char *name,
	const char *volume, char **ret_yaml, size_t *ret_size, char *err, size_t err_size)
{
	struct edit e = { .yaml = yaml, .size = size, .err = err, .err_size = err_size };
	char item[64];
	yaml_node_t *in;
	int r = load(&e);

	if (r < 0)
		return r;
	r = find_instance(&e, tenant, name, &in);
	snprintf(item, sizeof(item), "{volume: %.40s}", volume);
	if (r == 0)
		r = add(&e, in, "disks", item, ret_yaml, ret_size);
	yaml_document_delete(&e.doc);
	return r;
}

int config_detach(const char *yaml, size_t size, const char *tenant, const char *name,
	const char *volume, char **ret_yaml, size_t *ret_size, char *err, size_t err_size)
{
	struct edit e = { .yaml = yaml, .size = size, .err = err, .err_size = err_size };
	yaml_node_t *in, *list, *item;
	int r = load(&e);

	if (r < 0)
		return r;
	r = find_instance(&e, tenant, name, &in);
	if (r == 0) {
		list = value_of(&e, in, "disks");
		item = with(&e, list, "volume", volume);
		if (!item)
			r = fail(&e, -ENOENT, "it has no volume ", volume);
		else
			r = is_flow(list) ? delete_flow(&e, item, ret_yaml, ret_size)
					  : delete_block(&e, in, "disks", item, ret_yaml, ret_size);
	}
	yaml_document_delete(&e.doc);
	return r;
}
