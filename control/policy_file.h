// SPDX-License-Identifier: BSD-3-Clause
// A policy in a file, as a replay wants it: compiled from YAML as insulad would, without insulad.
// For `insula replay` and the fixture runner; one thread.
#pragma once

#include "control/model.h"
#include "control/store.h"

// Compiles `yaml` (called `file` in error texts) with the numbers, MACs and addresses of `s`, a
// store in memory; several files with one store agree on what they share. No name server is the
// host's: networks that name none tell none. 0 with *ret_data to free; -EINVAL with error texts;
// else -errno with a sentence in err. *ret_settings: the file's.
int policy_file_compile(struct store *s, const char *file, const char *yaml, size_t size,
	void **ret_data, size_t *ret_size, struct switch_settings *ret_settings,
	struct model_errors *errors, char *err, size_t err_size);
