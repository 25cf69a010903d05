// SPDX-License-Identifier: BSD-3-Clause
// A network card's words on the command line: see virtio_net.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "vmm/virtio_net.h"

enum { WAIT_MS = 2000, MTU_LEAST = 68, MTU_MOST = 65535 };

enum {
	WORD_VHOST_USER,
	WORD_TAP,
	WORD_MAC,
	WORD_MTU,
	WORD_QUEUES,
	WORD_OFFLOADS,
	WORD_WAIT,
	WORD_RATE
};

static bool number(const char *text, long least, long most, long *ret_number)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < least || n > most)
		return false;
	*ret_number = n;
	return true;
}

static bool mac(const char *text, uint8_t ret_mac[6])
{
	unsigned int b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &end) != 6 ||
		text[end] || b[0] & 1)
		return false;
	for (int i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)b[i];
	return true;
}

static bool set(struct virtio_net_options *c, int word, char *value)
{
	long n = 0;
	bool good;

	switch (word) {
	case WORD_VHOST_USER:
		c->vhost_user = value;
		return *value;
	case WORD_TAP:
		c->tap = value;
		return *value;
	case WORD_MAC:
		return mac(value, c->mac);
	case WORD_MTU:
		good = number(value, MTU_LEAST, MTU_MOST, &n);
		c->mtu = (uint16_t)n;
		return good;
	case WORD_QUEUES:
		good = number(value, 1, VIRTIO_NET_PAIRS, &n);
		c->pairs = (uint16_t)n;
		return good;
	case WORD_OFFLOADS:
		c->offloads = strcmp(value, "on") == 0;
		return c->offloads || strcmp(value, "off") == 0;
	case WORD_WAIT:
		good = number(value, 0, 60000, &n);
		c->wait_ms = (int)n;
		return good;
	default:
		return word >= WORD_RATE &&
		       rate_limits_parse(&c->limits, (unsigned int)(word - WORD_RATE), value);
	}
}

// Ours to choose: locally administered.
static void choose_mac(uint8_t ret_mac[6])
{
	if (getrandom(ret_mac, 6, 0) != 6)
		memset(ret_mac, 7, 6);
	ret_mac[0] = 0x02;
}

int virtio_net_parse(struct virtio_net_options *ret_config, char *text, struct error *e)
{
	char *const words[] = { [WORD_VHOST_USER] = "vhost-user",
		[WORD_TAP] = "tap",
		[WORD_MAC] = "mac",
		[WORD_MTU] = "mtu",
		[WORD_QUEUES] = "queues",
		[WORD_OFFLOADS] = "offloads",
		[WORD_WAIT] = "wait",
		[WORD_RATE] = RATE_NAMES,
		NULL };
	struct virtio_net_options c = { .pairs = 1, .offloads = true, .wait_ms = WAIT_MS };
	char *value;

	choose_mac(c.mac);
	while (*text) {
		int word = getsubopt(&text, words, &value);

		if (word < 0 || !value || !set(&c, word, value))
			return error_set(e, EINVAL,
				"--net: '%s%s%s': allowed are vhost-user=PATH or tap=NAME, "
				"mac=02:00:00:00:00:01 (unicast), mtu=%d..%d, queues=1..%d, "
				"offloads=on|off, wait=MILLISECONDS; and of a tap bytes_per_s=N, "
				"burst_bytes=N, ops_per_s=N, burst_ops=N (up to 10^12)",
				word < 0 ? value : words[word], word < 0 || !value ? "" : "=",
				word < 0 || !value ? "" : value, MTU_LEAST, MTU_MOST,
				VIRTIO_NET_PAIRS);
	}
	if (!c.vhost_user == !c.tap)
		return error_set(e, EINVAL, "--net: either vhost-user=PATH or tap=NAME is needed");
	if (c.vhost_user && rate_limits_any(&c.limits))
		return error_set(e, EINVAL,
			"--net: vhost-user=%s: its frames do not pass through here; limits are the "
			"switch's",
			c.vhost_user);
	if (!rate_limits_sound(&c.limits))
		return error_set(e, EINVAL,
			"--net: burst_bytes goes with bytes_per_s, burst_ops with ops_per_s");
	*ret_config = c;
	return 0;
}
