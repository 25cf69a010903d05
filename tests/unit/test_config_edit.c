// SPDX-License-Identifier: BSD-3-Clause
// An instance put into a file's text and taken out again: in all the ways a list can be written,
// with nothing else touched; and what is read of the result.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_edit.h"
#include "control/model.h"

#define HEAD "version: 1\n# of all\ntenants:\n"
#define LAN "networks: [{name: lan, vlan: 1, subnet: 10.0.0.0/24}]"
#define ITEM "{name: web, kind: vm, kernel: /k, cmdline: 'a=1 it''s #', cpus: 2, readonly: true}"

static json_t *web(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:b}", "name", "web", "kind", "vm", "kernel",
		"/k", "cmdline", "a=1 it's #", "cpus", 2, "readonly", 1);
}

// An exact copy: AddressSanitizer sees a byte read too far.
static char *edited(bool add, const char *yaml, int expected)
{
	json_t *instance = web();
	size_t n = strlen(yaml), size = 0;
	char *copy = malloc(n), *made = NULL, err[200] = "";
	int r;

	memcpy(copy, yaml, n);
	r = add ? config_add_instance(copy, n, "red", instance, &made, &size, err, sizeof(err))
		: config_delete_instance(copy, n, "red", "web", &made, &size, err, sizeof(err));
	if (r != expected)
		fail_msg("%d: %s in:\n%s", r, err, yaml);
	assert_true(r < 0 ? err[0] && !made : strlen(made) == size);
	free(copy);
	json_decref(instance);
	return made;
}

static void becomes(const char *before, const char *after)
{
	char *made = edited(true, before, 0);

	assert_string_equal(made, after);
	free(made);
}

static void returns(const char *before, const char *after)
{
	char *made = edited(false, before, 0);

	assert_string_equal(made, after);
	free(made);
}

static void added(void **state)
{
	becomes(HEAD "- name: red\n  " LAN "\n# end\n",
		HEAD "- name: red\n  " LAN "\n  instances:\n    - " ITEM "\n# end\n");
	becomes(HEAD "- name: red # r\n  instances:\n  - name: a\n    nics: []  # none\n\n- name: "
		     "blue\n",
		HEAD "- name: red # r\n  instances:\n  - name: a\n    nics: []  # none\n  - " ITEM
		     "\n\n- name: blue\n");
	becomes(HEAD "  - name: red\n    instances:\n      - {name: a}\n    " LAN "\n",
		HEAD "  - name: red\n    instances:\n      - {name: a}\n      - " ITEM "\n    " LAN
		     "\n");
	becomes(HEAD "- name: red\n  instances: [{name: a}] # x\n",
		HEAD "- name: red\n  instances: [{name: a}, " ITEM "] # x\n");
	becomes(HEAD "- {name: red}\n", HEAD "- {name: red, instances: [" ITEM "]}\n");
	becomes(HEAD "- name: blue\n- name: red", // no line break at its end
		HEAD "- name: blue\n- name: red\n  instances:\n    - " ITEM "\n");
	// Characters of several bytes before it, and a byte order mark.
	becomes("\xef\xbb\xbf# \xc3\xa4\xe2\x82\xac\ntenants: [{name: red}]  # \xc3\xa4\n",
		"\xef\xbb\xbf# \xc3\xa4\xe2\x82\xac\ntenants: [{name: red, instances: [" ITEM
		"]}]  # \xc3\xa4\n");
	becomes("tenants: [{note: \xc3\xa4, name: red}]\n",
		"tenants: [{note: \xc3\xa4, name: red, instances: [" ITEM "]}]\n");
	becomes(HEAD "- name: red\n  text: |\n    a\n    b\n",
		HEAD "- name: red\n  text: |\n    a\n    b\n  instances:\n    - " ITEM "\n");
}

// A list of nothing, however it is said.
static void added_to_nothing(void **state)
{
	static const char *const nothing[] = { "", " []", " ~", " null", " [] # none",
		"   # none" };

	for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
		struct model_errors errors = { 0 };
		struct model *m = NULL;
		char before[400], *made;

		snprintf(before, sizeof(before), HEAD "- name: red\n  instances:%s\n  " LAN "\n",
			nothing[i]);
		made = edited(true, before, 0);
		char *key = strstr(made, ", readonly: true"); // which no instance has
		memmove(key, key + 16, strlen(key + 16) + 1);
		if (model_from_yaml("t", made, strlen(made), &m, &errors) < 0)
			fail_msg("%s in:\n%s", errors.text[0], made);
		assert_int_equal(m->tenants[0].n_instances, 1);
		assert_string_equal(m->tenants[0].instances[0].cmdline, "a=1 it's #");
		model_free(m);
		free(made);
	}
}

