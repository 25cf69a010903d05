// SPDX-License-Identifier: BSD-3-Clause
// The commands of `insula` and their help, each with an example. insula(1) says the same at length.
#include "control/cli.h"

#include <stdio.h>
#include <string.h>

#define KINDS "KIND is tenant, network, port, lease, session, uplink or drops."

static const struct cli_command commands[] = {
	{ "start", "", 0, 0, false, false, cli_start, "start Insula on this host",
		"Starts insulad in the background and waits until it serves. Its log is\n"
		"STATE_DIR/insulad.log. If it runs already, that is said and fine; one that is "
		"stopping\n"
		"or dying is waited for.",
		"sudo insula start" },
	{ "stop", "", 0, 0, false, false, cli_stop, "stop it and leave nothing behind",
		"Ends forwarding, removes taps, mounts, nft rules and sysctls it made, and waits "
		"until\n"
		"insulad has gone. Desired state and allocated addresses stay in STATE_DIR. Cleans "
		"up\n"
		"behind an insulad that died, too.",
		"sudo insula stop" },
	{ "status", "", 0, 0, false, false, cli_status, "what runs, and how",
		"Shows versions, the policy's generation, the switch, uplinks and warnings.",
		"insula status -o json" },
	{ "apply", "-f FILE", 0, 0, true, false, cli_apply, "make a file the desired state",
		"The file is the whole desired state: what it no longer names is removed. All or\n"
		"nothing: with exit status 1 nothing was changed, unless the switch hangs, which "
		"is\n"
		"said. FILE may be - for standard input.\n"
		"The file's format is in insula.yaml(5).",
		"sudo insula apply -f site.yaml" },
	{ "diff", "-f FILE", 0, 0, true, false, cli_diff, "what apply would change",
		"Prints + for what would be created, ~ changed, - removed. Exit status 0: "
		"nothing;\n"
		"1: there are differences; 2: trouble, also when the apply would fail.",
		"sudo insula diff -f site.yaml" },
	{ "config", "", 0, 0, false, false, cli_config, "the file applied last",
		"Prints the YAML as it was applied, comments and all.",
		"sudo insula config > site.yaml" },
	{ "list", "KIND", 1, 1, false, false, cli_list, "all of a kind",
		"Lists all of a kind. " KINDS
		"\nThe table of drops leaves out reasons without drops.",
		"insula list port" },
	{ "show", "KIND [NAME]", 1, 2, false, false, cli_show, "one of a kind",
		"Shows one of a kind; without NAME, all. " KINDS "\n"
		"Names: tenant red; network red/lan; port red/web.eth0 or its number; lease "
		"10.0.0.11 or\n"
		"its port; session by number; drops of one port by the port's name.",
		"insula show port red/web.eth0" },
	{ "replay", "--policy...", 0, 0, false, true, cli_replay, "captures through a policy",
		"Sends the packets of captures (pcap or pcapng, whole Ethernet frames) through "
		"the\n"
		"switch's pipeline under a policy that need not be applied, on the captures' "
		"time.\n"
		"Needs neither root nor a running Insula. The same input gives the same output,\n"
		"byte for byte.\n"
		"  --policy FILE      as for apply\n"
		"  --in PORT=CAPTURE  what came in by this port (named as `insula list port` "
		"does,\n"
		"                     or an uplink or trunk); once for each port\n"
		"  --out DIR          a new directory: DIR/PORT.pcapng for each port that frames "
		"left\n"
		"                     by, and DIR/verdicts.json, a packet a line\n"
		"  --against NEW      instead of --out: which flows end otherwise under NEW, and "
		"by\n"
		"                     which rule\n"
		"  --json             the sum, or those flows, as JSON\n"
		"  --seed N           of hashes and the choice of NAT ports; default 0\n"
		"  --state-dir DIR    MACs, addresses and numbers as this host gave them out; "
		"without\n"
		"                     it, what the file leaves open is the same on every machine\n"
		"Exit status: 0; 1 refused or failed; 2 called wrongly. With --against, as "
		"diff(1):\n"
		"0 nothing ends otherwise, 1 something does, 2 trouble.",
		"sudo insula replay --policy site.yaml --state-dir /var/lib/insula \\\n"
		"           --in red/web.eth0=web.pcap --out out" },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const struct cli_command *cli_command_find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void print_options(void)
{
	printf("Options:\n"
	       "  -o, --output FORMAT  table (default), json or yaml\n"
	       "      --run-dir DIR    where insulad runs (INSULA_RUN_DIR, else /run/insula)\n"
	       "      --state-dir DIR  what it keeps (INSULA_STATE_DIR, else /var/lib/insula)\n"
	       "  -h, --help           this, or a command's own\n"
	       "      --version\n");
}

void cli_help(void)
{
	printf("usage: insula COMMAND [OPTION...]\n\n"
	       "A VPS host's network on one machine: tenants, networks and ports from one file.\n\n"
	       "Commands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-6s %-11s  %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	printf("\n");
	print_options();
	printf("\nExit status: 0; 1 refused or failed; 2 called wrongly.\n"
	       "Example: sudo insula start && sudo insula apply -f site.yaml && insula list "
	       "port\n");
}

void cli_help_command(const struct cli_command *command)
{
	printf("usage: insula %s%s%s [OPTION...]\n\n%s\n\n", command->name,
		command->arguments[0] != '\0' ? " " : "", command->arguments, command->text);
	print_options();
	printf("\nExample: %s\n", command->example);
}
