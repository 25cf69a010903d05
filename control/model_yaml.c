// SPDX-License-Identifier: BSD-3-Clause
// The desired state from YAML: a small engine that reads the tree by model_schema.c's table and
// reports what is wrong. What needs several values to be judged is in model_check.c. Main thread.
#include "control/model_yaml.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_schema.h"
#include "control/model_value.h"

struct reader {
	struct report *r;
	unsigned n_objects; // bounds what a hostile document can make us allocate
};

enum { MAX_OBJECTS = 4 * POLICY_MAX_PORTS };

static void read_object(
	struct reader *rd, const struct object *o, const struct yaml_node *n, void *object);
static void report_missing(
	struct reader *rd, const struct object *o, const struct yaml_node *n, unsigned line);

int model_from_yaml(const char *file, const char *yaml, size_t size, struct model **ret_model,
	struct model_errors *errors)
{
	struct report r = { .file = file };
	struct reader rd = { .r = &r };
	struct yaml_tree tree;
	struct model *m;
	int rc;

	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	rc = yaml_tree_read(&tree, yaml, size, &r);
	if (rc < 0)
		goto out;
	m->file = strdup(file);
	if (m->file == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	if (tree.root == NULL || yaml_is_null(tree.root)) {
		report_missing(&rd, &schema_top, NULL, 1);
	} else {
		read_object(&rd, &schema_top, tree.root, m);
		schema_fill_defaults(m);
		model_check(m, tree.root, &r);
		switch_settings_fill(&m->settings);
	}
	rc = report_failed(&r) ? -EINVAL : 0;
out:
	if (r.no_memory)
		rc = -ENOMEM;
	if (rc == -EINVAL && report_finish(&r, errors) < 0)
		rc = -ENOMEM;
	report_free(&r);
	yaml_tree_free(&tree);
	if (rc == 0)
		*ret_model = m;
	else
		model_free(m);
	return rc;
}

static void keys_of(const struct object *o,
	void (*each)(void *arg, const char *object, const char *key), void *arg)
{
	for (const struct field *f = o->fields; f->key != NULL; f++) {
		each(arg, o->path, f->key);
		if (f->object != NULL)
			keys_of(f->object, each, arg);
	}
}

void model_yaml_keys(void (*each)(void *arg, const char *object, const char *key), void *arg)
{
	keys_of(&schema_top, each, arg);
}

static void bad_value(
	struct reader *rd, const struct field *f, const struct yaml_node *n, const char *problem)
{
	static const char *const kinds[] = { "a text", "a list", "a map" };
	char buf[128];

	// The line of an empty value is that of its key: libyaml places it at the next token.
	int line = n->kind == YAML_SCALAR && n->text[0] == '\0' && n->key != NULL ? n->key_line
										  : n->line;
	if (problem == NULL && n->kind == YAML_SCALAR && yaml_is_null(n))
		report(rd->r, line, "%s has no value; allowed: %s%s", f->key,
			schema_allowed(f, buf, sizeof(buf)),
			f->type == FIELD_LIST     ? ", [] for none"
			: f->type == FIELD_OBJECT ? ", {} for none"
						  : "");
	else if (problem == NULL)
		report(rd->r, line, "%s is %s; allowed: %s", f->key, kinds[n->kind],
			schema_allowed(f, buf, sizeof(buf)));
	else
		report(rd->r, line, "%s \"%.80s\" %s; allowed: %s", f->key, n->text, problem,
			schema_allowed(f, buf, sizeof(buf)));
}

// Index of a word, or -1.
static int find_word(const char *const *words, const char *text)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

static const char *read_number(const struct field *f, const char *text, char *at, char *at2)
{
	const char *problem;
	uint32_t a = 0, b = 0;

	problem = f->type == FIELD_NUMBER_RANGE16 ? value_number_range(text, f->min, f->max, &a, &b)
						  : value_number(text, f->min, f->max, &a);
	if (problem != NULL || at == NULL)
		return problem;
	if (f->type == FIELD_NUMBER) {
		memcpy(at, &a, sizeof(a));
	} else {
		memcpy(at, &(uint16_t){ (uint16_t)a }, sizeof(uint16_t));
		if (f->type == FIELD_NUMBER_RANGE16)
			memcpy(at2, &(uint16_t){ (uint16_t)b }, sizeof(uint16_t));
	}
	return NULL;
}

static const char *read_word(const struct field *f, const char *text, char *at)
{
	int i = find_word(f->words, text);

	if (i < 0)
		return "is not known";
	if (at == NULL)
		return NULL;
	if (f->type == FIELD_SWITCH)
		memcpy(at, &(bool){ i == 1 }, sizeof(bool));
	else
		memcpy(at, &(unsigned){ (unsigned)i }, sizeof(unsigned)); // enums are unsigned here
	return NULL;
}

static const char *read_string(const struct field *f, const char *text, char *at)
{
	const char *problem = NULL;

	if (f->type == FIELD_NAME)
		problem = value_name(text, f->max);
	else if (f->type == FIELD_INTERFACE)
		problem = value_interface(text);
	else if (f->type == FIELD_NETNS)
		problem = value_netns(text, f->max);
	else if (f->type == FIELD_PATH)
		problem = value_path(text, f->max);
	else
		problem = value_text(text, f->max);
	if (problem == NULL) {
		memset(at, 0, f->max);
		memcpy(at, text, strlen(text));
	}
	return problem;
}

// A text with memory of its own.
static const char *read_allocated(
	struct reader *rd, const struct field *f, const char *text, char *at)
{
	const char *problem = f->type == FIELD_FILE    ? value_file(text, f->max)
			      : f->type == FIELD_LINES ? value_lines(text, f->max)
						       : value_text(text, f->max);
	char **copy = (void *)at;

