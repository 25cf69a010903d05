// SPDX-License-Identifier: BSD-3-Clause
// The desired state in words: one flat JSON object per thing. `list` and `show` print them, `diff`
// compares them. Pure.
#pragma once

#include <jansson.h>
#include "control/desired.h"

// {"KIND NAME": {"kind", "name", …}, …} in the order of creation: switch, uplinks, trunks, then per
// tenant itself, its networks and its ports. NULL: nothing desired yet (an empty object) — or no
// memory.
json_t *describe_all(const struct desired *d, const char *run_dir);

json_t *describe_tenant(const struct desired *d, const struct desired_tenant *t);
json_t *describe_network(const struct desired *d, const struct desired_segment *s);
// "dns": what the network's clients are told, given the host's servers, and "dns_source": "file" or
// "host". describe_network, which plans compare, leaves the host's out: they change by themselves.
void describe_dns(json_t *o, const struct model_network *n, const be32 *host, unsigned n_host);
// Of kind vm: all of it. Others: their names and nics.
json_t *describe_instance(const struct desired *d, const struct desired_instance *in);
json_t *describe_port(const struct desired *d, const struct desired_port *p, const char *run_dir);
// What an uplink that fell back to nat has instead.
void describe_fallback_to_nat(json_t *o, const struct desired_port *p);

void describe_address(be32 a, char ret_text[INET_ADDRSTRLEN]); // "" for 0
void describe_mac(const struct mac *m, char ret_text[18]);
