// SPDX-License-Identifier: BSD-3-Clause
// One YAML scalar into one value. Strict: what is not exactly the written form is refused, so that
// 010 or 0x10 never mean what their author did not mean. Called by model_yaml.c.
#include "control/model_value.h"

#include <ctype.h>
#include <stdio.h>

#define LINK_LOCAL 0xa9fe0000 // 169.254.0.0/16

const char *value_number(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t v = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return "is not a decimal number";
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return "is not a decimal number";
		if (v <= UINT32_MAX)
			v = v * 10 + (unsigned)(*p - '0');
	}
	if (v < min || v > max)
		return min == max ? "is not known here" : "is out of range";
	*ret = (uint32_t)v;
	return NULL;
}

// Splits "A-B" (blanks around the dash allowed) into the two; without dash both are the text.
static bool split_range(const char *text, char first[32], char last[32])
{
	const char *dash = strchr(text, '-');
	const char *b = dash != NULL ? dash + 1 : text;
	size_t n = dash != NULL ? (size_t)(dash - text) : strlen(text);

	while (n > 0 && text[n - 1] == ' ')
		n--;
	while (*b == ' ')
		b++;
	if (n >= 32 || strlen(b) >= 32)
		return false;
	memcpy(first, text, n);
	first[n] = '\0';
	strcpy(last, b);
	return true;
}

const char *value_number_range(
	const char *text, uint32_t min, uint32_t max, uint32_t *ret_first, uint32_t *ret_last)
{
	const char *problem;
	char a[32], b[32];
	uint32_t first, last;

	if (!split_range(text, a, b))
		return "is not a range";
	problem = value_number(a, min, max, &first);
	if (problem == NULL)
		problem = value_number(b, min, max, &last);
	if (problem != NULL)
		return problem;
	if (last < first)
		return "ends before it begins";
	*ret_first = first;
	*ret_last = last;
	return NULL;
}

const char *value_ipv4(const char *text, be32 *ret)
{
	struct in_addr a;
	uint32_t h;

	if (inet_pton(AF_INET, text, &a) != 1)
		return "is not an IPv4 address";
	h = ntohl(a.s_addr);
	if (h >> 24 == 0 || h >> 24 == 127 || h >> 24 >= 224)
		return "is not an address a host can have";
	*ret = a.s_addr;
	return NULL;
}

const char *value_ipv4_range(const char *text, be32 *ret_first, be32 *ret_last)
{
	const char *problem;
	char a[32], b[32];
	be32 first, last;

	if (!strchr(text, '-') || !split_range(text, a, b))
		return "is not a range of IPv4 addresses";
	problem = value_ipv4(a, &first);
	if (problem == NULL)
		problem = value_ipv4(b, &last);
	if (problem != NULL)
		return problem;
	if (ntohl(last) < ntohl(first))
		return "ends before it begins";
	*ret_first = first;
	*ret_last = last;
	return NULL;
}

const char *value_cidr(const char *text, bool subnet, be32 *ret, uint8_t *ret_prefix_len)
{
	const char *slash = strchr(text, '/');
	const char *problem;
	char a[INET_ADDRSTRLEN];
	be32 addr;
	uint32_t len;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(a))
		return "is not an address with a prefix length";
	memcpy(a, text, (size_t)(slash - text));
	a[slash - text] = '\0';
	problem = value_ipv4(a, &addr);
	if (problem != NULL)
		return problem;
	problem = value_number(slash + 1, 8, 30, &len);
	if (problem != NULL && slash[1] == '0' && isdigit((unsigned char)slash[2]))
		return "has a prefix length with a leading zero";
	if (problem != NULL && slash[1 + strspn(slash + 1, "0123456789")] != '\0')
		return "has a prefix length that is not a decimal number";
	if (problem != NULL)
		return "has a prefix length out of range";
	if (subnet && (ntohl(addr) & ~ipv4_mask(len)) != 0)
		return "has bits set behind its prefix length";
	if (subnet && ipv4_in_prefix(addr, htonl(LINK_LOCAL), len < 16 ? (uint8_t)len : 16))
		return "has link-local addresses, which no router passes on (RFC 3927)";
	*ret = addr;
	*ret_prefix_len = (uint8_t)len;
	return NULL;
}