	if (problem != NULL)
		return problem;
	*copy = strdup(text);
	if (*copy == NULL)
		rd->r->no_memory = true;
	return NULL;
}

// struct model's addresses are aligned; the casts go through void.
static const char *read_address(const struct field *f, const char *text, void *at, void *at2)
{
	if (f->type == FIELD_MAC)
		return value_mac(text, at);
	if (f->type == FIELD_IPV4)
		return value_ipv4(text, at);
	if (f->type == FIELD_IPV4_RANGE)
		return value_ipv4_range(text, at, at2);
	return value_cidr(text, f->type == FIELD_SUBNET, at, at2);
}

static void read_scalar(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	char *at = f->at != SCHEMA_NOWHERE ? object + f->at : NULL;
	char *at2 = object + f->at2;
	const char *problem;

	if (n->kind != YAML_SCALAR || yaml_is_null(n)) {
		bad_value(rd, f, n, NULL);
		return;
	}
	if (f->type == FIELD_FILE || f->type == FIELD_LINE || f->type == FIELD_LINES)
		problem = read_allocated(rd, f, n->text, at);
	else if (f->type == FIELD_MEMORY)
		problem = value_memory(n->text, f->min, f->max, (void *)at);
	else if (f->type <= FIELD_NUMBER_RANGE16)
		problem = n->quoted ? "is a text in quotes" : read_number(f, n->text, at, at2);
	else if (f->type <= FIELD_SWITCH)
		problem = read_word(f, n->text, at);
	else if (f->type <= FIELD_TEXT)
		problem = read_string(f, n->text, at);
	else
		problem = read_address(f, n->text, at, at2);
	if (problem != NULL)
		bad_value(rd, f, n, problem);
}

static void read_ipv4_list(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	uint8_t count = 0;

	if (n->kind != YAML_LIST) {
		bad_value(
			rd, f, n, n->kind == YAML_SCALAR && !yaml_is_null(n) ? "is no list" : NULL);
		return;
	}
	if (n->n == 0 || n->n > f->max) {
		report(rd->r, n->line, "%s has %u entries; allowed: 1 to %u addresses", f->key,
			n->n, f->max);
		return;
	}
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const char *problem = NULL;
		be32 a = 0;

		if (c->kind == YAML_SCALAR)
			problem = value_ipv4(c->text, &a);
		if (c->kind != YAML_SCALAR || problem != NULL)
			bad_value(rd, f, c, problem);
		memcpy(object + f->at + count * sizeof(a), &a, sizeof(a));
		count++;
	}
	memcpy(object + f->at2, &count, sizeof(count));
}

static void read_vlans(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	uint8_t *map = (uint8_t *)object + f->at;
	bool bad = false;

	if (n->kind != YAML_LIST) {
		bad_value(
			rd, f, n, n->kind == YAML_SCALAR && !yaml_is_null(n) ? "is no list" : NULL);
		return;
	}
	if (n->n == 0)
		report(rd->r, n->line, "%s is empty; allowed: %s", f->key, f->allowed);
	if (n->n > f->max) {
		report(rd->r, n->line, "%s has %u entries; allowed: 1 to %u VLANs and ranges",
			f->key, n->n, f->max);
		return;
	}
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const char *problem = NULL;
		uint32_t a = 1, b = 0;

		if (c->kind == YAML_SCALAR)
			problem = value_number_range(c->text, f->min, f->max, &a, &b);
		if (c->kind != YAML_SCALAR || problem != NULL) {
			bad_value(rd, f, c, problem);
			bad = true;
		}
		for (uint32_t v = a; v <= b; v++)
			map[v / 8] |= (uint8_t)(1u << (v % 8));
	}
	if (bad) // not judged again
		memset(map, 0, sizeof(((struct model_trunk *)0)->allowed));
}

