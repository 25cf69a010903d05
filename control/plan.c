// SPDX-License-Identifier: BSD-3-Clause
// The difference of two described states, see plan.h. Called by daemon.c.
#include "control/plan.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "control/policy.h"

enum { VALUE_SIZE = POLICY_MAX_DNS * INET_ADDRSTRLEN };

// Grows a sentence by one clause; what does not fit is left out.
static void clause(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void clause(char *text, size_t size, const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list ap;

	if (used)
		used += (size_t)snprintf(text + used, size - used, ", ");
	if (used >= size)
		return;
	va_start(ap, fmt);
	vsnprintf(text + used, size - used, fmt, ap);
	va_end(ap);
}

// What is not the user's to decide, or told elsewhere.
static bool is_silent(const char *key)
{
	static const char *const keys[] = { "kind", "name", "id", "tenant", "networks", "instances",
		"ports" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

// What the absence of a key means.
static const char *absent(const char *key)
{
	return strcmp(key, "queues") == 0         ? "default"
	       : strcmp(key, "allow_non_ip") == 0 ? "no"
						  : "none";
}

static const char *value_text(const char *key, const json_t *v, char *buffer, size_t size)
{
	size_t i, used = 0;
	json_t *e;

	if (!v)
		return absent(key);
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_array(v)) { // of texts
		buffer[0] = 0;
		json_array_foreach(v, i, e) {
			if (used < size)
				used += (size_t)snprintf(buffer + used, size - used, "%s%s",
					i ? " " : "", json_string_value(e));
		}
		return buffer;
	}
	snprintf(buffer, size, "%lld", (long long)json_integer_value(v));
	return buffer;
}

static json_t *change(const char *op, const json_t *o, const char *detail)
{
	return json_pack("{s:s, s:O, s:O, s:s}", "op", op, "kind", json_object_get(o, "kind"),
		"name", json_object_get(o, "name"), "detail", detail);
}

static json_t *creation(json_t *o)
{
	char text[600] = "", value[VALUE_SIZE];
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
		if (!is_silent(key))
			clause(text, sizeof(text), "%s %s", key,
				value_text(key, v, value, sizeof(value)));
	return change("create", o, text);
}

// NULL when nothing differs.
static json_t *update(json_t *was, json_t *will)
{
	char text[600] = "", from[VALUE_SIZE], to[VALUE_SIZE];
	const char *key;
	json_t *v;

	json_object_foreach(will, key, v)
		if (!is_silent(key) && !json_equal(v, json_object_get(was, key)))
			clause(text, sizeof(text), "%s %s -> %s", key,
				value_text(key, json_object_get(was, key), from, sizeof(from)),
				value_text(key, v, to, sizeof(to)));
	json_object_foreach(was, key, v)
		if (!is_silent(key) && !json_object_get(will, key))
			clause(text, sizeof(text), "%s %s -> %s", key,
				value_text(key, v, from, sizeof(from)), absent(key));
	return text[0] ? change("update", will, text) : NULL;
}

json_t *plan_changes(const json_t *was, const json_t *will)
{
	json_t *changes = json_array(), *deletions = json_array();
	json_t *w = json_copy((json_t *)(uintptr_t)will), *o = json_copy((json_t *)(uintptr_t)was);
	const char *key;
	json_t *v;

	json_object_foreach(w, key, v) {
		json_t *old = json_object_get(o, key);
		json_t *c = old ? update(old, v) : creation(v);
		if (c)
			json_array_append_new(changes, c);
	}
	json_object_foreach(o, key, v)
		if (!json_object_get(w, key))
			json_array_insert_new(deletions, 0, change("delete", v, ""));
	json_array_extend(changes, deletions);
	json_decref(deletions);
	json_decref(w);
	json_decref(o);
	return changes;
}

void plan_add_detail(json_t *changes, const char *kind, const char *name, const char *detail)
{
	size_t i;
	json_t *c;

	json_array_foreach(changes, i, c) {
		const char *had = json_string_value(json_object_get(c, "detail"));
		if (strcmp(json_string_value(json_object_get(c, "kind")), kind) != 0 ||
			strcmp(json_string_value(json_object_get(c, "name")), name) != 0)
			continue;
		json_object_set_new(
			c, "detail", json_sprintf("%s%s%s", had, had[0] ? "; " : "", detail));
		return;
	}
	json_array_append_new(changes, json_pack("{s:s, s:s, s:s, s:s}", "op", "update", "kind",
					       kind, "name", name, "detail", detail));
}
