// SPDX-License-Identifier: BSD-3-Clause
// `insula start` and `insula stop`: insulad as a daemon of its own session, its log in the state
// directory; both wait until it is really so (a pipe insulad writes to when it serves; a pidfd).
#include "control/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control/run_owner.h"

enum {
	READY_MS = 60000, // insulad re-adopts what runs before it is ready
	STOP_MS = 60000, // without a guest that it waits for
	LOOK_MS = 500,
	MAX_STARTS = 5, // each behind another insulad that has come and gone meanwhile
};

static int make_dirs(const char *path)
{
	char *copy = strdup(path);
	int r = 0;

	if (copy == NULL)
		return -ENOMEM;
	for (char *p = copy + 1; r == 0; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, was == '/' ? 0755 : 0700) < 0 && errno != EEXIST)
			r = -errno;
		*p = was;
		if (was == '\0')
			break;
	}
	free(copy);
	return r;
}

// The log, open for appending, and where this start's part begins. -errno; -ENXIO: what is there is
// no file.
static int try_log(const struct cli *c, char path[PATH_MAX], off_t *ret_begin)
{
	struct stat st;
	int fd, r;

	snprintf(path, PATH_MAX, "%s", c->state_dir);
	r = make_dirs(c->state_dir);
	if (r < 0)
		return r;
	snprintf(path, PATH_MAX, "%s/insulad.log", c->state_dir);
	// A FIFO is not waited for, and a link not followed.
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return errno == EISDIR || errno == ELOOP ? -ENXIO : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ENXIO;
	}
	*ret_begin = st.st_size;
	return fd;
}

static int open_log(const struct cli *c, char path[PATH_MAX], off_t *ret_begin)
{
	int fd = try_log(c, path, ret_begin);

	if (fd == -ENXIO)
		cli_error("%s is not a regular file; move it away with `mv %s %s.other`", path,
			path, path);
	else if (fd < 0)
		cli_error("%s: %s", path, strerror(-fd));
	return fd;
}

// Where insulad lies: INSULA_INSULAD, else beside this program.
static char *find_insulad(void)
{
	const char *env = getenv("INSULA_INSULAD");
	char self[PATH_MAX], *path = NULL;
	ssize_t n;

	if (env != NULL && env[0] != '\0')
		return realpath(env, NULL);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return NULL;
	self[n] = '\0';
	if (asprintf(&path, "%s/insulad", dirname(self)) < 0)
		return NULL;
	return path;
}

// The same, if it can be run; else that is said.
static char *insulad_program(void)
{
	char *path = find_insulad();

	if (path != NULL && access(path, X_OK) == 0)
		return path;
	cli_error("%s: %s; INSULA_INSULAD may say where insulad is",
		path != NULL ? path : "insulad", strerror(errno));
	free(path);
	return NULL;
}

// In the grandchild: becomes insulad. Only async-signal-safe calls from here on.
static void become_insulad(char *const argv[], int ready_fd, int log_fd)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || chdir("/") < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 ||
		dup2(log_fd, 2) < 0 || dup2(ready_fd, 3) < 0)
		_exit(127);
	// dup2 of an fd to itself keeps close-on-exec.
	if (fcntl(3, F_SETFD, 0) < 0 || syscall(SYS_close_range, 4u, ~0u, 0u) < 0)
		_exit(127);
	umask(022);
	execv(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int spawn(char *const argv[], int ready_fd, int log_fd)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (child > 0) // the child ends at once: its own child is init's, not ours
		return waitpid(child, &status, 0) < 0 ? -errno : status == 0 ? 0 : -EIO;
	if (setsid() < 0)
		_exit(1);
	child = fork();
	if (child == 0)
		become_insulad(argv, ready_fd, log_fd);
	_exit(child < 0 ? 1 : 0);
}

