// SPDX-License-Identifier: BSD-3-Clause
// Life and death of the desired state's structures. insulad's main thread.
#include "control/model.h"

#include <stdlib.h>

static void free_instance(struct model_instance *in)
{
	for (unsigned i = 0; i < in->n_disks; i++)
		free(in->disks[i].path);
	free(in->disks);
	free(in->nics);
	free(in->kernel);
	free(in->initrd);
	free(in->cmdline);
	free(in->user_data);
}

void model_free(struct model *m)
{
	if (m == NULL)
		return;
	for (unsigned t = 0; t < m->n_tenants; t++) {
		struct model_tenant *tenant = &m->tenants[t];

		for (unsigned i = 0; i < tenant->n_instances; i++)
			free_instance(&tenant->instances[i]);
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
