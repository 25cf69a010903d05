// SPDX-License-Identifier: BSD-3-Clause
// The switch as insulad sees it: one process and one connection. Starts it, finds it again, starts
// it anew when it dies, gives it ports, policy and leases. Main thread only.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "control/daemon_internal.h"
#include "control/log.h"
#include "control/switch_lock.h"

enum {
	START_DEADLINE_MS = 10000,
	QUICK_DEATH_MS = 1000,
	MAX_BACKOFF_MS = 5000,
	MAX_RECONNECTS = 5, // to a process that lives but does not talk; then it is ended
};

static void respawn(void *arg);

static void socket_path(const struct daemon *d, char *path, size_t size)
{
	snprintf(path, size, "%s/switch.sock", d->run.path);
}

// --- events of the connection ---

static void on_event(void *arg, const struct proto_header *h)
{
	struct daemon *d = arg;

	if (h->type == PROTO_EVENT_LEASE)
		leases_on_event(d->leases, (const struct proto_lease_event *)h);
	else if (h->type == PROTO_EVENT_PORT)
		ports_on_event(d, (const struct proto_port_event *)h);
	else if (h->type == PROTO_EVENT_ALIVE)
		switch_watch_on_alive(d, (const struct proto_alive_event *)h);
}

static void on_batch_end(void *arg)
{
	struct daemon *d = arg;

	leases_batch_end(d->leases);
}

static void on_gone(void *arg, const char *reason)
{
	struct daemon *d = arg;

	// When it died its pidfd says so as well, and better.
	if (switch_proc_alive(&d->proc)) {
		if (log_limit_pass(&d->lost_limit, 3))
			log_warning("connection to insula-switch lost: %s", reason);
		loop_timer_arm(d->respawn_timer, 100000000);
	}
	switch_client_free(d->client); // `reason` is in it
	d->client = NULL;
}

static void forget(struct daemon *d, char *how, size_t size)
{
	loop_timer_disarm(d->respawn_timer);
	loop_remove(d->loop, d->proc_source);
	d->proc_source = NULL;
	switch_client_free(d->client);
	d->client = NULL;
	d->switch_has_policy = d->ports_held = false;
	d->n_reconnects = 0;
	if (!d->dark_since_ns)
		d->dark_since_ns = loop_now_ns();
	switch_log_drain(d->switch_log);
	switch_proc_reap(&d->proc, how, size);
}

static void on_death(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	char how[96];
	uint64_t lived_ms = (loop_now_ns() - d->proc.started_ns) / 1000000;
	pid_t pid = d->proc.pid;

	forget(d, how, sizeof(how));
	d->quick_deaths = lived_ms < QUICK_DEATH_MS ? d->quick_deaths + 1 : 0;
	if (d->quick_deaths <= 1) { // once is an accident
		log_error("insula-switch (pid %d) %s: starting it anew", pid, how);
		respawn(d);
		return;
	}
	unsigned shift = d->quick_deaths < 7 ? d->quick_deaths : 7;
	unsigned delay_ms = 50u << shift;
	if (delay_ms > MAX_BACKOFF_MS)
		delay_ms = MAX_BACKOFF_MS;
	log_error("insula-switch (pid %d) %s after %llu ms, %u times in a row: next try in %u ms",
		pid, how, (unsigned long long)lived_ms, d->quick_deaths, delay_ms);
	loop_timer_arm(d->respawn_timer, delay_ms * 1000000ull);
}

void switch_link_look(struct daemon *d)
{
	if (d->proc.pidfd >= 0 && switch_proc_ends(&d->proc, 0))
		on_death(d, 0);
}

bool switch_link_died(struct daemon *d, int within_ms)
{
	pid_t pid = d->proc.pid;
	char how[96];

	if (d->proc.pidfd < 0 || !switch_proc_ends(&d->proc, within_ms))
		return false;
	forget(d, how, sizeof(how));
	d->n_respawns++;
	log_error("insula-switch (pid %d) %s: starting it anew", pid, how);
	return true;
}

// --- up ---

static int connect_to(struct daemon *d, pid_t *ret_pid)
{
	const struct switch_client_handler handler = {
		.event = on_event, .batch_end = on_batch_end, .gone = on_gone, .arg = d
	};
	char path[128];

	switch_watch_reset(d);
	socket_path(d, path, sizeof(path));
	return switch_client_open(d->loop, path, &handler, &d->client, ret_pid);
}

// It lives if it takes our connection and greets.
static int adopt(struct daemon *d, char *err, size_t err_size)
{
	struct proto_hello hello;
	pid_t pid;
	int r = connect_to(d, &pid);

	if (r < 0)
		return r;
	// Held before it greets: one that does not (it is dying, or hangs) is ended, not forgotten.
	r = d->proc.pidfd < 0 ? switch_proc_adopt(&d->proc, pid) : 0;
	if (r == 0)
		r = switch_hello(d->client, &hello, err, err_size);
	if (r < 0) {
		switch_client_free(d->client);
		d->client = NULL;
		return r;
	}
	switch_settings_of(pid, &d->proc.settings);
	return 0;
}

