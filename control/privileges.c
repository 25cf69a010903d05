// SPDX-License-Identifier: BSD-3-Clause
// Effective capabilities of this process, see privileges.h. Called by insulad.c before it starts.
#include "control/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "control/log.h"

static const struct {
	unsigned bit;
	const char *name;
} needed[] = {
	{ CAP_NET_ADMIN, "NET_ADMIN" }, // taps, interfaces, nftables
	{ CAP_NET_RAW, "NET_RAW" }, // packet sockets
	{ CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE" }, // host_nat_owner.c
	{ CAP_SYS_ADMIN, "SYS_ADMIN" }, // the tmpfs, network namespaces
	{ CAP_SETUID, "SETUID" }, // the switch becomes nobody
	{ CAP_SETGID, "SETGID" }, { CAP_CHOWN, "CHOWN" }, // its own folder becomes nobody's too
	{ CAP_KILL, "KILL" }, // and it is ended
};

int privileges_check(char *err, unsigned long err_size)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	char names[128] = "", options[192] = "";

	if (syscall(SYS_capget, &header, data) < 0)
		return log_reason(-errno, err, err_size, "capget: %m");
	uint64_t effective = data[0].effective | (uint64_t)data[1].effective << 32;
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (effective & (uint64_t)1 << needed[i].bit)
			continue;
		size_t n = strlen(names), o = strlen(options);
		snprintf(names + n, sizeof(names) - n, "%sCAP_%s", n ? ", " : "", needed[i].name);
		snprintf(options + o, sizeof(options) - o, " --cap-add=%s", needed[i].name);
	}
	if (!names[0])
		return 0;
	return log_reason(-EPERM, err, err_size,
		"insulad lacks %s; run it as root (`sudo insula start`), in a container with%s",
		names, options);
}
