// SPDX-License-Identifier: BSD-3-Clause
#include "vswitch/session_table.h"

size_t session_table_file_size(uint32_t capacity)
{
	return capacity * sizeof(struct session_record);
}