// insulad writes "ready" when it serves, "busy" when another has the lock, or why it cannot (which
// is in its log too); if it dies before, the pipe just closes. 0, -EBUSY or -EIO.
static int wait_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char word[16];
	ssize_t n;
	int r;

	do
		r = poll(&p, 1, READY_MS);
	while (r < 0 && errno == EINTR);
	if (r == 0) {
		cli_error("insulad is not ready after %d s; it goes on trying", READY_MS / 1000);
		return -EIO;
	}
	n = read(fd, word, sizeof(word));
	if (n >= 5 && memcmp(word, "ready", 5) == 0)
		return 0;
	return n >= 4 && memcmp(word, "busy", 4) == 0 ? -EBUSY : -EIO;
}

// Behind "2026-01-31T23:59:59Z error "; else the line itself.
static const char *without_time(const char *line)
{
	const char *space = strlen(line) > 21 && line[10] == 'T' && line[19] == 'Z'
				    ? strchr(line + 21, ' ')
				    : NULL;

	return space != NULL ? space + 1 : line;
}

// What insulad itself had to say, or of that what went wrong only.
static void show_log(const char *path, off_t begin, bool errors)
{
	FILE *f = fopen(path, "re");
	char line[1024];

	if (f == NULL)
		return;
	if (fseeko(f, begin, SEEK_SET) == 0)
		while (fgets(line, sizeof(line), f) != NULL)
			if (!errors || (without_time(line) != line &&
					       strncmp(line + 21, "error ", 6) == 0))
				fputs(without_time(line), stderr);
	fclose(f);
}

static void print_and_free(const struct cli *c, json_t *object)
{
	cli_print_object(c, object);
	json_decref(object);
}

static int say(const struct cli *c, pid_t pid, const char *key, const char *words)
{
	if (c->output == CLI_TABLE)
		printf("insulad %s (pid %d)\n", words, (int)pid);
	else
		print_and_free(c, json_pack("{s:b, s:i}", key, 1, "pid", (int)pid));
	return CLI_OK;
}

// One runs: that is fine if its state is the one that was asked for, or it does not say which.
static int say_running(const struct cli *c, pid_t pid)
{
	struct cli_reply reply = { 0 };
	bool other = false;

	if (cli_request(c, "GET", "/v1/status", NULL, NULL, 0, &reply) == 0) {
		const char *dir = json_string_value(json_object_get(reply.json, "state_dir"));

		other = dir != NULL && dir[0] == '/' && !run_owner_is_same(dir, c->state_dir);
		if (other)
			cli_error("another insulad (pid %d) runs with run directory %s, and with "
				  "state directory %s instead of %s; stop it with `insula stop`, "
				  "name its state directory, or another run directory",
				(int)pid, c->run_dir, dir, c->state_dir);
		cli_reply_free(&reply);
	}
	return other ? CLI_FAILED : say(c, pid, "running", "runs already");
}

// Starts it and waits until it serves: 0 and *ret_pid, or -errno.
static int start_and_wait(const struct cli *c, char *insulad, int log_fd, pid_t *ret_pid)
{
	char run_dir[] = "--run-dir", state_dir[] = "--state-dir", ready_fd[] = "--ready-fd";
	char three[] = "3";
	char *argv[] = { insulad, run_dir, c->run_dir, state_dir, c->state_dir, ready_fd, three,
		NULL };
	int ready[2], r;

	if (pipe2(ready, O_CLOEXEC) < 0) {
		r = -errno;
		cli_error("pipe: %s", strerror(-r));
		return r;
	}
	r = spawn(argv, ready[1], log_fd);
	close(ready[1]);
	if (r < 0)
		cli_error("%s cannot be started: %s", insulad, strerror(-r));
	else
		r = wait_ready(ready[0]);
	if (r == 0)
		r = cli_find_insulad(c, ret_pid);
	close(ready[0]);
	return r;
}

