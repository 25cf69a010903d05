// SPDX-License-Identifier: BSD-3-Clause
// May this process do what insulad has to do? Asked once, before anything is touched.
#pragma once

// 0, or -EPERM with all that is missing, and what mends it, in err.
int privileges_check(char *err, unsigned long err_size);
