// SPDX-License-Identifier: BSD-3-Clause
// insulad's one object, shared by the files behind daemon.h. Everything belongs to the main thread.
#pragma once

#include "control/compile.h"
#include "control/daemon.h"
#include "control/host_care.h"
#include "control/images.h"
#include "control/lease.h"
#include "control/linkwatch.h"
#include "control/log.h"
#include "control/ports.h"
#include "control/runtime_dir.h"
#include "control/switch_log.h"
#include "control/switch_proc.h"
#include "control/vhost_watch.h"
#include "control/vms.h"

struct daemon {
	struct loop *loop;
	struct runtime_dir run;
	char state_dir[256];
	struct store *store;
	uint64_t started_ns;

	// The desired state in force; NULL before the first restore.
	struct desired *desired;
	struct compiled *compiled; // its policy
	char *file, *yaml;
	size_t yaml_size;
	bool has_config; // a file was applied once
	char *held; // why it is not in force: what runs is left as it is; else NULL

	struct ports *ports;
	struct loop_source *repair_timer;
	uint64_t
		// slow DPDK devices (ports.h) are not tried again before; 0 = at once
		devices_after_ns;

	// switch_link.c
	struct switch_proc proc;
	struct switch_log *switch_log;
	struct switch_client *client;
	struct loop_source *proc_source, *respawn_timer;
	unsigned quick_deaths; // in a row, each within a second of its start
	unsigned n_reconnects; // failed in a row
	uint64_t n_respawns;
	uint64_t dark_since_ns; // when the last switch that forwarded was lost; 0 = one does
	struct log_limit lost_limit, again_limit; // of its connection
	// daemon.compiled is in force there, and what is made now is made for it; else ports are
	// held until the policy they are made for comes.
	bool switch_has_policy;
	bool ports_held; // some are
	char no_switch[512]; // why none can be started; "" = one runs, or was not tried yet

	struct {
		struct loop_source *timer;
		unsigned silent_s; // ticks since it was heard of
		uint32_t worker, still_s; // as it said last
	} watch; // switch_watch.c

	struct vms *vms;
	struct images *images;
	struct leases *leases;
	struct linkwatch *linkwatch;
	struct vhost_watch *vhost_watch;
	struct host_care *host_care;
	be32 dns[POLICY_MAX_DNS]; // the host's, as in the policy
	unsigned n_dns;
	struct api *api;
	bool stop_all; // on leaving the loop: leave nothing behind
};

// switch_link.c: the switch as a whole.
// Connects to a living switch or starts one. *ret_adopted = it was living.
int switch_link_up(struct daemon *d, const struct switch_settings *settings, bool *ret_adopted,
	char *err, size_t err_size);
// Ends the switch on purpose.
void switch_link_down(struct daemon *d);
// The same, also if it has not been adopted yet: on success there is none, and none is coming up.
int switch_link_end(struct daemon *d, char *err, size_t err_size);
// At start with a new state: ends a living switch and removes its tables. Their numbers mean
// nothing any more: another tenant could be given them.
int switch_link_forget(struct daemon *d, char *err, size_t err_size);
// None could be started: tells why, once while that stays so, and tries again every second.
void switch_link_retry(struct daemon *d, const char *why);
// Lets go of it: it runs on.
void switch_link_leave(struct daemon *d);
// In the middle of something long, when daemon.ports and daemon.compiled are what is wanted: a
// switch that has died is replaced at once, not when the loop comes to it.
void switch_link_look(struct daemon *d);
// Is it dead, or is so within the time? Then it is done with, and the caller starts the next.
bool switch_link_died(struct daemon *d, int within_ms);
// A request got no answer: is that made good over a new connection? Else the timer goes on trying.
bool switch_link_reconnect(struct daemon *d);
// The callback of d->respawn_timer.
void switch_link_on_timer(void *arg);
// Puts the sections the switch lacks and commits. `in_force` = what it has (NULL: nothing).
int switch_link_push(struct daemon *d, const struct compiled *c, const struct compiled *in_force,
	char *err, size_t err_size);

// switch_watch.c: ends a switch that hangs, as its death is dealt with.
int switch_watch_new(struct daemon *d);
void switch_watch_on_timer(void *arg /* struct daemon */);
void switch_watch_on_alive(struct daemon *d, const struct proto_alive_event *e);
// It looks as if it hung, with a sentence why.
bool switch_watch_suspects(const struct daemon *d, char *why, size_t size);
void switch_watch_reset(struct daemon *d); // another process, or another connection

// apply.c
enum apply_mode {
	APPLY_NEW, // all or nothing, but for ports that were broken already
	APPLY_RESTORE, // at start: what cannot be made is reported and tried again
};
// Takes `desired` (freed on failure). Not inside a transaction. On success d->desired and
// d->compiled are the new ones and the store knows. notes: array of sentences about fallbacks and
// troubles, appended to (may be NULL). 1 is success too, but for what the switch has not confirmed,
// which err says: it gets that when it answers again, or its successor does.
int apply_desired(struct daemon *d, struct desired *desired, enum apply_mode mode, const char *file,
	const char *yaml, size_t yaml_size, json_t *notes, char *err, size_t err_size);

// daemon.c: at start, brings back what the store says; finds the switch or starts it.
int daemon_restore(struct daemon *d, char *err, size_t err_size);

// daemon_life.c
// Without state: what is in STATE_DIR is neither read nor touched; good for stopping only.
int daemon_new(const char *run_dir, const char *state_dir, bool with_state,
	struct daemon **ret_daemon, char *err, size_t err_size);
// stop_all: the switch, taps, mounts, the nft table and sysctls go; else all of it runs on. 0, or
// -errno with a sentence in err: a switch could not be ended, and RUN_DIR stays with it.
int daemon_free(struct daemon *d, char *err, size_t err_size);

// The file's text as edited (r < 0: it was not, with a sentence in err) is applied; takes yaml.
int daemon_apply_edited(
	struct daemon *d, int r, char *yaml, size_t size, const char *err, json_t **ret);

// daemon_volumes.c: as flat objects; and where they are, for all disks that name one. 0 or -ENOMEM.
void daemon_list_volumes(struct daemon *d, json_t *to);
int daemon_resolve_volumes(const struct daemon *d, struct desired *desired);

// daemon_images.c: whose an image is; arg: the daemon.
json_t *daemon_image_users(void *arg, const struct image *image);

// daemon_instances.c: as flat objects.
void daemon_list_instances(struct daemon *d, json_t *to);

// daemon_stream.c: the one of this number (-ENOENT), the first of this address or port (-ENOENT).
int daemon_session(struct daemon *d, uint32_t id, json_t **ret, char *err, size_t err_size);
int daemon_lease(struct daemon *d, const char *name, json_t **ret);
