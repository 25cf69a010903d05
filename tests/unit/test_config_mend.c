// SPDX-License-Identifier: BSD-3-Clause
// Keys with nothing behind them, in all the ways they can be written, get the empty list or map
// that they were taken for; nothing else is touched, and the reader takes the result.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_mend.h"
#include "control/model.h"

#define HEAD "version: 1\ntenants:\n- name: red\n"

// From an exact copy: AddressSanitizer sees a byte read too far.
static int mended(const char *yaml, char **ret_made, size_t *ret_size)
{
	size_t n = strlen(yaml);
	char *copy = malloc(n + !n);

	memcpy(copy, yaml, n);
	*ret_made = NULL;
	int r = config_mend(copy, n, ret_made, ret_size);
	free(copy);
	return r;
}

static void becomes(const char *before, const char *after)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	size_t size = 0;
	char *made;

	if (model_from_yaml("t", before, strlen(before), &m, &errors) == 0)
		fail_msg("is taken as it is:\n%s", before);
	model_errors_free(&errors);
	assert_int_equal(mended(before, &made, &size), 1);
	assert_string_equal(made, after);
	assert_int_equal(size, strlen(after));
	if (model_from_yaml("t", made, size, &m, &errors) < 0)
		fail_msg("%s in:\n%s", errors.text[0], made);
	model_free(m);
	free(made);
}

static void stays(const char *yaml)
{
	size_t size = 0;
	char *made;

	assert_int_equal(mended(yaml, &made, &size), 0);
	assert_null(made);
}

static void blocks(void **state)
{
	becomes("version: 1\ntenants:", "version: 1\ntenants: []");
	becomes("tenants:\nversion: 1\n", "tenants: []\nversion: 1\n");
	becomes("\xef\xbb\xbftenants:\nversion: 1\n", "\xef\xbb\xbftenants: []\nversion: 1\n");
	becomes("# \xc3\xa4\xe2\x82\xac\r\ntenants:\r\nversion: 1\r\n",
		"# \xc3\xa4\xe2\x82\xac\r\ntenants: []\r\nversion: 1\r\n");
	becomes("version: 1\nsettings: # of all\nuplinks: ~\ntrunks: null # none\n\"tenants\" :\n",
		"version: 1\nsettings: {} # of all\nuplinks: []\ntrunks: [] # none\n"
		"\"tenants\" : []\n");
	becomes(HEAD "  networks:\n  instances:\n  # none\n- name: blue\n  instances:\n",
		HEAD "  networks: []\n  instances: []\n  # none\n- name: blue\n  instances: []\n");
	becomes(HEAD "  instances:\n    - name: a\n      nics:\n",
		HEAD "  instances:\n    - name: a\n      nics: []\n");
	becomes(HEAD "  instances:\n  - kind: vm\n    kernel: /k\n    disks:\n    name: a\n",
		HEAD "  instances:\n  - kind: vm\n    kernel: /k\n    disks: []\n    name: a\n");
}

static void flows(void **state)
{
	becomes("{version: 1, tenants: }", "{version: 1, tenants: [] }");
	becomes("{version: 1, tenants: ~}", "{version: 1, tenants: []}");
	becomes("{\"tenants\":, \"version\": 1}", "{\"tenants\": [], \"version\": 1}");
	becomes("{tenants, version: 1}", "{tenants: [], version: 1}");
	becomes(HEAD "  instances: [{name: a, nics: # none\n }, {nics: , name: b}]\n",
		HEAD "  instances: [{name: a, nics: [] # none\n }, {nics: [] , name: b}]\n");
}

// "? key", with its colon in a line of its own, or without one.
static void written_out(void **state)
{
	becomes("? trunks # none: [\n: # here\nversion: 1\n",
		"? trunks # none: [\n: [] # here\nversion: 1\n");
	becomes("version: 1\n? trunks # none\n? uplinks",
		"version: 1\n? trunks\n: [] # none\n? uplinks\n: []");
	becomes(HEAD "  ? instances\n  ? networks\n",
		HEAD "  ? instances\n  : []\n  ? networks\n  : []\n");
}

// What was never taken stays refused, and what is no list or map is none.
static void left(void **state)
{
	stays("");
	stays("~");
	stays("version: 1\ntenants: []\nsettings: {}\n");
	stays("version: 1\ntenants: \"\"\nuplinks: '~'\n");
	stays("version:\ntenant:\n");
	stays("- tenants:\n");
	stays("settings: {tenants: }\n");
	stays("tenants: {networks: }\n");
	stays(HEAD "  tenants:\n  nics:\n  networks:\n  - name:\n    dns:\n");
	stays(HEAD "  networks: {instances: }\n  instances: [[{nics: }]]\n");
	stays("tenants:\n? [a]\n: b\n");
	stays("tenants:\nuplinks: *a\n");
	stays("tenants:\n\tx: [\n");
	stays("tenants:\nx: "
	      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks),
		cmocka_unit_test(flows),
		cmocka_unit_test(written_out),
		cmocka_unit_test(left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
