// SPDX-License-Identifier: BSD-3-Clause
// What the API does to the machine: see api.h and run.h. On the device thread.
#include <errno.h>
#include "vmm/run.h"

static enum api_result configure(void *arg, json_t *config, struct error *e)
{
	struct run *r = arg;
	struct options o;
	int err;

	if (r->state != RUN_CREATED) {
		error_set(e, EBUSY, "the machine is configured already");
		return API_CONFLICT;
	}
	if (options_from_json(&o, config, e) < 0)
		return API_WRONG;
	err = run_configure(r, &o, e);
	if (err == 0)
		return API_DONE;
	if (r->leaves)
		return API_FAILED;
	options_free(&o);
	return err == -EMFILE || err == -ENFILE ? API_FAILED : API_WRONG;
}

static enum api_result unless(
	struct run *r, enum run_state wanted, const char *what, struct error *e)
{
	static const char *const IS[] = { [RUN_CREATED] = "is not configured",
		[RUN_CONFIGURED] = "is not booted",
		[RUN_RUNNING] = "runs",
		[RUN_PAUSED] = "is paused",
		[RUN_ENDED] = "has ended" };

	if (r->state == wanted && !r->leaves)
		return API_DONE;
	error_set(e, EBUSY, "%s: the machine %s", what, r->leaves ? "ends" : IS[r->state]);
	return API_CONFLICT;
}

static enum api_result boot(void *arg, struct error *e)
{
	const enum api_result no = unless(arg, RUN_CONFIGURED, "boot", e);

	if (no == API_DONE)
		run_boot(arg);
	return no;
}

static enum api_result pause(void *arg, struct error *e)
{
	struct run *r = arg;
	const enum api_result no = unless(r, RUN_RUNNING, "pause", e);

	if (no != API_DONE)
		return no;
	machine_pause(&r->machine);
	r->state = RUN_PAUSED;
	return API_DONE;
}

static enum api_result resume(void *arg, struct error *e)
{
	struct run *r = arg;
	const enum api_result no = unless(r, RUN_PAUSED, "resume", e);

	if (no != API_DONE)
		return no;
	r->state = RUN_RUNNING;
	machine_resume(&r->machine);
	return API_DONE;
}

static enum api_result press_power_button(void *arg, struct error *e)
{
	struct run *r = arg;
	const enum api_result no = unless(r, RUN_RUNNING, "shutdown", e);

	if (no != API_DONE)
		return no;
	pthread_mutex_lock(&r->machine.lock);
	acpi_tell(&r->machine.acpi, ACPI_EVENT_POWER_BUTTON);
	pthread_mutex_unlock(&r->machine.lock);
	return API_DONE;
}

// As SIGKILL, once the answer is out; nobody is lost who waits for it.
static enum api_result kill_machine(void *arg, struct error *e)
{
	enum { KILLED = 128 + 9 };
	struct run *r = arg;

	r->status = KILLED;
	r->leaves = true;
	return API_DONE;
}

static void answered(void *arg)
{
	struct run *r = arg;

	if (r->leaves)
		run_leave(r, r->status);
}

static json_t *devices(struct run *r)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < r->machine.n_devices; i++) {
		const struct virtio_pci *t = r->machine.devices[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:b}", "id", t->device->id,
						    "type", t->device->ops->name, "slot",
						    (int)t->slot, "started", t->device->started));
	}
	return list;
}

static json_t *info(void *arg)
{
	static const char *const NAMES[] = { [RUN_CREATED] = "created",
		[RUN_CONFIGURED] = "created",
		[RUN_RUNNING] = "running",
		[RUN_PAUSED] = "paused",
		[RUN_ENDED] = "ended" };
	struct run *r = arg;
	const bool configured = r->state != RUN_CREATED;
	json_t *o = json_pack("{s:s, s:s, s:b}", "version", INSULA_VERSION, "state",
		NAMES[r->state], "configured", configured);

	if (!configured || !o)
		return o;
	pthread_mutex_lock(&r->machine.lock);
	json_object_set_new(o, "cpus", json_integer(r->machine.n_cpus));
	json_object_set_new(o, "memory", json_integer((json_int_t)r->machine.memory.size));
	json_object_set_new(o, "devices", devices(r));
	pthread_mutex_unlock(&r->machine.lock);
	return o;
}

const struct api_ops RUN_API_OPS = {
	.configure = configure,
	.boot = boot,
	.pause = pause,
	.resume = resume,
	.shutdown = press_power_button,
	.kill = kill_machine,
	.plug = run_plug,
	.unplug = run_unplug,
	.limit = run_limit,
	.info = info,
	.metrics = run_metrics,
	.answered = answered,
};
