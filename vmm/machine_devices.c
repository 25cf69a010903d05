// SPDX-License-Identifier: BSD-3-Clause
// See machine.h: devices that are added, plugged in, let go of, removed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vmm/machine_run.h"

static bool take_out(struct virtio_pci **list, unsigned int *n, const struct virtio_pci *t)
{
	for (unsigned int i = 0; i < *n; i++)
		if (list[i] == t) {
			--*n;
			memmove(&list[i], &list[i + 1], (*n - i) * sizeof(list[0]));
			return true;
		}
	return false;
}

int machine_add_device(struct machine *m, struct virtio_device *d)
{
	struct virtio_pci *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	if (!d->id[0])
		snprintf(d->id, sizeof(d->id), "%s", d->ops->name);
	err = m->n_devices < PCI_SLOTS ? virtio_pci_init(t, d, &m->pci, &m->irqs, m->vm) : -ENOSPC;
	if (err < 0)
		free(t);
	else
		m->devices[m->n_devices++] = t;
	return err;
}

int machine_add_spare(struct machine *m, struct virtio_device *d)
{
	struct virtio_pci *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	// whatever is plugged in may be a spare later
	err = m->n_spares + m->n_devices < MACHINE_SPARES ? virtio_pci_make(t, d, &m->irqs, m->vm)
							  : -ENOSPC;
	if (err < 0)
		free(t);
	else
		m->spares[m->n_spares++] = t;
	return err;
}

int machine_plug_spare(struct machine *m, struct virtio_device *d)
{
	struct virtio_pci *t = d->transport;
	int err = virtio_pci_plug(t, &m->pci);

	if (err < 0)
		return err;
	take_out(m->spares, &m->n_spares, t);
	m->devices[m->n_devices++] = t;
	acpi_tell_plugged(&m->acpi, t->slot);
	return 0;
}

void machine_ask_eject(struct machine *m, struct virtio_device *d)
{
	const struct virtio_pci *t = d->transport;

	pthread_mutex_lock(&m->lock);
	if (t->bus)
		acpi_ask_eject(&m->acpi, t->slot);
	pthread_mutex_unlock(&m->lock);
}

void machine_pull_out(struct machine *m, struct virtio_device *d)
{
	struct virtio_pci *t = d->transport;

	if (!take_out(m->devices, &m->n_devices, t))
		return;
	virtio_pci_unplug(t);
	m->spares[m->n_spares++] = t;
}

void machine_eject(void *arg, unsigned int slot)
{
	const uint64_t one = 1;
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->n_devices; i++)
		if (m->devices[i]->slot == slot && m->devices[i]->device->removable) {
			machine_pull_out(m, m->devices[i]->device);
			m->eject_pending = true;
			if (write(m->event.fd, &one, sizeof(one)) < 0)
				return; // full: it is signalled already
			return;
		}
}

void machine_remove_device(struct machine *m, struct virtio_device *d)
{
	struct virtio_pci *t = d->transport;

	take_out(m->devices, &m->n_devices, t);
	take_out(m->spares, &m->n_spares, t);
	virtio_pci_free(t);
	free(t);
}

void machine_remove_devices(struct machine *m)
{
	while (m->n_devices > 0)
		machine_remove_device(m, m->devices[m->n_devices - 1]->device);
	while (m->n_spares > 0)
		machine_remove_device(m, m->spares[m->n_spares - 1]->device);
}
