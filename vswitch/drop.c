// SPDX-License-Identifier: BSD-3-Clause
// Names and texts of the drop reasons; everything comes from the list in drop.h.
#include "vswitch/drop.h"

#define NAME_OF(symbol, name, text) name,
#define TEXT_OF(symbol, name, text) text,
static const char *const names[DROP_COUNT] = { "none", DROP_REASONS(NAME_OF) };
static const char *const texts[DROP_COUNT] = { "not dropped", DROP_REASONS(TEXT_OF) };

const char *drop_name(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? names[r] : "unknown";
}

const char *drop_text(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? texts[r] : "unknown";
}