const char *value_mac(const char *text, struct mac *ret)
{
	struct mac m;

	if (strlen(text) != 17)
		return "is not a MAC address";
	for (int i = 0; i < 6; i++) {
		unsigned b;

		if (!isxdigit((unsigned char)text[3 * i]) ||
			!isxdigit((unsigned char)text[3 * i + 1]) ||
			(i < 5 && text[3 * i + 2] != ':') || sscanf(text + 3 * i, "%2x", &b) != 1)
			return "is not a MAC address";
		m.b[i] = (uint8_t)b;
	}
	if (mac_is_multicast(&m) || mac_is_zero(&m))
		return "is multicast or zero";
	*ret = m;
	return NULL;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

const char *value_name(const char *text, size_t size)
{
	if (text[0] == '\0')
		return "is empty";
	if (strlen(text) >= size)
		return "is too long";
	if (!isalnum((unsigned char)text[0]))
		return "begins with neither letter nor digit";
	for (const char *p = text; *p != '\0'; p++)
		if (!is_word(*p))
			return "has a character that no name may have";
	return NULL;
}

// What the kernel takes (dev_valid_name), without '%', which it would take for a template, what
// nftables would take for a wildcard or the end of a name, and the names of sysctls for all.
const char *value_interface(const char *text)
{
	if (text[0] == '\0')
		return "is empty";
	if (strlen(text) > 15)
		return "is too long";
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strcmp(text, "all") == 0 ||
		strcmp(text, "default") == 0)
		return "is no interface name";
	for (const char *p = text; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p) || strchr("/:%*\"\\", *p) != NULL)
			return "has a character that no interface name may have";
	return NULL;
}

const char *value_netns(const char *text, size_t size)
{
	if (text[0] == '\0')
		return "is empty";
	if (strlen(text) >= size)
		return "is too long";
	if (text[0] == '.')
		return "begins with a dot";
	for (const char *p = text; *p != '\0'; p++)
		if (!is_word(*p) && *p != '.')
			return "has a character that no such name may have";
	return NULL;
}

const char *value_path(const char *text, size_t size)
{
	const char *problem = value_text(text, size);

	if (problem == NULL && text[0] != '/')
		return "is not an absolute path";
	// One way to write it: two ports with one socket are seen by it.
	for (const char *p = text; problem == NULL && *p != '\0'; p += 1 + strcspn(p + 1, "/")) {
		size_t n = strcspn(p + 1, "/");

		if (n == 0 || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
			return "is not a plain path";
	}
	return problem;
}

const char *value_text(const char *text, size_t size)
{
	if (text[0] == '\0')
		return "is empty";
	if (strlen(text) >= size)
		return "is too long";
	for (const char *p = text; *p != '\0'; p++)
		if (!isprint((unsigned char)*p))
			return "has a character outside printable ASCII";
	return NULL;
}

const char *value_file(const char *text, size_t size)
{
	const char *problem = value_path(text, size);

	return problem == NULL && strchr(text, ',') != NULL ? "has a comma" : problem;
}

const char *value_memory(const char *text, uint32_t min, uint32_t max, uint32_t *ret_mib)
{
	char number[16];
	size_t n = strspn(text, "0123456789");
	uint32_t mib, unit = strcmp(text + n, "GiB") == 0 ? 1024 : 1;
	const char *problem;

	if (n == 0 || n >= sizeof(number) || (unit == 1 && strcmp(text + n, "MiB") != 0))
		return "is not a number of MiB or GiB";
	memcpy(number, text, n);
	number[n] = '\0';
	problem = value_number(number, (min + unit - 1) / unit, max / unit, &mib);
	if (problem != NULL)
		return problem;
	if (mib * unit % 2 != 0)
		return "is an odd number of MiB";
	*ret_mib = mib * unit;
	return NULL;
}

const char *value_lines(const char *text, size_t size)
{
	if (text[0] == '\0')
		return "is empty";
	if (strlen(text) >= size)
		return "is too long";
	for (const char *p = text; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p) && *p != '\n' && *p != '\t' && *p != '\r')
			return "has a control character";
	return NULL;
}