static void deleted(void **state)
{
	returns(HEAD "- name: red\n  instances:\n  # a's\n  - name: a\n  # the web\n  - name: web "
		     "# w\n    "
		     "nics:\n    - {network: lan}\n  # b's\n  - name: b\n",
		HEAD "- name: red\n  instances:\n  # a's\n  - name: a\n  # the web\n  # b's\n  - "
		     "name: b\n");
	returns(HEAD "- name: red\n  instances:\n    -\n      name: web\n  x: 1\n",
		HEAD "- name: red\n  instances: []\n  x: 1\n");
	returns(HEAD "- name: red\n  \"instances\" : # x\n  # the web\n  - name: web\n  x: 1\n",
		HEAD "- name: red\n  \"instances\" : [] # x\n  # the web\n  x: 1\n");
	returns(HEAD "- name: red\n  instances: [{name: a}, {name: web, cpus: 1}, {name: c}]\n",
		HEAD "- name: red\n  instances: [{name: a}, {name: c}]\n");
	returns(HEAD "- name: red\n  instances: [{name: a},\n    {name: web}]\n",
		HEAD "- name: red\n  instances: [{name: a}]\n");
	returns(HEAD "- name: red\n  instances: [{name: web}]\n",
		HEAD "- name: red\n  instances: []\n");
	returns(HEAD "- name: blue\n  instances:\n  - name: web\n- name: red\n  instances:\n  - "
		     "name: web",
		HEAD "- name: blue\n  instances:\n  - name: web\n- name: red\n  instances: []\n");
}

static void edits_disks(bool attach, const char *before, const char *after)
{
	char err[256] = "", *made = NULL;
	size_t size;
	int r = (attach ? config_attach : config_detach)(
		before, strlen(before), "red", "web", "data", &made, &size, err, sizeof(err));

	if (r < 0)
		fail_msg("%s", err);
	assert_string_equal(made, after);
	free(made);
}

// A volume comes as the last disk, and goes without a trace.
static void disks(void **state)
{
	static const char *const texts[][2] = {
		{ HEAD "- name: red\n  instances:\n  - name: web # w\n    disks:\n    - path: /a # "
		       "a\n  "
		       "- name: b\n",
			HEAD "- name: red\n  instances:\n  - name: web # w\n    disks:\n    - "
			     "path: /a # "
			     "a\n    - {volume: data}\n  - name: b\n" },
		{ HEAD "- name: red\n  instances: [{name: web, disks: [{path: /a}]}]\n",
			HEAD "- name: red\n  instances: [{name: web, disks: [{path: /a}, {volume: "
			     "data}]}]\n" },
		{ HEAD "- name: red\n  instances:\n  - {name: web, disks: []}\n", HEAD
			"- name: red\n  instances:\n  - {name: web, disks:  [{volume: data}]}\n" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		edits_disks(true, texts[i][0], texts[i][1]);
	for (size_t i = 0; i < 2; i++)
		edits_disks(false, texts[i][1], texts[i][0]);
	edits_disks(true, HEAD "- name: red\n  instances:\n  - name: web\n    kind: vm\n# end\n",
		HEAD "- name: red\n  instances:\n  - name: web\n    kind: vm\n    disks:\n      - "
		     "{volume: data}\n# end\n");
}

static void disks_refused(void **state)
{
	const char text[] = HEAD "- name: red\n  instances: [{name: web}]\n";
	char err[256], *made;
	size_t size;

	assert_int_equal(config_attach(text, strlen(text), "red", "db", "data", &made, &size, err,
				 sizeof(err)),
		-ENOENT);
	assert_string_equal(err, "there is no instance db");
	assert_int_equal(config_detach(text, strlen(text), "red", "web", "data", &made, &size, err,
				 sizeof(err)),
		-ENOENT);
	assert_string_equal(err, "it has no volume data");
}

// What was added goes without a trace.
static void and_back(void **state)
{
	static const char *const texts[] = { HEAD "- name: red\n  instances:\n  - name: a\n# end\n",
		HEAD "- name: red\n  instances: [{name: a}]\n  " LAN "\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *with = edited(true, texts[i], 0);

		returns(with, texts[i]);
		free(with);
	}
}

static void refused(void **state)
{
	edited(true, "version: 1\n", -ENOENT);
	edited(true, HEAD "- name: blue\n", -ENOENT);
	edited(true, "tenants: red\n", -ENOENT);
	edited(true, "- red\n", -ENOENT);
	edited(true, "", -ENOENT);
	edited(true, "a: [b", -EINVAL);
	edited(false, HEAD "- name: red\n", -ENOENT);
	edited(false, HEAD "- name: red\n  instances: [{name: a}, web, ~]\n", -ENOENT);
}

static void lines(void **state)
{
	static const char text[] = "#cloud-config\nruncmd:\n- echo \"it's\" \\a\t# b\r\n\n x\n";
	const char before[] = HEAD "- name: red\n";
	json_t *in = json_pack("{s:s, s:s, s:s, s:s, s:[]}", "name", "web", "kind", "vm", "kernel",
		"/k", "user_data", text, "nics");
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	char *made = NULL, err[200];
	size_t size;

	assert_int_equal(config_add_instance(
				 before, strlen(before), "red", in, &made, &size, err, sizeof(err)),
		0);
	if (model_from_yaml("t", made, size, &m, &errors) < 0)
		fail_msg("%s in:\n%s", errors.text[0], made);
	assert_string_equal(m->tenants[0].instances[0].user_data, text);
	model_free(m);
	free(made);
	json_decref(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(added),
		cmocka_unit_test(added_to_nothing), cmocka_unit_test(deleted),
		cmocka_unit_test(disks), cmocka_unit_test(disks_refused),
		cmocka_unit_test(and_back), cmocka_unit_test(lines), cmocka_unit_test(refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
