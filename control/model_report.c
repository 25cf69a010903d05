// SPDX-License-Identifier: BSD-3-Clause
// Collects the mistakes of one YAML document and hands them out in line order.
// Called by the reader and the checks, main thread only.
#include "control/model_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/yaml_node.h"

// Characters beyond ASCII that a terminal obeys or does not show: C1 controls, line and paragraph
// separators, what turns the direction of text (UAX #9), and what has no width.
static bool is_hidden(const uint8_t *p, size_t n)
{
	uint32_t c = p[0] & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return (c >= 0x80 && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

// Quoted pieces of the document may hold escaped control characters (a terminal would obey them) or
// be cut within a character (JSON would refuse them).
static void make_printable(char *text)
{
	uint8_t *p = (uint8_t *)text;
	size_t left = strlen(text), n;

	for (; left > 0; p += n, left -= n) {
		n = yaml_utf8_size(p, left);
		if (n == 0 || p[0] < 0x20 || p[0] == 0x7f) {
			*p = '?';
			n = 1;
		} else if (n > 1 && is_hidden(p, n)) {
			memset(p, '?', n);
		}
	}
}

void report(struct report *r, int line, const char *format, ...)
{
	struct report_entry *e;
	char *what = NULL, *text = NULL;
	va_list ap;

	if (r->n == REPORT_MAX) {
		r->n_dropped++;
		return;
	}
	va_start(ap, format);
	if (vasprintf(&what, format, ap) < 0)
		what = NULL;
	va_end(ap);
	if (what == NULL || asprintf(&text, "%s:%d: %s", r->file, line, what) < 0)
		goto no_memory;
	make_printable(text);
	if ((r->n & (r->n - 1)) == 0) { // 0 and the powers of two: grow
		e = reallocarray(r->e, r->n == 0 ? 1 : 2 * r->n, sizeof(*e));
		if (e == NULL) {
			free(text);
			goto no_memory;
		}
		r->e = e;
	}
	r->e[r->n] = (struct report_entry){ .line = line, .order = r->n, .text = text };
	r->n++;
	free(what);
	return;
no_memory:
	free(what);
	r->no_memory = true;
}

bool report_failed(const struct report *r)
{
	return r->n > 0 || r->no_memory;
}

static int by_line(const void *a, const void *b)
{
	const struct report_entry *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

int report_finish(struct report *r, struct model_errors *ret_errors)
{
	char **text = reallocarray(NULL, r->n + 1, sizeof(*text));
	unsigned n = 0;

	if (text == NULL)
		return -ENOMEM;
	if (r->n > 0)
		qsort(r->e, r->n, sizeof(*r->e), by_line);
	for (unsigned i = 0; i < r->n; i++)
		text[n++] = r->e[i].text;
	if (r->n_dropped > 0) {
		if (asprintf(&text[n], "%s: %u more mistakes are not shown; mend these first",
			    r->file, r->n_dropped) < 0) {
			free(text);
			return -ENOMEM;
		}
		n++;
	}
	free(r->e);
	r->e = NULL;
	r->n = r->n_dropped = 0;
	*ret_errors = (struct model_errors){ .n = n, .text = text };
	return 0;
}

void report_free(struct report *r)
{
	for (unsigned i = 0; i < r->n; i++)
		free(r->e[i].text);
	free(r->e);
	*r = (struct report){ .file = r->file };
}
