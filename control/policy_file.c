// SPDX-License-Identifier: BSD-3-Clause
// From YAML to a policy in one piece, see policy_file.h: the way of an apply (daemon.c, apply.c) up
// to where the switch would be told.
#include "control/policy_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "control/compile.h"
#include "control/log.h"

static int join(const struct compiled *c, void **ret_data, size_t *ret_size)
{
	size_t size = c->root.size;
	uint8_t *data;

	for (unsigned i = 0; i < c->n_sections; i++)
		size += c->sections[i].size;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	memcpy(data, c->root.data, c->root.size);
	*ret_data = data;
	*ret_size = size;
	data += c->root.size;
	for (unsigned i = 0; i < c->n_sections; i++) {
		memcpy(data, c->sections[i].data, c->sections[i].size);
		data += c->sections[i].size;
	}
	return 0;
}

static int allocate(
	struct store *s, struct model *m, struct desired **ret_desired, struct model_errors *errors)
{
	int r = store_begin(s);

	if (r < 0) {
		model_free(m);
		return r;
	}
	r = alloc_desired(s, m, ret_desired, errors);
	if (r < 0) {
		store_rollback(s);
		return r;
	}
	r = store_round_accept(s, (*ret_desired)->round);
	if (r == 0)
		r = store_commit(s);
	if (r < 0)
		desired_free(*ret_desired);
	return r;
}

int policy_file_compile(struct store *s, const char *file, const char *yaml, size_t size,
	void **ret_data, size_t *ret_size, struct switch_settings *ret_settings,
	struct model_errors *errors, char *err, size_t err_size)
{
	struct compiled *c;
	struct desired *d;
	struct model *m;
	int r = model_from_yaml(file, yaml, size, &m, errors);

	if (r == 0)
		r = allocate(s, m, &d, errors);
	if (r < 0)
		return r == -EINVAL && errors->n
			       ? r
			       : log_reason(r, err, err_size, "%s: %s", file,
					 r == -EIO ? store_error(s) : strerror(-r));
	r = compile_policy(d, NULL, 0, NULL, 1, &c, err, err_size);
	*ret_settings = d->model->settings;
	desired_free(d);
	if (r < 0)
		return r;
	r = join(c, ret_data, ret_size);
	compiled_free(c);
	return r < 0 ? log_reason(r, err, err_size, "out of memory") : 0;
}
