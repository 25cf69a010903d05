// SPDX-License-Identifier: BSD-3-Clause
#include "vlan/tags.h"

const char *vlan_verdict_name(enum vlan_verdict v)
{
	return v == VLAN_OK ? "ok" : "drop";
}
