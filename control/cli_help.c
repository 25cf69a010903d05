// SPDX-License-Identifier: BSD-3-Clause
// The commands of `insula` and their help, each with an example. insula(1) says the same at length.
#include "control/cli.h"

#include <stdio.h>
#include <string.h>

#define KINDS \
	"KIND is tenant, network, port, instance, image, volume, lease, session, uplink or drops."
#define INSTANCE "NAME is TENANT/INSTANCE, of kind vm."

static const struct cli_command commands[] = {
	{ "start", "", 0, 0, .run = cli_start, .summary = "start Insula on this host",
		"Starts insulad in the background and waits until it serves. Its log is\n"
		"STATE_DIR/insulad.log. If it runs already, that is said and fine, unless with "
		"another\n"
		"STATE_DIR; one that is stopping or dying is waited for. What a dead one left\n"
		"running is ended by none with another STATE_DIR.",
		"sudo insula start" },
	{ "stop", "", 0, 0, .run = cli_stop, .summary = "stop it and leave nothing behind",
		"Powers off all VMs: their power buttons first, each is killed after its "
		"stop_timeout.\n"
		"Ends forwarding, removes taps, mounts, nft rules and sysctls it made, and waits "
		"until\n"
		"insulad has gone. Desired state and allocated addresses stay in STATE_DIR. Cleans "
		"up\n"
		"behind an insulad that died, too.",
		"sudo insula stop" },
	{ "status", "", 0, 0, .run = cli_status, .summary = "what runs, and how",
		"Shows versions, the policy's generation, the switch, uplinks and warnings.",
		"insula status -o json" },
	{ "apply", "-f FILE", 0, 0, .takes_file = true, .run = cli_apply,
		.summary = "make a file the desired state",
		"The file is the whole desired state: what it no longer names is removed. All or\n"
		"nothing: with exit status 1 nothing was changed, unless the switch hangs, which "
		"is\n"
		"said. FILE may be - for standard input.\n"
		"The file's format is in insula.yaml(5).",
		"sudo insula apply -f site.yaml" },
	{ "diff", "-f FILE", 0, 0, .takes_file = true, .run = cli_diff,
		.summary = "what apply would change",
		"Prints + for what would be created, ~ changed, - removed. Exit status 0: "
		"nothing;\n"
		"1: there are differences; 2: trouble, also when the apply would fail.",
		"sudo insula diff -f site.yaml" },
	{ "config", "", 0, 0, .run = cli_config, .summary = "the file applied last",
		"Prints the YAML as it was applied, comments and all.",
		"sudo insula config > site.yaml" },
	{ "list", "KIND", 1, 1, .run = cli_list, .summary = "all of a kind",
		"Lists all of a kind. " KINDS
		"\nThe table of drops leaves out reasons without drops.",
		"insula list port" },
	{ "show", "KIND [NAME]", 1, 2, .run = cli_show, .summary = "one of a kind",
		"Shows one of a kind; without NAME, all. " KINDS "\n"
		"Names: tenant red; network red/lan; port red/web.eth0 or its number; lease "
		"10.0.0.11 or\n"
		"its port; session by number; drops of one port by the port's name.",
		"insula show port red/web.eth0" },
	{ "instance list", "", 0, 0, .run = cli_instance_list, .summary = "all instances",
		.text = "Lists the machines that Insula runs, and those that others run "
			"(external).",
		.example = "insula instance list -o yaml" },
	{ "instance show", "NAME", 1, 1, .run = cli_instance_show, .summary = "one instance",
		.text = "Shows what an instance is made of, and how it is. NAME is "
			"TENANT/INSTANCE.",
		.example = "insula instance show red/web" },
	{ "instance create", "NAME...", 1, 1, .takes_instance = true, .run = cli_instance_create,
		.summary = "a new one, started",
		.text = "Adds an instance of kind vm to the file applied last (`insula config` "
			"shows "
			"it), applies\nthat, and waits until its guest runs. A later `insula "
			"apply` of a "
			"file that does not\nname it removes it: keep the file by `insula config > "
			"site.yaml`. " INSTANCE "\n"
			"      --image NAME                a disk of its own, made of an image\n"
			"      --kernel FILE               required without an image that has one\n"
			"      --initrd FILE\n"
			"      --cmdline WORDS\n"
			"      --cpus N                    1\n"
			"      --memory SIZE               like 512MiB or 2GiB; 256MiB\n"
			"      --hugepages\n"
			"      --disk PATH[,readonly][,direct]  once for each\n"
			"      --network NETWORK[=ADDRESS] of its tenant; once for each nic\n"
			"      --user-data FILE            for cloud-init in the guest\n"
			"      --ssh-key FILE              or only public keys for its first user\n"
			"      --restart POLICY            on-failure (default), always or never\n"
			"      --stop-timeout SECONDS      30",
		.example =
			"sudo insula instance create red/db --kernel /boot/vmlinuz \\\n"
			"           --initrd /boot/initrd.img --disk /srv/db.raw --cmdline \\\n"
			"           'root=/dev/vda1 console=ttyS0' --memory 1GiB --network lan" },
	{ "instance delete", "NAME", 1, 1, .run = cli_instance_delete,
		.summary = "shut it down and remove it",
		.text = "Takes an instance out of the file applied last, and applies that: it is "
			"shut "
			"down as\nstop does, in the background. Its disks stay, but for the one "
			"made of its image.\nNAME is TENANT/INSTANCE.",
		.example = "sudo insula instance delete red/db" },
	{ "instance start", "NAME", 1, 1, .run = cli_instance_start, .summary = "start it",
		.text = "Starts an instance and waits until its guest runs. It stays wanted: it is "
			"started\nagain after a reboot of the host. " INSTANCE,
		.example = "sudo insula instance start red/web" },
	{ "instance stop", "[--force] NAME", 1, 1, .takes_force = true, .run = cli_instance_stop,
		.summary = "shut it down",
		.text = "Presses the power button and waits; a guest that has not powered off in "
			"its\nstop_timeout is killed. It stays stopped until it is started, also "
			"after a reboot of\nthe host. " INSTANCE
			"\n      --force          kill it at once",
		.example = "sudo insula instance stop red/web" },
	{ "instance restart", "NAME", 1, 1, .run = cli_instance_restart,
		.summary = "stop and start it",
		.text = "Shuts an instance down as stop does, and starts it. " INSTANCE,
		.example = "sudo insula instance restart red/web" },
	{ "instance pause", "NAME", 1, 1, .run = cli_instance_pause,
		.summary = "hold its processors",
		.text = "Holds the instance's processors; its memory stays. " INSTANCE,
		.example = "sudo insula instance pause red/web" },
	{ "instance resume", "NAME", 1, 1, .run = cli_instance_resume, .summary = "let it go on",
		.text = "Lets a paused instance go on. " INSTANCE,
		.example = "sudo insula instance resume red/web" },
	{ "instance console", "[--log] NAME", 1, 1, .takes_log = true, .run = cli_instance_console,
		.summary = "its serial port, on this terminal",
		.text = "Attaches this terminal to the instance's serial port; Ctrl-] detaches. Up "
			"to 8\nterminals may be attached, and see and type the same. What comes "
			"from "
			"a pipe is typed,\nand its end detaches. " INSTANCE
			"\nOf one that does not run a terminal shows what it said last, and waits; "
			"a "
			"pipe is refused."
			"\n      --log            print what it said last, at most 64 KiB, and end",
		.example = "sudo insula instance console red/web" },
	{ "image list", "", 0, 0, .run = cli_image_list, .summary = "all images",
		.text = "Lists the images, and imports under way.",
		.example = "insula image list" },
	{ "image show", "NAME", 1, 1, .run = cli_image_show, .summary = "one image",
		.text = "Shows what an image is made of, its checksums, and which instances use "
			"it.",
		.example = "insula image show debian-12" },
	{ "image import", "NAME FILE...", 2, 2, .takes_image = true, .run = cli_image_import,
		.summary = "a disk's file becomes an image",
		.text = "Copies FILE, a disk's content or a block device, into STATE_DIR/images, "
			"and waits for\nit. The copy never changes. What format FILE has is never "
			"guessed. Who interrupts\nthis ends the waiting: the import goes on in "
			"insulad, until it is done or the image\ndeleted.\n"
			"      --format FORMAT  raw (default) or qcow2, without backing file\n"
			"      --sha256 HEX     refuse it if it has another checksum\n"
			"      --kernel FILE    copied too, for instances that name none\n"
			"      --initrd FILE    likewise\n"
			"      --cmdline WORDS  likewise",
		.example = "sudo insula image import debian disk.raw --kernel vmlinuz --initrd "
			   "initrd.img \\\n           --cmdline 'root=/dev/vda console=ttyS0'" },
	{ "image build", "DISTRIBUTION...", 1, 1, .takes_build = true, .run = cli_image_build,
		.summary = "a new Debian becomes an image",
		.text = "Makes a Debian with kernel, cloud-init and SSH server by mmdebstrap, and "
			"imports "
			"it with its\nkernel and initrd. What an instance is called, whose SSH "
			"keys it "
			"takes and all else comes by\nits user_data. DISTRIBUTION is debian-12. "
			"Takes "
			"some minutes, and root.\n"
			"      --name NAME      of the image; otherwise DISTRIBUTION\n"
			"      --mirror URL     or apt line; otherwise this host's own sources, "
			"or deb.debian.org\n"
			"      --size SIZE      of its file system; 2GiB\n"
			"      --packages A,B   more of them",
		.example = "sudo insula image build debian-12 --packages nginx --name web" },
	{ "image delete", "NAME", 1, 1, .run = cli_image_delete, .summary = "remove an image",
		.text = "Removes an image that no instance uses, or ends its import.",
		.example = "sudo insula image delete debian" },
	{ "volume list", "", 0, 0, .run = cli_volume_list, .summary = "all volumes",
		.text = "Lists the volumes, and which instance has which. One that is held is "
			"attached "
			"to none, but a guest has not let go of it.",
		.example = "insula volume list" },
	{ "volume show", "NAME", 1, 1, .run = cli_volume_show, .summary = "one volume",
		.text = "Shows how large a volume is, what it takes, and who has it.",
		.example = "insula volume show data" },
	{ "volume create", "NAME SIZE", 2, 2, .run = cli_volume_create, .summary = "a new one",
		.text = "Makes a volume: a raw disk full of zeroes, which takes no space before it "
			"is "
			"written to.\nSIZE is like 512MiB or 2GiB, at most 16384GiB.",
		.example = "sudo insula volume create data 20GiB" },
	{ "volume attach", "NAME INSTANCE...", 2, 2, .takes_force = true, .run = cli_volume_attach,
		.summary = "an instance's next disk",
		.text = "Makes a volume the last disk of an instance (TENANT/INSTANCE) in the file "
			"applied last, and\napplies that. It is plugged into one that runs, if a "
			"slot is "
			"left for it.\n"
			"      --force          shut it down and start it anew instead",
		.example = "sudo insula volume attach data red/db" },
	{ "volume detach", "NAME...", 1, 1, .takes_force = true, .run = cli_volume_detach,
		.summary = "nobody's disk",
		.text = "Takes a volume out of the disks of its instance in the file applied last, "
			"and "
			"applies\nthat. The guest of an instance that runs has to let go of it.\n"
			"      --force          shut it down and start it anew instead",
		.example = "sudo insula volume detach data" },
	{ "volume resize", "NAME SIZE", 2, 2, .run = cli_volume_resize, .summary = "make it larger",
		.text = "Makes a volume larger; the file system on it is its guest's to grow. "
			"While an "
			"instance runs\nwith it, it is refused: that would not be told.",
		.example = "sudo insula volume resize data 40GiB" },
	{ "volume delete", "NAME", 1, 1, .run = cli_volume_delete, .summary = "remove it",
		.text = "Removes a volume that is attached to no instance, with all that is on it.",
		.example = "sudo insula volume delete data" },
	{ "replay", "--policy...", 0, 0, .takes_replay = true, .run = cli_replay,
		.summary = "captures through a policy",
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
		"  --burst N, --workers N  packets at a time, 1 to 32, and simulated workers, 1 to "
		"16;\n"
		"                     default 1; neither changes the result\n"
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

bool cli_help_group(FILE *out, const char *name)
{
	size_t n = strlen(name);
	bool found = false;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		const struct cli_command *c = &commands[i];

		if (strncmp(c->name, name, n) != 0 || c->name[n] != ' ')
			continue;
		if (!found)
			fprintf(out, "usage: insula %s COMMAND [OPTION...]\n\nCommands:\n", name);
		found = true;
		fprintf(out, "  %-8s %-16s  %s\n", c->name + n + 1, c->arguments, c->summary);
	}
	if (found)
		fprintf(out, "\nEach has --help.\nExample: insula %s list\n", name);
	return found;
}

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
		printf("  %-16s %-14s  %s\n", commands[i].name, commands[i].arguments,
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
