// SPDX-License-Identifier: BSD-3-Clause
// Names and texts of the drop reasons; everything comes from the list in drop.h.
#include "vswitch/drop.h"

static const char *const names[DROP_COUNT] = {
	"none",
#define X(symbol, name, text) name,
	DROP_REASONS(X)
#undef X
};

static const char *const texts[DROP_COUNT] = {
	"not dropped",
#define X(symbol, name, text) text,
	DROP_REASONS(X)
#undef X
};

const char *drop_name(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? names[r] : "unknown";
}

const char *drop_text(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? texts[r] : "unknown";
}