// 0, -EBUSY when another insulad was faster, or another -errno that has been explained.
static int start_with_log(const struct cli *c, char *insulad, pid_t *ret_pid)
{
	char path[PATH_MAX];
	off_t begin = 0;
	int log_fd = open_log(c, path, &begin), r;

	if (log_fd < 0)
		return log_fd;
	r = start_and_wait(c, insulad, log_fd, ret_pid);
	close(log_fd);
	if (r == 0 || r == -EBUSY)
		return r;
	show_log(path, begin, false);
	cli_error("insulad did not start; its log is %s", path);
	return -EIO;
}

// One that is coming or going is waited for; what it comes to decides.
static int find_or_start(const struct cli *c, char *insulad)
{
	pid_t pid;
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < MAX_STARTS; i++) {
		r = cli_find_insulad(c, &pid);
		if (r == 0)
			return say_running(c, pid);
		if (r != -ESRCH)
			break;
		if (cli_start_is_refused(c))
			return CLI_FAILED;
		r = start_with_log(c, insulad, &pid);
		if (r == 0)
			return say(c, pid, "started", "runs");
		if (r != -EBUSY)
			return CLI_FAILED;
	}
	cli_explain_insulad(c, r);
	return CLI_FAILED;
}

int cli_start(const struct cli *c, int n_args, char *const *args)
{
	char *insulad;
	pid_t pid;
	int r;

	if (geteuid() != 0) {
		if (cli_find_insulad(c, &pid) == 0)
			return say_running(c, pid);
		cli_error("insulad needs root; run: sudo insula start");
		return CLI_FAILED;
	}
	insulad = insulad_program();
	if (insulad == NULL)
		return CLI_FAILED;
	r = find_or_start(c, insulad);
	free(insulad);
	return r;
}

// A tmpfs or a socket is there, and nobody behind it.
static bool anything_left(const struct cli *c)
{
	struct stat here, parent;
	char *up = NULL;
	bool mounted;

	if (access(c->socket, F_OK) == 0)
		return true;
	mounted = asprintf(&up, "%s/..", c->run_dir) >= 0 && stat(c->run_dir, &here) == 0 &&
		  stat(up, &parent) == 0 && here.st_dev != parent.st_dev;
	free(up);
	return mounted;
}

