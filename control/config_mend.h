// SPDX-License-Identifier: BSD-3-Clause
// A file that was applied to an insulad for which a key with nothing behind it was an empty list or
// map, as it is written since those are refused: what was taken once is taken when it is loaded.
// Pure.
#pragma once

#include <stddef.h>

// Puts [] or {} behind such keys, all else is left as its author wrote it. 1 with *ret_yaml (free
// it; terminated); 0: there is none, or the text is no YAML, of which its reader says more;
// -ENOMEM.
int config_mend(const char *yaml, size_t size, char **ret_yaml, size_t *ret_size);
