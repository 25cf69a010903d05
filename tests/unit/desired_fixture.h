// SPDX-License-Identifier: BSD-3-Clause
// For tests of insulad's middle: a store in a folder of its own, and a desired state from YAML.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/desired.h"

// A port of red's for many, red/desk.eth0, in a network with a pool.
#define FIXTURE_MANY(subnet, pool) \
	"version: 1\n" \
	"tenants:\n" \
	"  - name: red\n" \
	"    networks:\n" \
	"      - {name: lan, vlan: 10, subnet: " subnet ", gateway: 10.0.0.1, pool: " pool "}\n" \
	"    instances:\n" \
	"      - name: desk\n" \
	"        nics:\n" \
	"          - {network: lan, interface: t1, clients: many}\n"

static char fixture_dir[64];
static struct store *fixture_store;

static void fixture_open(void)
{
	char err[256] = "";

	if (store_open(fixture_dir, fixture_dir, &fixture_store, err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

static int fixture_setup(void **state)
{
	strcpy(fixture_dir, "/tmp/insula-test-XXXXXX");
	assert_non_null(mkdtemp(fixture_dir));
	fixture_open();
	return 0;
}

static int fixture_teardown(void **state)
{
	static const char *const files[] = { "insula.db", "insula.db-wal", "insula.db-shm",
		"host.db" };
	char path[128];

	store_close(fixture_store);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture_dir, files[i]);
		unlink(path);
	}
	return rmdir(fixture_dir);
}

// Allocates inside the caller's transaction.
static inline int fixture_alloc(const char *yaml, struct desired **ret, struct model_errors *errors)
{
	struct model *m;
	int r = model_from_yaml("t.yaml", yaml, strlen(yaml), &m, errors);

	for (unsigned i = 0; i < errors->n; i++)
		print_message("%s\n", errors->text[i]);
	assert_int_equal(r, 0);
	return alloc_desired(fixture_store, m, ret, errors);
}

// A whole accepted round.
static inline struct desired *fixture_desired(const char *yaml)
{
	struct model_errors errors = { 0 };
	struct desired *d = NULL;

	assert_int_equal(store_begin(fixture_store), 0);
	assert_int_equal(fixture_alloc(yaml, &d, &errors), 0);
	assert_int_equal(store_round_accept(fixture_store, d->round), 0);
	assert_int_equal(store_commit(fixture_store), 0);
	return d;
}