// Connects to a switch just started, as soon as it listens.
static int wait_until_up(struct daemon *d, char *err, size_t err_size)
{
	uint64_t deadline = loop_now_ns() + START_DEADLINE_MS * 1000000ull;
	struct pollfd died = { .fd = d->proc.pidfd, .events = POLLIN };
	struct proto_hello hello;
	pid_t pid;

	for (;;) {
		int r = connect_to(d, &pid);
		if (r == 0 && pid == d->proc.pid)
			return switch_hello(d->client, &hello, err, err_size);
		if (r == 0) { // not insulad's: ours finds the tables in use and says so
			switch_client_free(d->client);
			d->client = NULL;
		}
		if (r < 0 && r != -ENOENT && r != -ECONNREFUSED)
			return log_reason(r, err, err_size, "cannot connect to insula-switch: %s",
				strerror(-r));
		if (poll(&died, 1, 2) > 0) {
			char how[96];
			switch_proc_reap(&d->proc, how, sizeof(how));
			return log_reason(-EIO, err, err_size,
				"insula-switch %s before it served; its own message says why", how);
		}
		if (loop_now_ns() > deadline)
			return log_reason(-ETIMEDOUT, err, err_size,
				"insula-switch did not serve within %d s",
				START_DEADLINE_MS / 1000);
	}
}

static int start(
	struct daemon *d, const struct switch_settings *settings, char *err, size_t err_size)
{
	int lock_fd, r = switch_lock_take(d->run.path, &lock_fd, err, err_size);

	if (r < 0)
		return r;
	r = switch_proc_spawn(&d->proc, d->run.path, settings, lock_fd, err, err_size);
	close(lock_fd); // from here on it is the switch's alone
	return r < 0 ? r : wait_until_up(d, err, err_size);
}

// One that does not understand us, or we it, may be of another version.
static void tell_version(const struct daemon *d)
{
	char path[128];
	int version;

	socket_path(d, path, sizeof(path));
	version = switch_client_find_version(path);
	if (version > 0 && version != PROTO_VERSION)
		log_info("insula-switch (pid %d) speaks protocol %d, this insulad %d: replacing it",
			d->proc.pid, version, PROTO_VERSION);
}

int switch_link_up(struct daemon *d, const struct switch_settings *settings, bool *ret_adopted,
	char *err, size_t err_size)
{
	int r = adopt(d, err, err_size);

	*ret_adopted = r == 0;
	if (r < 0) {
		if (d->proc.pidfd >= 0 && (r == -EPIPE || r == -EBADMSG))
			tell_version(d);
		switch_proc_stop(&d->proc); // one that lives but does not greet
		r = start(d, settings, err, err_size);
	}
	if (r == 0)
		r = loop_add(d->loop, d->proc.pidfd, EPOLLIN, on_death, d, &d->proc_source);
	if (r < 0)
		switch_link_down(d);
	else
		d->no_switch[0] = 0;
	return r;
}

void switch_link_retry(struct daemon *d, const char *why)
{
	if (strcmp(d->no_switch, why) != 0)
		log_error("%s; trying again every second", why);
	snprintf(d->no_switch, sizeof(d->no_switch), "%s", why);
	loop_timer_arm(d->respawn_timer, 1000000000);
}

void switch_link_leave(struct daemon *d)
{
	loop_remove(d->loop, d->proc_source);
	d->proc_source = NULL;
	loop_timer_disarm(d->respawn_timer);
	switch_client_free(d->client);
	d->client = NULL;
	if (d->proc.pidfd >= 0)
		close(d->proc.pidfd);
	d->proc.pidfd = -1;
}

void switch_link_down(struct daemon *d)
{
	char how[96];

	loop_timer_disarm(d->respawn_timer);
	loop_remove(d->loop, d->proc_source);
	d->proc_source = NULL;
	switch_client_free(d->client);
	d->client = NULL;
	switch_proc_stop(&d->proc);
	forget(d, how, sizeof(how));
}

int switch_link_end(struct daemon *d, char *err, size_t err_size)
{
	int lock_fd, r;

	if (d->proc.pidfd < 0)
		adopt(d, err, err_size); // only to have hold of it
	switch_link_down(d);
	// And one that does not listen, or not yet.
	r = switch_lock_take(d->run.path, &lock_fd, err, err_size);
	if (r == 0)
		close(lock_fd);
	return r;
}

