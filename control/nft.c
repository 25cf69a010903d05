// SPDX-License-Identifier: BSD-3-Clause
// libnftables at arm's length, see nft.h. Called by host_nat.c and host_nat_check.c on the main
// thread, the only one: so a child may do after fork whatever it likes.
#include "control/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 'd', REFUSED = 'r' }; // the child's first byte

static void write_all(int fd, const char *text, size_t size)
{
	while (size) {
		ssize_t n = write(fd, text, size);
		if (n < 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

// The child: says how it went and what there is to say.
static void child(const char *commands, unsigned flags, int fd)
{
	const char *text;
	char first = REFUSED;

	prctl(PR_SET_PDEATHSIG, SIGKILL); // it has insulad's locks and sockets open too
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		_exit(1);
	nft_ctx_output_set_flags(nft, flags);
	if (nft_ctx_buffer_error(nft) || nft_ctx_buffer_output(nft))
		_exit(1);
	if (nft_run_cmd_from_buffer(nft, commands) == 0)
		first = DONE;
	text = first == DONE ? nft_ctx_get_output_buffer(nft) : nft_ctx_get_error_buffer(nft);
	write_all(fd, &first, 1);
	if (text)
		write_all(fd, text, strlen(text));
	_exit(0); // nothing of the parent's is flushed or taken back
}

// All of it, with a zero behind. -errno.
static int read_all(int fd, char **ret_text, size_t *ret_size)
{
	size_t size = 0, capacity = 4096;
	char *text = malloc(capacity);

	while (text) {
		ssize_t n = read(fd, text + size, capacity - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;
			free(text);
			return r;
		}
		size += (size_t)n;
		text[size] = 0;
		if (n == 0) {
			*ret_text = text;
			*ret_size = size;
			return 0;
		}
		if (size + 1 == capacity) {
			char *grown = realloc(text, capacity *= 2);
			if (!grown)
				free(text);
			text = grown;
		}
	}
	return -ENOMEM;
}

int nft_run(const char *commands, unsigned flags, char **ret_text)
{
	char *text = NULL;
	size_t size = 0;
	int ends[2], status, r;
	pid_t pid;

	if (ret_text)
		*ret_text = NULL;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(commands, flags, ends[1]);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (r == 0)
		r = read_all(ends[0], &text, &size);
	close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	if (size == 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		free(text);
		return -ENOMEM;
	}
	r = text[0] == DONE ? 0 : -EIO;
	if (ret_text) {
		memmove(text, text + 1, size); // the zero too
		*ret_text = text;
	} else {
		free(text);
	}
	return r;
}
