// SPDX-License-Identifier: BSD-3-Clause
// A YAML document as a tree with line numbers. Less than YAML on purpose: one document, no
// anchors, aliases or tags, keys are scalars and unique, bounded size, depth and count. Text is
// checked UTF-8 without NUL. Read by model_yaml.c; insulad's main thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report;

enum {
	YAML_MAX_SIZE = 16 << 20, // bytes of a document
	YAML_MAX_DEPTH = 32,
	YAML_MAX_NODES = 2 << 20,
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP, YAML_KIND_COUNT };

struct yaml_node {
	enum yaml_kind kind;
	int line; // 1..
	int key_line; // of its key, when it is a map's value
	bool quoted; // scalar: written with quotes or as a block
	unsigned n; // children
	const char *text; // scalar, terminated
	const char *key; // its key in the map it belongs to, else NULL
	const char *means; // the key that was probably meant by one nobody knows, else NULL
	struct yaml_node *first, *next; // children in the order of the file
	struct yaml_node *last;
};

struct yaml_tree {
	struct yaml_node *root; // NULL: an empty document
	struct yaml_chunk *chunks; // where nodes and texts lie
	size_t used;
	unsigned n_nodes;
};

// Mistakes go to `r`. 0 with *ret_tree (yaml_tree_free in every case); -EINVAL, -ENOMEM.
int yaml_tree_read(struct yaml_tree *ret_tree, const char *yaml, size_t size, struct report *r);
void yaml_tree_free(struct yaml_tree *t);

// The value of a key, or NULL; of a NULL node or what is no map too.
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
// Is the key there, also misspelt (`means`)? Then its absence is no mistake of its own.
bool yaml_has(const struct yaml_node *map, const char *key);
// Nothing was written: "key:", "key: ~" or "key: null".
bool yaml_is_null(const struct yaml_node *n);
// Bytes of the UTF-8 sequence at p (RFC 3629 section 4), of which `left` > 0 are there; 0 = it is
// none.
size_t yaml_utf8_size(const uint8_t *p, size_t left);
