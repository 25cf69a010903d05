// SPDX-License-Identifier: BSD-3-Clause
// Dynamic leases in the store; see store.h. Called by lease.c, inside its group transaction.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "control/store_internal.h"

#define SECOND_NS INT64_C(1000000000)

// What cannot be, is over.
static int64_t in_ns(int64_t s, int64_t ns)
{
	return s < 0 || s >= INT64_MAX / SECOND_NS ? 0 : s * SECOND_NS + ns;
}

int store_put_lease(struct store *s, const struct store_lease *l)
{
	sqlite3_stmt *st = store_statement(s, STORE_LEASE_PUT);

	sqlite3_bind_int64(st, 1, l->segment);
	sqlite3_bind_int64(st, 2, ntohl(l->address));
	sqlite3_bind_int64(st, 3, l->port);
	sqlite3_bind_blob(st, 4, &l->mac, sizeof(l->mac), SQLITE_STATIC);
	sqlite3_bind_blob(st, 5, l->client_id, l->client_id_size, SQLITE_STATIC);
	sqlite3_bind_int(st, 6, l->declined);
	sqlite3_bind_int64(st, 7, l->expires_at);
	sqlite3_bind_text(st, 8, l->hostname, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 9, l->boot);
	sqlite3_bind_int64(st, 10, l->boot_ends_ns / SECOND_NS);
	sqlite3_bind_int64(st, 11, l->lasts_s);
	sqlite3_bind_int64(st, 12, l->boot_ends_ns % SECOND_NS);
	return store_run(st);
}

int store_delete_lease(struct store *s, uint32_t segment, be32 address)
{
	sqlite3_stmt *st = store_statement(s, STORE_LEASE_DELETE);

	sqlite3_bind_int64(st, 1, segment);
	sqlite3_bind_int64(st, 2, ntohl(address));
	return store_run(st);
}

int store_each_lease(struct store *s, void (*fn)(void *arg, const struct store_lease *l), void *arg)
{
	sqlite3_stmt *st = store_statement(s, STORE_LEASE_EACH);
	int r;

	while ((r = store_row(st)) > 0) {
		struct store_lease l = { .segment = (uint32_t)sqlite3_column_int64(st, 0),
			.address = htonl((uint32_t)sqlite3_column_int64(st, 1)),
			.port = (uint32_t)sqlite3_column_int64(st, 2),
			.declined = sqlite3_column_int(st, 5) != 0,
			.expires_at = sqlite3_column_int64(st, 6),
			.boot = sqlite3_column_int64(st, 8),
			.boot_ends_ns =
				in_ns(sqlite3_column_int64(st, 9), sqlite3_column_int64(st, 11)),
			.lasts_s = (uint32_t)sqlite3_column_int64(st, 10) };
		int client_id_size = sqlite3_column_bytes(st, 4);
		if (sqlite3_column_bytes(st, 3) != sizeof(l.mac) ||
			client_id_size > (int)sizeof(l.client_id))
			continue;
		memcpy(&l.mac, sqlite3_column_blob(st, 3), sizeof(l.mac));
		l.client_id_size = (uint8_t)client_id_size;
		if (client_id_size)
			memcpy(l.client_id, sqlite3_column_blob(st, 4), (size_t)client_id_size);
		snprintf(l.hostname, sizeof(l.hostname), "%s", sqlite3_column_text(st, 7));
		fn(arg, &l);
	}
	return r;
}