static void read_list(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	char *items;

	// "tenants:" with nothing behind it is a file cut short rather than an empty list.
	if (n->kind != YAML_LIST) {
		bad_value(
			rd, f, n, n->kind == YAML_SCALAR && !yaml_is_null(n) ? "is no list" : NULL);
		return;
	}
	if (n->n > f->max) {
		report(rd->r, n->line, "%s has %u entries; allowed: at most %u", f->key, n->n,
			f->max);
		return;
	}
	if (n->n > MAX_OBJECTS - rd->n_objects) {
		report(rd->r, n->line, "the document describes more than %u things; split it",
			(unsigned)MAX_OBJECTS);
		return;
	}
	rd->n_objects += n->n;
	items = calloc(n->n + 1, f->object->size);
	if (items == NULL) {
		rd->r->no_memory = true;
		return;
	}
	memcpy(object + f->at, &items, sizeof(items));
	memcpy(object + f->at2, &n->n, sizeof(n->n));
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		f->object->set_defaults(items, c->line);
		read_object(rd, f->object, c, items);
		items += f->object->size;
	}
}

static void read_field(
	struct reader *rd, const struct field *f, const struct yaml_node *n, char *object)
{
	switch (f->type) {
	case FIELD_IPV4_LIST:
		read_ipv4_list(rd, f, n, object);
		break;
	case FIELD_VLANS:
		read_vlans(rd, f, n, object);
		break;
	case FIELD_OBJECT:
		if (n->kind == YAML_SCALAR && yaml_is_null(n))
			bad_value(rd, f, n, NULL);
		else
			read_object(rd, f->object, n, object + f->at);
		break;
	case FIELD_LIST:
		read_list(rd, f, n, object);
		break;
	case FIELD_NUMBER:
	case FIELD_NUMBER16:
	case FIELD_NUMBER_RANGE16:
	case FIELD_CHOICE:
	case FIELD_SWITCH:
	case FIELD_NAME:
	case FIELD_INTERFACE:
	case FIELD_NETNS:
	case FIELD_PATH:
	case FIELD_TEXT:
	case FIELD_FILE:
	case FIELD_LINE:
	case FIELD_LINES:
	case FIELD_MEMORY:
	case FIELD_MAC:
	case FIELD_IPV4:
	case FIELD_IPV4_RANGE:
	case FIELD_ADDRESS:
	case FIELD_SUBNET:
		read_scalar(rd, f, n, object);
		break;
	}
}

// Edit distance, at most `limit` + 1. Keys are short; what is long is no misspelt key.
static unsigned distance(const char *a, const char *b, unsigned limit)
{
	unsigned row[32];
	size_t na = strlen(a), nb = strlen(b);

	if (na >= 32 || nb >= 32)
		return limit + 1;
	for (unsigned j = 0; j <= nb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[nb] <= limit ? row[nb] : limit + 1;
}

static void unknown_key(struct reader *rd, const struct object *o, struct yaml_node *n)
{
	char allowed[512] = "";
	const char *near = NULL;
	unsigned best = 3;

	for (const struct field *f = o->fields; f->key != NULL; f++) {
		unsigned d = distance(n->key, f->key, 2);

		if (d < best && d < strlen(f->key)) {
			best = d;
			near = f->key;
		}
		schema_append(allowed, sizeof(allowed), f == o->fields ? "" : ", ");
		schema_append(allowed, sizeof(allowed), f->key);
	}
	n->means = near;
	if (near != NULL)
		report(rd->r, n->key_line,
			"unknown key \"%.80s\", did you mean \"%s\"?; allowed: %s", n->key, near,
			allowed);
	else
		report(rd->r, n->key_line, "unknown key \"%.80s\"; allowed: %s", n->key, allowed);
}

static void read_object(
	struct reader *rd, const struct object *o, const struct yaml_node *n, void *object)
{
	if (n->kind != YAML_MAP) {
		const struct field *first = o->fields;

		report(rd->r, n->line, "%s is %s; a map of keys and values, like \"%s: ...\"",
			o->path[0] != '\0' ? o->path : "the document",
			n->kind == YAML_LIST ? "a list" : "a text", first->key);
		return;
	}
	for (struct yaml_node *c = n->first; c != NULL; c = c->next) {
		const struct field *f = o->fields;

		while (f->key != NULL && strcmp(f->key, c->key) != 0)
			f++;
		if (f->key != NULL)
			read_field(rd, f, c, object);
		else
			unknown_key(rd, o, c);
	}
	report_missing(rd, o, n, n->line);
}

// n = NULL: nothing is there.
static void report_missing(
	struct reader *rd, const struct object *o, const struct yaml_node *n, unsigned line)
{
	char buf[128];

	for (const struct field *f = o->fields; f->key != NULL; f++)
		if (f->required && !yaml_has(n, f->key))
			report(rd->r, line, "%s is missing; allowed: %s", f->key,
				schema_allowed(f, buf, sizeof(buf)));
}
