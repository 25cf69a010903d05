// SPDX-License-Identifier: BSD-3-Clause
// Who runs on RUN_DIR: an insulad that answers, one that comes or goes, or nobody. The socket alone
// cannot tell: a killed one takes connections until the kernel has closed all it had. Its lock
// (runtime_dir.c) is the last thing to go.
#include "control/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "control/run_owner.h"

// The pid behind the API's socket: 0 and *ret_pid, or -errno; -EAGAIN: there is one, and as many
// wait for it as may.
static int peer_pid(const struct cli *c, pid_t *ret_pid)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd, r = 0;

	if (strlen(c->socket) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	strcpy(to.sun_path, c->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		r = -errno;
	else
		*ret_pid = peer.pid;
	close(fd);
	return r;
}

bool cli_is_crowded(const struct cli *c)
{
	pid_t pid;

	return peer_pid(c, &pid) == -EAGAIN;
}

// Its answer, whatever it says, is the proof.
static int answers(const struct cli *c, pid_t *ret_pid)
{
	struct cli_reply reply;
	int r = peer_pid(c, ret_pid);

	if (r == 0)
		r = cli_request(c, "GET", "/v1/status", NULL, NULL, 0, &reply);
	if (r == 0)
		cli_reply_free(&reply);
	return r;
}

static int open_lock(const struct cli *c)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s.lock", c->run_dir) < 0)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	free(path);
	return fd;
}

// An insulad that starts meanwhile tries again for half a second: it does not mind.
static bool lock_is_held(const struct cli *c)
{
	int fd = open_lock(c);
	bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return held;
}

static pid_t lock_holder(const struct cli *c)
{
	char text[16] = "";
	int fd = open_lock(c);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return (pid_t)strtol(text, NULL, 10);
}

int cli_find_insulad(const struct cli *c, pid_t *ret_pid)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (;;) {
		bool held = lock_is_held(c); // first: what is not held then has been let go
		int r = answers(c, ret_pid);

		if (r == 0 || r == -EACCES || r == -ETIMEDOUT)
			return r;
		if (!held && r != -EAGAIN)
			return -ESRCH;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec >= cli_timeout_s("GET"))
			return r == -EAGAIN ? r : -EBUSY;
		nanosleep(&pause, NULL);
	}
}

void cli_explain_insulad(const struct cli *c, int error)
{
	pid_t pid = error == -EBUSY ? lock_holder(c) : 0;

	if (error != -EBUSY)
		cli_explain(c, error);
	else
		cli_error("insulad (pid %d) holds %s.lock and does not serve, after %ld s of "
			  "waiting: it "
			  "starts, stops or hangs, see %s/insulad.log; to end it: kill -9 %d",
			(int)pid, c->run_dir, cli_timeout_s("GET"), c->state_dir, (int)pid);
}

// A former version's insulad has noted nothing: it is asked.
static bool find_owner(const struct cli *c, char ret_state_dir[PATH_MAX])
{
	struct cli_reply reply = { 0 };
	const char *dir;

	if (run_owner_get(c->run_dir, ret_state_dir) == 0)
		return true;
	ret_state_dir[0] = '\0';
	if (cli_request(c, "GET", "/v1/status", NULL, NULL, 0, &reply) < 0)
		return false;
	dir = json_string_value(json_object_get(reply.json, "state_dir"));
	if (dir != NULL && dir[0] == '/')
		snprintf(ret_state_dir, PATH_MAX, "%s", dir);
	cli_reply_free(&reply);
	return ret_state_dir[0] != '\0';
}

bool cli_is_others(const struct cli *c)
{
	char dir[PATH_MAX];

	if (!c->given_state_dir || !find_owner(c, dir) || run_owner_is_same(dir, c->state_dir))
		return false;
	cli_error("run directory %s has state directory %s instead of %s; name that one, or "
		  "another run directory",
		c->run_dir, dir, c->state_dir);
	return true;
}

// insulad looks too; but by then there is a log in the wrong directory. While another insulad has
// the lock nothing is looked at: what it comes to decides.
bool cli_start_is_refused(const struct cli *c)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	char why[1024];

	for (int ms = 0;; ms += 20) {
		int fd = open_lock(c);
		bool refused = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0 &&
			       run_owner_is_other(c->run_dir, c->state_dir, why, sizeof(why));

		if (fd >= 0)
			close(fd);
		if (!refused)
			return false;
		if (ms >= RUN_OWNER_PATIENCE_MS)
			break;
		nanosleep(&pause, NULL);
	}
	cli_error("%s", why);
	return true;
}
