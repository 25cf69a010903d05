// SPDX-License-Identifier: BSD-3-Clause
// insula-vmm: one process per virtual machine. So far it tells its version; see README.md.
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("insula-vmm " INSULA_VERSION);
		return 0;
	}
	bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
	fputs("usage: insula-vmm --version\n"
	      "So far it tells its version only.\n"
	      "Example: insula-vmm --version\n",
		help ? stdout : stderr);
	return help ? 0 : 2;
}
