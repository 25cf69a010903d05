// SPDX-License-Identifier: BSD-3-Clause
// IPv4 forwarding of the host, turned on for uplink mode `nat` and put back exactly: writing
// ip_forward also rewrites forwarding and accept_redirects of every interface, so all of these are
// noted first.
#pragma once

#include "control/store.h"

// Notes how things are (durably, once) and turns forwarding on. Not inside a transaction.
// 0, or -errno with a sentence in err.
int sysctl_forwarding_on(struct store *s, char *err, size_t err_size);
// Puts back what was noted; nothing noted: nothing done. 0, or -errno and the notes stay for
// another try.
int sysctl_forwarding_restore(struct store *s);
