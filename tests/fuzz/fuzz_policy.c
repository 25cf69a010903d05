// SPDX-License-Identifier: BSD-3-Clause
// Policy sections and roots as a hostile insulad would send them, through the validating loader and
// the builder. What is accepted is then asked the questions workers ask. Input: a policy_root's
// reference count byte, then sections, each a 16-bit size and its bytes; the header's size field is
// mended, so that mutations reach further than the first check.
#include <stdlib.h>
#include "tests/fuzz/fuzz.h"
#include "vswitch/policy.h"

enum { SECTIONS_MAX = 8 };

// An exact-size copy, with the size field set right when it can be.
static struct policy_part *load(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct policy_part *part = NULL;
	uint32_t actual = (uint32_t)size;
	char err[240];

	memcpy(copy, data, size);
	if (size >= sizeof(struct policy_section))
		memcpy(copy + offsetof(struct policy_section, size), &actual, sizeof(actual));
	if (policy_part_load(copy, size, &part, err, sizeof(err)) < 0)
		part = NULL;
	free(copy);
	return part;
}

static void ask(const struct policy *pol)
{
	for (uint32_t i = 0; i < pol->n_ports; i++) {
		const struct policy_prt *p = &pol->ports[i];

		if (policy_port(pol, p->p->id) != p)
			abort();
		if (p->segment != POLICY_NO_SEGMENT && p->p->address &&
			policy_host_port(pol, pol->segments[p->segment].s->zone, p->p->address) !=
				p)
			abort();
	}
	for (uint32_t i = 0; i < pol->n_segments; i++) {
		const struct policy_seg *s = &pol->segments[i];

		if (policy_segment_by_id(pol, s->s->id) == POLICY_NO_SEGMENT)
			abort();
		for (uint32_t k = 0; k < s->n_members; k++)
			if (!policy_port(pol, pol->members[s->first_member + k]))
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_root root = { POLICY_ROOT_MAGIC, POLICY_VERSION, 1, 0, 0 };
	struct policy_part *parts[SECTIONS_MAX];
	struct policy *pol;
	char err[240];

	policy_root_check(data, size, err, sizeof(err));
	while (size >= 2 && root.n_sections < SECTIONS_MAX) {
		size_t n = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		parts[root.n_sections] = load(data, n);
		if (parts[root.n_sections])
			root.n_sections++;
		data += n;
		size -= n;
	}
	if (policy_build(&root, parts, &pol, err, sizeof(err)) == 0) {
		ask(pol);
		policy_free(pol);
	}
	for (uint32_t i = 0; i < root.n_sections; i++)
		policy_part_unref(parts[i]);
	return 0;
}
