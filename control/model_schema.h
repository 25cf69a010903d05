// SPDX-License-Identifier: BSD-3-Clause
// The shape of model_schema.c's table: which key of which object goes where in struct model, and
// what it may be. For the engine in model_yaml.c only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"

enum field_type {
	FIELD_NUMBER, // uint32_t
	FIELD_NUMBER16, // uint16_t
	FIELD_NUMBER_RANGE16, // two uint16_t
	FIELD_CHOICE, // an enum, by index into `words`
	FIELD_SWITCH, // bool: words[0] is false, words[1] is true
	FIELD_NAME,
	FIELD_INTERFACE,
	FIELD_NETNS,
	FIELD_PATH,
	FIELD_TEXT,
	FIELD_FILE, // char *: an absolute path
	FIELD_LINE, // char *: printable ASCII
	FIELD_LINES, // char *: UTF-8 with line breaks
	FIELD_MEMORY, // uint32_t, in MiB
	FIELD_MAC,
	FIELD_IPV4,
	FIELD_IPV4_RANGE, // two be32
	FIELD_IPV4_LIST, // be32[max], uint8_t count
	FIELD_ADDRESS, // be32, uint8_t prefix length
	FIELD_SUBNET, // likewise, without host bits
	FIELD_VLANS, // bit map of 512 bytes
	FIELD_OBJECT, // a map, read into the same structure
	FIELD_LIST, // pointer, unsigned count
};

struct object;

struct field {
	const char *key;
	enum field_type type;
	bool required;
	size_t at, at2; // where it goes; SCHEMA_NOWHERE = checked only
	uint32_t min, max; // numbers; max: size of a text, length of a list
	const char *const *words; // NULL-terminated
	const struct object *object;
	const char *allowed; // for the message; NULL = made from type and range
};

struct object {
	const char *path; // as SCHEMA.md's headings say it
	size_t size;
	const struct field *fields;
	void (*set_defaults)(void *object, int line);
};

#define SCHEMA_NOWHERE SIZE_MAX

extern const struct object schema_top;

// What a field may be, in words; in `buf` unless it is constant.
const char *schema_allowed(const struct field *f, char *buf, size_t size);
// Appends to a bounded text.
void schema_append(char *buf, size_t size, const char *word);
// Fills the defaults that depend on other values.
void schema_fill_defaults(struct model *m);
