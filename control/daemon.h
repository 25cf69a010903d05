// SPDX-License-Identifier: BSD-3-Clause
// insulad as the API sees it: the functions behind each request, answering in JSON. Everything runs
// on the event loop's one thread; a call returns when the work is done.
//
// A result is always set, also on failure: {"errors": ["sentence", …]}. The return value says which
// HTTP status it deserves: 0 -> 200, -EINVAL -> 422 (the file is wrong), -ENOENT -> 404,
// -EBUSY (not in this state) -> 409, -ETIMEDOUT (an apply that is stored and not confirmed by the
// switch) -> 504, else -> 500.
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>
#include "control/loop.h"

struct daemon;

enum daemon_kind {
	DAEMON_TENANTS,
	DAEMON_NETWORKS,
	DAEMON_PORTS, // instances' ports, uplinks and trunks
	DAEMON_LEASES,
	DAEMON_SESSIONS,
	DAEMON_DROPS,
	DAEMON_UPLINKS,
	DAEMON_INSTANCES,
	DAEMON_IMAGES,
	DAEMON_VOLUMES,
	DAEMON_KIND_COUNT
};

// "tenants", … as in /v1/tenants; also the key of the list in the answer.
const char *daemon_kind_name(enum daemon_kind kind);
// 0 or -ENOENT.
int daemon_kind_from_name(const char *name, enum daemon_kind *ret_kind);

// Makes the file the desired state, all or nothing.
// {"generation": N, "changes": [{"op": "create"|"update"|"delete", "kind", "name", "detail"}],
// "warnings": ["sentence", …]}: ports that are in trouble all the same.
int daemon_apply(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret);
// The same plan, printed only: {"changes": […], "warnings": […], "would_fail": false}. A warning
// also says what would make the apply fail.
int daemon_diff(struct daemon *d, const char *file, const char *yaml, size_t size, json_t **ret);
// The YAML last applied, as it was; valid until the next apply. 0, or -ENOENT if there is none.
int daemon_get_config(
	struct daemon *d, const char **ret_file, const char **ret_yaml, size_t *ret_size);

// {"<kind>": [{flat object}, …]}. Not leases and sessions: those are streams.
int daemon_list(struct daemon *d, enum daemon_kind kind, json_t **ret);
// Sessions and leases are guests' to multiply: their list is text in pieces, between which insulad
// does what else there is to do. Its rows are those that were there all the time, each once; what
// came or went meanwhile may be among them. name: NULL, or of leases an address or a port that has
// several. 0; -EOPNOTSUPP: what is asked for is short, daemon_list and daemon_show give it; else
// -errno with a result in *ret (NULL for want of memory).
struct daemon_stream;
int daemon_stream_open(struct daemon *d, enum daemon_kind kind, const char *name,
	struct daemon_stream **ret_stream, json_t **ret);
// Fills buf with the next bytes: their number, 0 at the end, or -errno. A list that ends early has
// {"errors": […]} beside its rows.
ssize_t daemon_stream_read(struct daemon_stream *s, char *buf, size_t size);
void daemon_stream_close(struct daemon_stream *s);
// One object: tenants by name; networks by TENANT/NAME; ports by TENANT/INSTANCE.NIC, an uplink's
// or trunk's name, or the numeric id; instances by TENANT/INSTANCE; leases by address or
// TENANT/INSTANCE.NIC (several: {"leases": […]}); sessions by id; drops by port name (that port's
// counters: {"drops": [...]}). -ENOENT with errors.
int daemon_show(struct daemon *d, enum daemon_kind kind, const char *name, json_t **ret);

// Starts, stops … one of kind vm, by TENANT/INSTANCE; word: "start", "stop", "kill", "restart",
// "pause" or "resume". It is done in the background: the object in *ret says how it is now.
// -ENOENT; -EBUSY: not in this state.
int daemon_instance_do(struct daemon *d, const char *name, const char *word, json_t **ret);
// Puts one into the file applied last, or takes it out, and applies that: as daemon_apply.
// definition: an object with the keys of the file, but `name`, which is TENANT/INSTANCE.
int daemon_instance_create(struct daemon *d, const json_t *definition, json_t **ret);
int daemon_instance_delete(struct daemon *d, const char *name, json_t **ret);
// {"text": the last lines of its console}
int daemon_instance_console(struct daemon *d, const char *name, json_t **ret);

// Begins an import, see images.h; the image as it is now. -EINVAL; -EBUSY: there is one.
int daemon_image_import(struct daemon *d, const json_t *definition, json_t **ret);
// -ENOENT; -EBUSY: it is used.
int daemon_image_delete(struct daemon *d, const char *name, json_t **ret);

// definition: {"name", "size_mib"}; the volume in *ret. -EINVAL; -EBUSY: there is one.
int daemon_volume_create(struct daemon *d, const json_t *definition, json_t **ret);
// word: "resize" ({"size_mib"}; the volume), "attach" ({"instance"}) or "detach", which are an
// apply (as daemon_apply); {"restart": true}: an instance that runs is started anew for it.
// -ENOENT; -EBUSY: not in this state; -EINVAL.
int daemon_volume_do(
	struct daemon *d, const char *name, const char *word, const json_t *words, json_t **ret);
int daemon_volume_delete(struct daemon *d, const char *name, json_t **ret);

// {"version", "generation", "switch": {…}, "uplinks": […], "warnings": [...], "memory_kib":
// {"switch", "control"}, …}
int daemon_status(struct daemon *d, json_t **ret);

// Ends insulad and leaves nothing behind: the switch, taps, mounts, the nft table, sysctls. Call it
// when the answer has been sent (the request-completed callback): the API is shut first.
void daemon_request_stop(struct daemon *d);

struct loop *daemon_loop(struct daemon *d);
const char *daemon_run_dir(const struct daemon *d);

// api.c's side, called by insulad. api_start binds RUN_DIR/insulad.sock (0600) and serves it from
// the daemon's loop; 0 or -errno, logged. api_stop closes it and removes the socket.
struct api;
int api_start(struct daemon *d, struct api **ret_api);
void api_stop(struct api *api);
