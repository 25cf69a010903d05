// SPDX-License-Identifier: BSD-3-Clause
// One process's machine from its configuration to its end: devices, console, signals, confinement,
// commands. main begins it, the API commands it, all on the device thread.
#pragma once
#include "vmm/api.h"
#include "vmm/confine.h"
#include "vmm/console.h"
#include "vmm/fds.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/seldom.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_net.h"
#include "vmm/virtio_rng.h"
#include "vmm/virtio_vsock.h"

enum run_state {
	RUN_CREATED, // nothing is open but the API
	RUN_CONFIGURED, // everything is, and the process is confined
	RUN_RUNNING,
	RUN_PAUSED,
	RUN_ENDED, // its guest's last words go out
};

struct run {
	struct options options;
	enum run_state state;
	struct machine machine; // its loop: from begin to end
	struct api *api; // NULL: none
	struct console console;
	struct confine confine;
	struct loop_source signals; // fd -1: not yet
	struct fds fds; // for what is plugged in
	char *fds_path;
	// Those of the options, then spares; what is plugged in has an id.
	unsigned int n_nets;
	struct virtio_net nets[OPTIONS_NETS + OPTIONS_HOTPLUG];
	char *net_words[OPTIONS_NETS + OPTIONS_HOTPLUG]; // what was plugged in was told
	unsigned int n_disks;
	struct virtio_blk disks[OPTIONS_DISKS + OPTIONS_HOTPLUG];
	char *disk_words[OPTIONS_DISKS + OPTIONS_HOTPLUG];
	struct virtio_console virtio_console;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	struct virtio_vsock vsock;
	uint64_t booted_ns; // when the guest began, the last time
	unsigned int n_faults; // triple faults in a row, each soon after the guest began
	struct seldom faults; // what was told of them
	int status; // what the process exits with
	bool leaves; // once the API's answer is out
};

extern const struct api_ops RUN_API_OPS;

// The whole of it. Returns what to exit with.
int run(struct run *r, const struct options *options);
// Opens what the options name, confines the process, starts its threads. -errno: nothing is open
// any more, unless r->leaves, when confinement has begun and only the end is left. options: taken
// on success.
int run_configure(struct run *r, const struct options *options, struct error *e);
void run_boot(struct run *r);
// The API's, see api.h.
enum api_result run_limit(
	void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e);
enum api_result run_plug(
	void *arg, enum api_kind kind, const char *id, json_t *words, struct error *e);
enum api_result run_unplug(
	void *arg, enum api_kind kind, const char *id, enum api_ask ask, struct error *e);
// The machine's: what the guest has let go of is closed.
void run_ejected(void *arg);
// The API's; NULL: no memory.
json_t *run_metrics(void *arg);
// One that is plugged in; NULL.
struct virtio_device *run_find(struct run *r, enum api_kind kind, const char *id);
// The loop ends, and the process with that status.
void run_leave(struct run *r, int status);
