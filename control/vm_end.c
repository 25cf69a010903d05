// SPDX-License-Identifier: BSD-3-Clause
// How a machine ends: by the power button and, if that does nothing, at once; by itself; or badly.
// What follows from it by its restart policy. See vm.h. Main thread.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "control/log.h"
#include "control/process.h"
#include "control/vm.h"

#define SECOND_NS 1000000000ull
// What insula-vmm says of a guest that powered itself off: who did not start the process does not
// get its exit status.
#define POWERED_OFF "the guest has powered off"

enum {
	LAST_LINES = 48, // of its console, in the log: what a kernel says when it panics
	LINE_SIZE = 160,
	STEADY_S = 60, // it has run for so long: the next failure is the first again
	FIRST_DELAY_MS = 200,
	MAX_DELAY_MS = 60000,
	TERM_MS = 3000,
};

// --- by us ---

static void kill_it(struct vm *vm, const char *why)
{
	log_warning("instance %s (pid %d) %s: killing it", vm->name, vm->proc.pid, why);
	process_signal(vm->proc.pidfd, SIGKILL);
}

static void on_button(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;

	vm->call = NULL;
	if (status == 204 || vm->phase != VM_STOPPING)
		return;
	// No guest runs yet, or nobody listens: nothing that a power button could end.
	process_signal(vm->proc.pidfd, SIGTERM);
	if (vm->stop_timeout_s * SECOND_NS > TERM_MS * 1000000ull)
		vm_arm(vm, TERM_MS * 1000000ull);
}

static void on_resumed(void *arg, int status, const json_t *body)
{
	struct vm *vm = arg;

	vm->call = NULL;
	vm->is_paused = false;
	vm_ask(vm, "PUT", "/v1/shutdown", on_button);
}

void vm_begin_stop(struct vm *vm)
{
	log_info("instance %s (pid %d): stopping it, within %u s", vm->name, vm->proc.pid,
		vm->stop_timeout_s);
	vm->phase = VM_STOPPING;
	vm_arm(vm, vm->stop_timeout_s * SECOND_NS);
	// A paused guest sees no button.
	if (vm->is_paused)
		vm_ask(vm, "PUT", "/v1/resume", on_resumed);
	else
		vm_ask(vm, "PUT", "/v1/shutdown", on_button);
}

void vm_on_timer_stopping(struct vm *vm)
{
	kill_it(vm, "has not powered off in time");
}

// --- by itself ---

// What a guest wrote, a line at a time, without what would do something to a terminal.
static void log_console(struct vm *vm)
{
	struct vm_ring *ring = vm_console_ring(vm->console);
	uint64_t at = vm_ring_tail(ring, LAST_LINES, LAST_LINES * LINE_SIZE);
	char name[DESIRED_NAME_SIZE + 10], line[LINE_SIZE];
	size_t used = 0, n;

	if (at < vm->console_began)
		at = vm->console_began;
	snprintf(name, sizeof(name), "console %s", vm->name);
	for (;;) {
		const char *bytes = vm_ring_from(ring, &at, &n);

		for (size_t i = 0; i < n; i++) {
			if (bytes[i] != '\n' && used < sizeof(line) - 1) {
				if (bytes[i] != '\r')
					line[used++] =
						bytes[i] < ' ' || bytes[i] > '~' ? '?' : bytes[i];
				continue;
			}
			line[used] = 0;
			log_of(3, name, line);
			used = 0;
		}
		if (n == 0)
			break;
		at += n;
	}
	line[used] = 0;
	if (used)
		log_of(3, name, line);
}

static unsigned delay_ms(unsigned failures)
{
	unsigned ms = FIRST_DELAY_MS;

	for (unsigned i = 1; i < failures && ms < MAX_DELAY_MS; i++)
		ms *= 2;
	return ms < MAX_DELAY_MS ? ms : MAX_DELAY_MS;
}

static void start_later(struct vm *vm)
{
	unsigned ms = delay_ms(++vm->failures);

	vm->restarts++;
	vm->phase = VM_WAITING;
	vm->next_try_ns = loop_now_ns() + ms * 1000000ull;
	vm_arm(vm, ms * 1000000ull);
	log_info("instance %s: starting it again in %u ms", vm->name, ms);
}

void vm_failed(struct vm *vm, const char *why)
{
	vm_storage_end(vm);
	snprintf(vm->trouble, sizeof(vm->trouble), "%s", why);
	memcpy(vm->last_failure, vm->trouble, sizeof(vm->trouble));
	vm->phase = VM_OFF;
	if (vm->restart == MODEL_RESTART_NEVER)
		vm_set_want(vm, VM_STOPPED, vm->trouble);
	else
		start_later(vm);
}

static void powered_off(struct vm *vm)
{
	log_info("instance %s: its guest has powered off", vm->name);
	vm->phase = VM_OFF;
	vm->trouble[0] = 0;
	if (vm->restart == MODEL_RESTART_ALWAYS)
		start_later(vm);
	else
		vm_set_want(vm, VM_STOPPED, "");
}

// oom: the kernel ended it, and all of its group, for want of memory.
static void crashed(struct vm *vm, const char *how, pid_t pid, uint64_t lived_s, bool oom)
{
	const char *last = vm_log_last(vm->log);
	char why[400];

	if (oom)
		last = "its cgroup had no memory left";
	else if (vm->storage.trouble[0])
		last = "";
	snprintf(why, sizeof(why), "insula-vmm (pid %d) %s after %llu s%s%s", pid, how,
		(unsigned long long)lived_s, last[0] ? ": " : "", last);
	bool spoke = vm_ring_end(vm_console_ring(vm->console)) > vm->console_began;
	log_error("instance %s: %s%s", vm->name, why, spoke ? "; the end of its console:" : "");
	log_console(vm);
	if (vm->storage.trouble[0] && !oom)
		memcpy(why, vm->storage.trouble, sizeof(why));
	vm_failed(vm, why);
}

static void stopped(struct vm *vm)
{
	log_info("instance %s has stopped", vm->name);
	vm->phase = VM_OFF;
	vm->again = false;
	vm->failures = 0;
	vm->trouble[0] = 0;
}

void vm_on_end(void *arg, uint32_t events)
{
	struct vm *vm = arg;
	struct vms *all = vm->all;
	pid_t pid = vm->proc.pid;
	uint64_t lived_s = (loop_now_ns() - vm->proc.started_ns) / SECOND_NS;
	char how[96];
	int status;
	bool oom;

	vm_api_cancel(vm->call);
	vm->call = NULL;
	loop_timer_disarm(vm->timer);
	loop_remove(all->d->loop, vm->ended);
	vm->ended = NULL;
	vm_console_drain(vm->console);
	vm_log_drain(vm->log);
	vm_storage_end(vm);
	status = vm_proc_reap(&vm->proc, how, sizeof(how));
	oom = cgroup_oom_kills(&all->cgroups, vm->id) > vm->oom_kills;
	cgroup_remove(&all->cgroups, vm->id);
	vm->is_paused = false;
	vm_plug_end(vm);
	if (lived_s >= STEADY_S)
		vm->failures = 0;
	if (vm->phase == VM_STOPPING)
		stopped(vm);
	else if (status == 0 || (status < 0 && strcmp(vm_log_last(vm->log), POWERED_OFF) == 0))
		powered_off(vm);
	else
		crashed(vm, how, pid, lived_s, oom);
	vm_console_tell(vm->console, "\r\n[the instance has ended]\r\n");
	vms_step_all(all); // others may have waited for its disks
	vms_look_done(all);
}
