// SPDX-License-Identifier: BSD-3-Clause
// GET /v1/status: how insulad and the switch are, and what is not as asked for. Main thread.
#include <stdio.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/foresee.h"
#include "control/host_address.h"
#include "control/host_nat.h"

// Resident memory of a process in KiB; 0 if unknown.
static long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static json_t *switch_status(struct daemon *d)
{
	struct proto_hello hello = { 0 };
	char trouble[sizeof(d->no_switch)] = "";
	bool answers = switch_hello(d->client, &hello, trouble, sizeof(trouble)) == 0;
	bool hangs = switch_watch_suspects(d, trouble, sizeof(trouble));
	uint64_t now = loop_now_ns();
	uint64_t uptime_ns = answers && now > hello.started_ns ? now - hello.started_ns : 0;
	json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:I, s:I, s:I}", "state",
		!answers ? "not answering"
		: hangs  ? "hanging"
			 : "running",
		"pid", (int)d->proc.pid, "workers", (int)d->proc.settings.workers, "mode",
		d->proc.settings.poll ? "poll" : "adaptive", "generation",
		(json_int_t)hello.generation, "uptime_s", (json_int_t)(uptime_ns / 1000000000),
		"respawns", (json_int_t)d->n_respawns);

	if (!d->client && d->no_switch[0])
		memcpy(trouble, d->no_switch, sizeof(trouble));
	if (trouble[0])
		json_object_set_new(o, "trouble", json_string(trouble));
	return o;
}

// Who has no upstream but a stub on loopback cannot pass it on.
static void warn_of_dns(const struct daemon *d, json_t *list)
{
	for (unsigned i = 0; d->n_dns == 0 && i < d->desired->n_segments; i++) {
		const struct model_network *n = d->desired->segments[i].network;
		if (n->gateway && n->n_dns == 0) {
			json_array_append_new(list,
				json_sprintf("network %s: its clients are told no DNS servers, "
					     "because /etc/resolv.conf names none beyond the host "
					     "itself; name them in the network's `dns`",
					d->desired->segments[i].name));
			return;
		}
	}
}

// The host took one after the apply, which would have refused it.
static void warn_of_addresses(const struct daemon *d, json_t *list)
{
	char text[200];

	for (unsigned i = 0; i < d->desired->n_uplinks; i++)
		if (host_address_taken(&d->desired->ports[i], text, sizeof(text)))
			json_array_append_new(
				list, json_sprintf("port %s: %s", d->desired->ports[i].name, text));
}

static void warn_of_nat(const struct port *p, json_t *list)
{
	if (!host_nat_is_owned())
		json_array_append_new(list,
			json_sprintf(
				"port %s: what guests send by it is not masqueraded, because %s",
				p->name,
				host_nat_is_anothers()
					? "another insulad on this host has an uplink of mode nat; "
					  "end one of them"
					: "the host's side cannot be set up; the log says why"));
	host_nat_check(port_spec_of(p)->ifname, list);
}

// Sentences about ports, and the host around them, that are broken or not what was asked for first.
static json_t *warnings(struct daemon *d)
{
	json_t *list = json_array();

	if (d->held)
		json_array_append_new(list, json_string(d->held));
	warn_of_dns(d, list);
	warn_of_addresses(d, list);
	warn_of_mtus(d->desired, list);
	for (uint32_t id = 1; id <= d->ports->max_id; id++) {
		const struct port *p = d->ports->by_id[id];
		char what[300];
		if (!p)
			continue;
		if (!p->broken && p->n_fds && port_spec_of(p)->host_nat)
			warn_of_nat(p, list);
		if (!p->broken && p->oddity[0])
			json_array_append_new(
				list, json_sprintf("port %s: %s", p->name, p->oddity));
		if (p->broken) {
			json_array_append_new(
				list, json_sprintf("port %s: %s", p->name, p->trouble));
		} else if (p->fallback[0]) {
			port_spec_describe(port_spec_of(p), what, sizeof(what));
			json_array_append_new(list, json_sprintf("port %s: %s, because %s", p->name,
							    what, p->fallback));
		}
	}
	vms_warn(d->vms, list);
	if (d->quick_deaths > 1)
		json_array_append_new(
			list, json_string("insula-switch dies again and again; see the log"));
	return list;
}

int daemon_status(struct daemon *d, json_t **ret)
{
	json_t *uplinks = NULL, *list;
	unsigned n_instances = 0;

	for (unsigned i = 0; i < d->desired->n_tenants; i++)
		n_instances += d->desired->tenants[i].tenant->n_instances;
	daemon_list(d, DAEMON_UPLINKS, &uplinks);
	list = json_incref(json_object_get(uplinks, "uplinks"));
	json_decref(uplinks);
	*ret = json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:{s:I, s:I}, s:i, "
			 "s:i, s:i, s:i}",
		"version", INSULA_VERSION, "pid", (int)getpid(), "generation",
		(json_int_t)d->compiled->generation, "file", d->has_config ? d->file : "",
		"run_dir", d->run.path, "state_dir", d->state_dir, "uptime_s",
		(json_int_t)((loop_now_ns() - d->started_ns) / 1000000000), "switch",
		switch_status(d), "uplinks", list ? list : json_array(), "warnings", warnings(d),
		"memory_kib", "switch", (json_int_t)resident_kib(d->proc.pid), "control",
		(json_int_t)resident_kib(getpid()), "tenants", (int)d->desired->n_tenants,
		"instances", (int)n_instances, "machines", (int)vms_running(d->vms), "ports",
		(int)d->desired->n_ports);
	return 0;
}