int switch_link_forget(struct daemon *d, char *err, size_t err_size)
{
	static const char *const tables[] = { "sessions", "mappings" };
	char path[128];
	int r = switch_link_end(d, err, err_size);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->run.path, tables[i]);
		unlink(path);
	}
	return 0;
}

// --- after a death ---

// As often as it is lost.
static void log_again(struct daemon *d)
{
	if (log_limit_pass(&d->again_limit, 3))
		log_info("insula-switch (pid %d) is spoken with again", d->proc.pid);
}

static int reconnect(struct daemon *d)
{
	char err[256] = "";

	if (adopt(d, err, sizeof(err)) < 0) {
		if (++d->n_reconnects < MAX_RECONNECTS) {
			loop_timer_arm(d->respawn_timer, 200000000);
			return 1;
		}
		log_error(
			"insula-switch (pid %d) hangs: it does not answer; ending it", d->proc.pid);
		switch_proc_kill(&d->proc); // a SIGTERM it would not read either
		switch_link_down(d);
		return -ETIMEDOUT;
	}
	d->n_reconnects = 0;
	// It may have done what it was asked for after we gave up waiting.
	d->switch_has_policy = false;
	int r = ports_resync(d, err, sizeof(err));
	if (r == 0 && d->compiled)
		r = switch_link_push(d, d->compiled, NULL, err, sizeof(err));
	if (r < 0)
		log_error("insula-switch (pid %d): %s", d->proc.pid, err);
	else
		log_again(d);
	d->switch_has_policy = r == 0;
	ports_add_devices(d);
	return 0;
}

bool switch_link_reconnect(struct daemon *d)
{
	switch_client_free(d->client);
	d->client = NULL;
	int r = d->proc.pidfd >= 0 ? reconnect(d) : -ESRCH;
	if (r < 0)
		loop_timer_arm(d->respawn_timer, 0);
	return r == 0 && d->switch_has_policy;
}

static void respawn(void *arg)
{
	struct daemon *d = arg;
	char err[512] = "";
	bool adopted;
	int r = 0;

	if (d->client)
		return; // an apply was faster
	r = d->proc.pidfd >= 0 ? reconnect(d) : -ESRCH;
	if (r > 0)
		return;
	if (r < 0) {
		uint64_t since = d->dark_since_ns ? d->dark_since_ns : loop_now_ns();
		d->n_respawns++;
		struct switch_settings same = d->proc.settings;
		switch_settings_fill(&same);
		r = switch_link_up(d, &same, &adopted, err, sizeof(err));
		if (r < 0) {
			switch_link_retry(d, err);
			return;
		}
		ports_all_out(d);
		ports_add_all(d);
		if (d->compiled && switch_link_push(d, d->compiled, NULL, err, sizeof(err)) < 0)
			log_error("policy: %s", err);
		else
			d->switch_has_policy = true;
		log_info("insula-switch (pid %d) forwards again after %llu ms", d->proc.pid,
			(unsigned long long)((loop_now_ns() - since) / 1000000));
		d->dark_since_ns = 0;
		ports_add_devices(d);
	}
	leases_restore(d->leases);
}

// --- policy ---

static bool has_section(const struct compiled *c, const struct policy_section_ref *ref)
{
	const struct policy_root *root = c ? c->root.data : NULL;

	for (uint32_t i = 0; root && i < root->n_sections; i++)
		if (memcmp(&root->sections[i], ref, sizeof(*ref)) == 0)
			return true;
	return false;
}

static int push(struct daemon *d, const struct compiled *c, const struct compiled *in_force,
	char *err, size_t err_size)
{
	const struct policy_root *root = c->root.data;
	int fd, r = 0;

	for (uint32_t i = 0; r == 0 && i < root->n_sections; i++) {
		if (has_section(in_force, &root->sections[i]))
			continue;
		r = compile_memfd(c->sections[i].data, c->sections[i].size, &fd);
		if (r < 0)
			return log_reason(
				r, err, err_size, "cannot make a memfd: %s", strerror(-r));
		r = switch_section_put(d->client, &root->sections[i], fd, err, err_size);
		close(fd);
	}
	if (r < 0)
		return r;
	r = compile_memfd(root, c->root.size, &fd);
	if (r < 0)
		return log_reason(r, err, err_size, "cannot make a memfd: %s", strerror(-r));
	r = switch_policy_commit(d->client, fd, err, err_size);
	close(fd);
	return r;
}

int switch_link_push(struct daemon *d, const struct compiled *c, const struct compiled *in_force,
	char *err, size_t err_size)
{
	int r = push(d, c, in_force, err, err_size);

	// It may have lost what we think it has.
	if (r == -ENOENT && in_force)
		r = push(d, c, NULL, err, err_size);
	if (r == 0) {
		d->ports_held = false;
		d->dark_since_ns = 0;
	}
	return r;
}

void switch_link_on_timer(void *arg)
{
	respawn(arg);
}