// insulad itself, told to take back what it finds: 0, or its wait status.
static int run_clean_up(const struct cli *c, char *insulad, int log_fd)
{
	char run_dir[] = "--run-dir", state_dir[] = "--state-dir", clean_up[] = "--clean-up";
	char *argv[] = { insulad, run_dir, c->run_dir, state_dir, c->state_dir, clean_up, NULL };
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		if (dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
			_exit(127);
		execv(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int clean_up(const struct cli *c)
{
	char path[PATH_MAX], *insulad;
	off_t begin = 0;
	int log_fd, status;
	bool unlogged;

	if (geteuid() != 0) {
		cli_error("cleaning up behind a dead insulad needs root; run: sudo insula stop");
		return CLI_FAILED;
	}
	insulad = insulad_program();
	if (insulad == NULL)
		return CLI_FAILED;
	// Cleaning up needs no state, and no log either: a folder that cannot be written, or what
	// somebody put there, is no reason to leave taps behind.
	log_fd = try_log(c, path, &begin);
	unlogged = log_fd < 0;
	if (unlogged) {
		log_fd = memfd_create("insulad.log", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", log_fd);
	}
	status = run_clean_up(c, insulad, log_fd);
	free(insulad);
	if (status != 0) {
		show_log(path, begin, false);
		cli_error("cannot clean up behind a dead insulad%s%s",
			unlogged ? "" : "; its log is ", unlogged ? "" : path);
	}
	close(log_fd);
	if (status != 0)
		return CLI_FAILED;
	if (c->output == CLI_TABLE)
		printf("insulad had died; what it left on %s is cleaned up\n", c->run_dir);
	else
		print_and_free(c, json_pack("{s:b}", "cleaned_up", 1));
	return CLI_OK;
}

static int not_running(const struct cli *c, int error)
{
	if (error != -ESRCH) {
		cli_explain_insulad(c, error);
		return CLI_FAILED;
	}
	if (anything_left(c))
		return clean_up(c);
	if (c->output == CLI_TABLE)
		printf("insulad does not run on %s\n", c->run_dir);
	return CLI_OK;
}

// How many guests are still there; 0 also when insulad does not say.
static unsigned guests_left(const struct cli *c)
{
	struct cli_reply r;
	unsigned n = 0;
	json_t *o;
	size_t i;

	if (cli_request(c, "GET", "/v1/instances", NULL, NULL, 0, &r) < 0)
		return 0;
	json_array_foreach(json_object_get(r.json, "instances"), i, o)
		n += json_object_get(o, "pid") != NULL;
	cli_reply_free(&r);
	return n;
}

// Each guest has its own time to power off: as long as there are any, it is waited for.
static bool wait_stopped(const struct cli *c, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	bool told = false, ended = false;
	int left_ms = STOP_MS;

	while (!ended && left_ms > 0) {
		int r = poll(&p, 1, LOOK_MS);
		unsigned guests = r == 0 ? guests_left(c) : 0;

		ended = r > 0;
		left_ms = guests > 0 ? STOP_MS : left_ms - LOOK_MS;
		if (guests > 0 && c->output == CLI_TABLE && isatty(STDERR_FILENO)) {
			fprintf(stderr, "\r\033[Kwaiting for %u guest%s to power off ...", guests,
				guests == 1 ? "" : "s");
			told = true;
		}
	}
	if (told)
		fprintf(stderr, "\r\033[K");
	return ended;
}

// Where this stop's part of the log begins; -1 = there is none (or a journal instead).
static off_t log_end(const struct cli *c)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/insulad.log", c->state_dir);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

// insulad keeps its notes where it could not put the host back. RUN_DIR is also there when the next
// insulad has begun.
static bool was_put_back(const struct cli *c, pid_t pid, off_t log_begin)
{
	char path[PATH_MAX];
	pid_t next;

	if (!anything_left(c) || cli_find_insulad(c, &next) != -ESRCH)
		return true;
	snprintf(path, sizeof(path), "%s/insulad.log", c->state_dir);
	if (log_begin >= 0)
		show_log(path, log_begin, true);
	cli_error("insulad (pid %d) has stopped, but not all of this host is as it was before; "
		  "its log, %s, says what and why; then run `insula stop` again",
		(int)pid, path);
	return false;
}

static int stop(const struct cli *c)
{
	struct cli_reply reply;
	off_t log_begin = log_end(c);
	int pidfd;
	pid_t pid;
	int r = cli_find_insulad(c, &pid);

	if (r < 0)
		return not_running(c, r);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
	if (pidfd < 0 && errno != ESRCH) {
		cli_error("pidfd_open: %s", strerror(errno));
		return CLI_FAILED;
	}
	if (!cli_ask(c, "POST", "/v1/stop", NULL, NULL, 0, &reply)) {
		close(pidfd);
		return CLI_FAILED;
	}
	cli_reply_free(&reply);
	r = pidfd < 0 || wait_stopped(c, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	if (r == 0) {
		cli_error("insulad (pid %d) still runs after %d s; see %s/insulad.log", (int)pid,
			STOP_MS / 1000, c->state_dir);
		return CLI_FAILED;
	}
	if (!was_put_back(c, pid, log_begin))
		return CLI_FAILED;
	return say(c, pid, "stopped", "has stopped");
}

int cli_stop(const struct cli *c, int n_args, char *const *args)
{
	char state_dir[PATH_MAX], *owned = NULL;
	struct cli its = *c;
	int r;

	if (cli_is_others(c))
		return CLI_FAILED;
	if (run_owner_get(c->run_dir, state_dir) == 0)
		owned = strdup(state_dir);
	if (owned != NULL) // where its log is
		its.state_dir = owned;
	r = stop(&its);
	free(owned);
	return r;
}
