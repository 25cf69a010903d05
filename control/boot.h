// SPDX-License-Identifier: BSD-3-Clause
// Which boot of the host this is: seconds of CLOCK_BOOTTIME mean something in their own only.
#pragma once

#include <stdint.h>

// 0 = the kernel does not say.
int64_t boot_id(void);
