// SPDX-License-Identifier: BSD-3-Clause
// See guest_agent.h: the guest as a machine. Called by guest_agent.c.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/input.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include "tests/e2e/guest_agent.h"

#define NIC "eth0"

static int ask_link(unsigned long request, const char *name, void *what)
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (request == SIOCETHTOOL)
		r.ifr_data = what;
	else if (request == SIOCSIFFLAGS)
		r.ifr_flags = what ? *(short *)what : IFF_UP | IFF_RUNNING;
	else
		memcpy(&r.ifr_addr, what, sizeof(r.ifr_addr));
	int status = ioctl(fd, request, &r);
	close(fd);
	return status;
}

// --- udhcpc's script ---

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	if (text)
		inet_pton(AF_INET, text, &a.sin_addr);
	return a;
}

static const char *told(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "-";
}

static int set_route(const char *router)
{
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in any = address_of(NULL), gateway = address_of(router);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
	int status = ioctl(fd, SIOCADDRT, &route);
	close(fd);
	return status;
}

int guest_lease(const char *event)
{
	struct sockaddr_in address = address_of(told("ip")), mask = address_of(told("subnet"));
	char line[160];

	if (strcmp(event, "deconfig") == 0)
		return ask_link(SIOCSIFFLAGS, NIC, NULL) < 0;
	if (strcmp(event, "bound"))
		return 0;
	if (ask_link(SIOCSIFADDR, NIC, &address) < 0 || ask_link(SIOCSIFNETMASK, NIC, &mask) < 0 ||
		set_route(told("router")) < 0)
		return 1;
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY);
	int n = snprintf(line, sizeof(line), "@lease %s %s %s %s %s .\n", told("ip"), told("mask"),
		told("router"), told("dns"), told("mtu"));
	return write(fd, line, (size_t)n) != n;
}

// --- the first process ---

static void load_modules(void)
{
	char path[256];
	FILE *f = fopen("/modules", "re");

	while (f && fscanf(f, "%255s", path) == 1) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (syscall(SYS_finit_module, fd, "", 0) < 0)
			perror(path);
		close(fd);
	}
	if (f)
		fclose(f);
}

// As systemd-logind does.
static void *watch_button(void *arg)
{
	int fd = open("/dev/input/event0", O_RDONLY | O_CLOEXEC);
	struct input_event e;

	while (read(fd, &e, sizeof(e)) == sizeof(e))
		if (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1)
			guest_off("button", NULL);
	return NULL;
}

void guest_boot(void)
{
	struct termios tty;
	pthread_t thread;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	tcgetattr(0, &tty);
	cfmakeraw(&tty);
	tcsetattr(0, TCSANOW, &tty);
	load_modules();
	pthread_create(&thread, NULL, watch_button, NULL);
	ask_link(SIOCSIFFLAGS, "lo", NULL);
	if (fork() == 0) {
		int fd = open("/dev/null", O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		execl("/bin/busybox", "udhcpc", "-f", "-i", NIC, "-s", "/init", "-t", "1000", "-T",
			"1", "-O", "mtu", NULL);
		_exit(1);
	}
}

// --- commands ---

static const struct {
	const char *name;
	__u32 get, set;
} offloads[] = {
	// In the order in which they may be switched on, as some need others.
	{ "tx", ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM },
	{ "rx", ETHTOOL_GRXCSUM, ETHTOOL_SRXCSUM },
	{ "sg", ETHTOOL_GSG, ETHTOOL_SSG },
	{ "tso", ETHTOOL_GTSO, ETHTOOL_STSO },
	{ "gso", ETHTOOL_GGSO, ETHTOOL_SGSO },
	{ "gro", ETHTOOL_GGRO, ETHTOOL_SGRO },
};

// As ethtool -K does.
void guest_offloads(const char *number, char *const *words)
{
	char line[256];
	size_t n = (size_t)sprintf(line, "@%s", number);

	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
		struct ethtool_value v = { offloads[i].set, words[0][0] == '1' };

		ask_link(SIOCETHTOOL, NIC, &v);
		v.cmd = offloads[i].get;
		if (ask_link(SIOCETHTOOL, NIC, &v) < 0)
			v.data = 2;
		n += (size_t)sprintf(line + n, " %s=%u", offloads[i].name, v.data);
	}
	guest_say("%s", line);
}

static void first_word(const char *path, char *ret_word)
{
	FILE *f = fopen(path, "re");

	if (!f || fscanf(f, "%63s", ret_word) != 1)
		strcpy(ret_word, "-");
	if (f)
		fclose(f);
}

static int rings_of_nic(void)
{
	DIR *dir = opendir("/sys/class/net/" NIC "/queues");
	int n = 0;

	for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

void guest_about(const char *number, char *const *words)
{
	char boot[64], uptime[64];

	first_word("/proc/sys/kernel/random/boot_id", boot);
	first_word("/proc/uptime", uptime);
	guest_say("@%s %s %s %ld %d", number, boot, uptime, sysconf(_SC_NPROCESSORS_ONLN),
		rings_of_nic());
}

// The NIC goes down first, as in any distribution. Linux that breaks its virtio rings at its end
// and lacks "virtio_ring: fix infinite loop in virtnet_poll_cleantx when device is broken"
// (0d0eff39ceb3; 6.1.192 does) may else lock up: the loop waits for what a broken ring never gives.
static void end(int how)
{
	short down = 0;

	ask_link(SIOCSIFFLAGS, NIC, &down);
	reboot(how);
}

void guest_reboot(const char *number, char *const *words)
{
	end(RB_AUTOBOOT);
}

void guest_off(const char *number, char *const *words)
{
	end(RB_POWER_OFF);
}

void guest_panic(const char *number, char *const *words)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (write(fd, "c", 1) < 0)
		perror("sysrq-trigger");
	close(fd);
}
