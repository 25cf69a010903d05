// SPDX-License-Identifier: BSD-3-Clause
// What the host could not do for a disk, counted and told: the guest alone would know of it.
#pragma once
#include "vmm/blk_request.h"

void blk_errors_init(struct blk_errors *errors);
void blk_errors_free(struct blk_errors *errors);
// From the thread of the queue that the request, which has an error, is of.
void blk_error(struct virtio_blk *b, unsigned int queue, const struct blk_request *r);
