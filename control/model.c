// SPDX-License-Identifier: BSD-3-Clause
#include <stdlib.h>
#include "control/model.h"

void model_free(struct model *m)
{
	free(m);
}
