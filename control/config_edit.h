// SPDX-License-Identifier: BSD-3-Clause
// An instance or a disk put into the text of a file, or taken out of it, all else of it left as
// its author wrote it, comments too: what `insula instance create` and `delete` and `insula volume
// attach` and `detach` do to the file applied last. The result is judged by whoever reads it. Pure.
#pragma once

#include <jansson.h>
#include <stddef.h>

// instance: an object with the file's own keys. *ret_yaml: free it. 0; -ENOENT: no such tenant;
// -EINVAL: the text is none that can be edited; -ENOMEM; with a sentence in err.
int config_add_instance(const char *yaml, size_t size, const char *tenant, const json_t *instance,
	char **ret_yaml, size_t *ret_size, char *err, size_t err_size);
// A volume becomes the last of an instance's disks, or is none of them any more. Errors likewise;
// -ENOENT: no such instance or volume.
int config_attach(const char *yaml, size_t size, const char *tenant, const char *name,
	const char *volume, char **ret_yaml, size_t *ret_size, char *err, size_t err_size);
int config_detach(const char *yaml, size_t size, const char *tenant, const char *name,
	const char *volume, char **ret_yaml, size_t *ret_size, char *err, size_t err_size);
// -ENOENT: no such instance.
int config_delete_instance(const char *yaml, size_t size, const char *tenant, const char *name,
	char **ret_yaml, size_t *ret_size, char *err, size_t err_size);
