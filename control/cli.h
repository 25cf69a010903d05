// SPDX-License-Identifier: BSD-3-Clause
// The command line `insula`: what its parts share. insula.c reads the arguments and finds the
// command; cli_http.c talks to insulad, cli_running.c finds it; cli_output.c prints; the commands
// are in cli_apply.c, cli_list.c, cli_daemon.c and cli_replay.c; cli_help.c knows them all. One
// thread, one command, then it ends.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { // exit statuses
	CLI_OK = 0,
	CLI_FAILED = 1, // refused or failed; diff: there are differences
	CLI_USAGE = 2, // called wrongly; diff: trouble
};

enum cli_output { CLI_TABLE, CLI_JSON, CLI_YAML, CLI_OUTPUT_COUNT };

// Options of `insula replay` alone.
struct cli_replay {
	const char *policy, *against, *out, *seed, *burst, *workers; // NULL: not given
	const char **inputs; // PORT=FILE
	unsigned n_inputs;
	const char *state_dir; // --state-dir, only when it is given
	bool given; // any of them
};

// Options of `insula instance create` alone.
struct cli_instance {
	const char *kernel, *initrd, *cmdline, *cpus, *memory, *restart, *stop_timeout, *image,
		*user_data, *ssh_key; // files; or NULL
	const char **disks, **networks; // PATH[,readonly]; NETWORK[=ADDRESS]
	unsigned n_disks, n_networks;
	bool hugepages;
	bool given_boot,
		given; // any of kernel, initrd and cmdline, which images have too; any other
};

// Options of `insula image import` and `build`.
struct cli_image {
	const char *format, *sha256; // or NULL
	const char *name, *mirror, *size, *packages; // of `image build`
	bool given, given_build; // any of the first, of the second line
};

struct cli {
	char *run_dir, *state_dir; // absolute
	bool given_state_dir; // by option or environment
	char *socket; // RUN_DIR/insulad.sock
	enum cli_output output;
	const char *file; // -f, or NULL
	struct cli_replay replay;
	struct cli_instance instance;
	struct cli_image image;
	bool force, log; // of `instance stop` and `volume`, of `instance console`
};

struct cli_command {
	const char *name;
	const char *arguments; // "KIND [NAME]"
	int min_args, max_args;
	bool takes_file; // -f is needed; elsewhere it is refused
	bool takes_replay; // struct cli_replay; elsewhere it is refused
	int (*run)(const struct cli *c, int n_args, char *const *args);
	const char *summary; // one line
	const char *text; // of its help
	const char *example;
	bool takes_force, takes_log; // elsewhere they are refused
	bool takes_instance; // struct cli_instance; elsewhere it is refused
	bool takes_build; // what of it `image build` has
	bool takes_image; // struct cli_image, and what images have of an instance; likewise
};

// cli_help.c
// `instance` alone is none, but has help.
const struct cli_command *cli_command_find(const char *name);
bool cli_help_group(FILE *out, const char *name);
void cli_help(void);
void cli_help_command(const struct cli_command *command);

// cli_apply.c, cli_list.c, cli_daemon.c: the commands. Each returns the exit status.
int cli_apply(const struct cli *c, int n_args, char *const *args);
int cli_diff(const struct cli *c, int n_args, char *const *args);
int cli_config(const struct cli *c, int n_args, char *const *args);
int cli_list(const struct cli *c, int n_args, char *const *args);
int cli_show(const struct cli *c, int n_args, char *const *args);
int cli_status(const struct cli *c, int n_args, char *const *args);
int cli_start(const struct cli *c, int n_args, char *const *args);
int cli_stop(const struct cli *c, int n_args, char *const *args);
int cli_instance_list(const struct cli *c, int n_args, char *const *args); // cli_instance.c
int cli_instance_show(const struct cli *c, int n_args, char *const *args);
int cli_instance_start(const struct cli *c, int n_args, char *const *args);
int cli_instance_stop(const struct cli *c, int n_args, char *const *args);
int cli_instance_restart(const struct cli *c, int n_args, char *const *args);
int cli_instance_pause(const struct cli *c, int n_args, char *const *args);
int cli_instance_resume(const struct cli *c, int n_args, char *const *args);
int cli_instance_create(const struct cli *c, int n_args, char *const *args); // cli_create.c
int cli_instance_delete(const struct cli *c, int n_args, char *const *args);
int cli_instance_console(const struct cli *c, int n_args, char *const *args); // cli_console.c
int cli_image_list(const struct cli *c, int n_args, char *const *args); // cli_image.c
int cli_image_show(const struct cli *c, int n_args, char *const *args);
int cli_image_import(const struct cli *c, int n_args, char *const *args);
int cli_image_build(const struct cli *c, int n_args, char *const *args); // cli_image_build.c
int cli_image_delete(const struct cli *c, int n_args, char *const *args);
int cli_volume_list(const struct cli *c, int n_args, char *const *args); // cli_volume.c
int cli_volume_show(const struct cli *c, int n_args, char *const *args);
int cli_volume_create(const struct cli *c, int n_args, char *const *args);
int cli_volume_resize(const struct cli *c, int n_args, char *const *args);
int cli_volume_delete(const struct cli *c, int n_args, char *const *args);
int cli_volume_attach(const struct cli *c, int n_args, char *const *args);
int cli_volume_detach(const struct cli *c, int n_args, char *const *args);
int cli_replay(const struct cli *c, int n_args, char *const *args); // cli_replay.c

