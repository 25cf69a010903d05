// SPDX-License-Identifier: BSD-3-Clause
// insula-vmm: one process per virtual machine. run.h has its life.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "vmm/confine.h"
#include "vmm/options.h"
#include "vmm/run.h"

#ifdef __SANITIZE_ADDRESS__
// Who looks for leaks stops all threads as a debugger does, which a confined process cannot.
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

// What is opened later must not become standard output: the guest writes there.
static void open_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDWR);
}

int main(int argc, char **argv)
{
	struct options o;
	struct run *r;
	int result;

	open_standard();
	signal(SIGXFSZ, SIG_IGN); // RLIMIT_FSIZE is an error like others, with a sentence
	confine_close_inherited();
	result = options_parse(&o, argc, argv);
	if (result)
		return result - 1;
	r = calloc(1, sizeof(*r));
	if (!r) {
		fputs("insula-vmm: no memory\n", stderr);
		return 1;
	}
	result = run(r, &o);
	free(r);
	return result;
}
