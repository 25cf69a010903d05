// SPDX-License-Identifier: BSD-3-Clause
// Fuzz target: the YAML reader and every check behind it. Any bytes give a model or at least one
// error text; texts are printable, so that a terminal and JSON may have them.
#include <errno.h>
#include <stdlib.h>

#include "control/model_yaml.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	int rc = model_from_yaml("fuzz.yaml", (const char *)data, size, &m, &errors);

	if (rc == 0)
		model_free(m);
	else if (rc != -EINVAL || errors.n == 0)
		abort();
	for (unsigned i = 0; i < errors.n; i++) {
		const uint8_t *p = (const uint8_t *)errors.text[i];

		for (size_t left = strlen(errors.text[i]), n; left > 0; p += n, left -= n) {
			n = yaml_utf8_size(p, left);
			if (n == 0 || p[0] < 0x20 || p[0] == 0x7f)
				abort();
		}
	}
	model_errors_free(&errors);
	return 0;
}