// cli_instance.c. METHOD /v1/instances/NAME[/WORD], as cli_ask.
struct cli_reply;
bool cli_instance_ask(const struct cli *c, const char *method, const char *name, const char *word,
	struct cli_reply *ret_reply);

// Waits until its state is one of `until`'s words, which is good, or of `others`'; says which. An
// exit status.
int cli_instance_wait(const struct cli *c, const char *name, const char *until, const char *others,
	double limit_s);
// Waits until the instances that an apply has changed have got and given up their volumes, if they
// run. CLI_FAILED, told: one has not, and it goes on without us.
int cli_instance_wait_plugged(const struct cli *c, const json_t *changes);

// cli_image.c. A file becomes an image: waits for it. Only name and path need be there; paths are
// absolute. An exit status.
struct cli_import {
	const char *name, *path, *format, *sha256, *kernel, *initrd, *cmdline; // or NULL
};
int cli_image_import_from(const struct cli *c, const struct cli_import *from);
// "512MiB", "2GiB" in MiB; 0: it is no such size, or one beyond 16 TiB.
uint64_t cli_parse_size(const char *text);
#define CLI_SIZES "1MiB to 16384GiB, in MiB or GiB, like 512MiB or 2GiB"

// cli_apply.c. {"changes", "generation", "warnings"} as `insula apply` prints it.
void cli_print_applied(json_t *applied);
// The same in whichever form the user asks for; the reply is freed.
int cli_tell_applied(const struct cli *c, struct cli_reply *r);
// The whole file, "-" for standard input; free() it. NULL after saying why.
char *cli_read_file(const char *name, size_t *ret_size);
// Likewise, a string.
char *cli_read_text(const char *name);

// cli_http.c
struct cli_reply {
	long status; // HTTP
	char *body; // terminated
	size_t size;
	char *file; // X-Insula-File, or NULL
	json_t *json; // the body, when it is JSON; else NULL
};

// One request to insulad; `file` and `body` may be NULL. 0 with *ret_reply (cli_reply_free); or
// -errno: -ENOTCONN nobody answers, -ECONNRESET insulad went away, -EAGAIN too many wait for it
// already; nothing has been printed.
int cli_request(const struct cli *c, const char *method, const char *path, const char *file,
	const char *body, size_t size, struct cli_reply *ret_reply);
void cli_reply_free(struct cli_reply *r);
// How long one may take: INSULA_TIMEOUT, or what suits the method.
long cli_timeout_s(const char *method);
// The same, and says on stderr what went wrong: also what insulad itself refuses. True with a 200
// reply; else ret_reply holds nothing but the status (0: there was no answer).
bool cli_ask(const struct cli *c, const char *method, const char *path, const char *file,
	const char *body, size_t size, struct cli_reply *ret_reply);
// What -errno of cli_request means, on stderr.
void cli_explain(const struct cli *c, int error);

// cli_running.c
// Finds the insulad that serves: 0 and *ret_pid. One that starts, stops or has been killed is
// waited for. -ESRCH: there is none; -EBUSY: one has the lock and does not serve; -EAGAIN: others
// wait for it, and no more may; -EACCES, -ETIMEDOUT.
int cli_find_insulad(const struct cli *c, pid_t *ret_pid);
// Is what runs on RUN_DIR, or was left there, of another state directory than the one that was
// given? It is said then. No: also where that is not known.
bool cli_is_others(const struct cli *c);
// Would a start with this state directory, given or not, end what runs there for another one? It is
// said then.
bool cli_start_is_refused(const struct cli *c);
// Somebody has the socket, and takes no more who wait.
bool cli_is_crowded(const struct cli *c);
// What -errno of it means, on stderr.
void cli_explain_insulad(const struct cli *c, int error);

// cli_output.c
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
// As JSON or YAML, whole. Not for CLI_TABLE.
void cli_print_object(const struct cli *c, json_t *object);
// A list of flat objects. Columns: those of the named keys that are in use; NULL = all, in the
// order the API gives them.
void cli_print_table(json_t *list, const char *const *columns);
// One object: a line a key; what is nested below it.
void cli_print_record(json_t *object);
