// SPDX-License-Identifier: BSD-3-Clause
// What a machine is to be: from the command line, or from JSON that says the same with the same
// words (PUT /v1/config). Nothing is opened here.
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include "vmm/machine.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_net.h"
#include "vmm/virtio_vsock.h"

enum { OPTIONS_NETS = 8, OPTIONS_DISKS = 16, OPTIONS_HOTPLUG = 8 };

struct options {
	struct machine_config config;
	unsigned int n_nets;
	struct virtio_net_options nets[OPTIONS_NETS];
	unsigned int n_disks;
	struct virtio_blk_options disks[OPTIONS_DISKS];
	const char *user;
	const char *api; // path of the API's socket; NULL: none
	bool virtio_console, rng, balloon;
	uint32_t balloon_mib;
	struct virtio_vsock_options vsock;
	bool no_reboot;
	unsigned int hotplug; // disks, and network cards, that may be plugged in later
	struct options_text *texts; // what JSON said, for the pointers above
};

// Returns 0, or, once all is said, what to exit with plus one. Without kernel there is an API,
// and nothing else is said.
int options_parse(struct options *ret_options, int argc, char **argv);
// config: an object whose keys are the command line's long options. 0, or -errno with a sentence.
// On success options_free is due once no machine uses the options any more.
int options_from_json(struct options *ret_options, json_t *config, struct error *e);
void options_free(struct options *o);
// One object's words as a device's parser takes them, "KEY=VALUE,KEY": allocated; NULL with a
// sentence. what: who they are for.
char *options_words(const char *what, json_t *object, struct error *e);
