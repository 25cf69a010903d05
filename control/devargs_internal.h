// SPDX-License-Identifier: BSD-3-Clause
// Shared by devargs*.c only.
#pragma once

#include "control/devargs.h"

// What is wrong with the arguments of devargs that name a device, and what is right; NULL =
// nothing. pci: by its address; else by a driver's name that begins with net_ or eth_.
const char *devargs_arguments_mistake(const char *devargs, bool pci);
