// SPDX-License-Identifier: BSD-3-Clause
// Life and death of the desired state's structures. insulad's main thread.
#include "control/model.h"

#include <stdlib.h>

void model_free(struct model *m)
{
	if (m == NULL)
		return;
	for (unsigned t = 0; t < m->n_tenants; t++) {
		struct model_tenant *tenant = &m->tenants[t];

		for (unsigned i = 0; i < tenant->n_instances; i++)
			free(tenant->instances[i].nics);
		free(tenant->instances);
		free(tenant->networks);
	}
	free(m->tenants);
	free(m->trunks);
	free(m->uplinks);
	free(m->file);
	free(m);
}

void model_errors_free(struct model_errors *e)
{
	for (unsigned i = 0; i < e->n; i++)
		free(e->text[i]);
	free(e->text);
	*e = (struct model_errors){ 0 };
}
