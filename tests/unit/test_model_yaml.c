// SPDX-License-Identifier: BSD-3-Clause
// The YAML reader: every file in yaml-bad/ gives exactly the mistakes its own "#=" lines say, in
// that order; good documents give the values and defaults that SCHEMA.md promises; limits and
// speed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/model_yaml.h"

static const char *source_root(void)
{
	const char *root = getenv("INSULA_SOURCE_ROOT");

	if (root == NULL)
		fail_msg("INSULA_SOURCE_ROOT is not set: run this by meson test");
	return root;
}

static char *read_file(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "rb");
	char *data;
	long size;

	if (f == NULL)
		fail_msg("%s: cannot be opened", path);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	data = malloc((size_t)size + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)size, f), size);
	data[size] = '\0';
	fclose(f);
	*ret_size = (size_t)size;
	return data;
}

// An exact-size copy on the heap: AddressSanitizer sees a byte read too far.
static int read_exact(
	const char *yaml, size_t size, struct model **ret_model, struct model_errors *errors)
{
	char *copy = malloc(size);
	int rc;

	if (size > 0)
		memcpy(copy, yaml, size);
	rc = model_from_yaml("t.yaml", copy, size, ret_model, errors);
	free(copy);
	return rc;
}

static struct model *good(const char *yaml)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	int rc = read_exact(yaml, strlen(yaml), &m, &errors);

	if (rc != 0)
		fail_msg("%s", errors.n > 0 ? errors.text[0] : "no error text");
	return m;
}

static void bad(const char *yaml, size_t size, const char *expected)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;

	assert_int_equal(read_exact(yaml, size, &m, &errors), -EINVAL);
	assert_null(m);
	assert_true(errors.n >= 1);
	assert_string_equal(errors.text[0], expected);
	model_errors_free(&errors);
}

static void check_bad_file(const char *dir, const char *name)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	char path[700], expected[1024];
	size_t size;
	char *yaml, *line;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	yaml = read_file(path, &size);
	assert_int_equal(read_exact(yaml, size, &m, &errors), -EINVAL);
	for (line = yaml; strncmp(line, "#= ", 3) == 0; line = strchr(line, '\n') + 1, n++) {
		snprintf(expected, sizeof(expected), "t.yaml:%.*s", (int)strcspn(line + 3, "\n"),
			line + 3);
		if (n >= errors.n || strcmp(errors.text[n], expected) != 0)
			fail_msg("%s:\n  expected %s\n  got      %s", name, expected,
				n < errors.n ? errors.text[n] : "nothing");
	}
	assert_true(n > 0);
	if (n < errors.n)
		fail_msg("%s: not expected: %s", name, errors.text[n]);
	model_errors_free(&errors);
	free(yaml);
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void bad_files(void **state)
{
	char dir[400];
	struct dirent **e;
	int n;

	snprintf(dir, sizeof(dir), "%s/tests/unit/yaml-bad", source_root());
	n = scandir(dir, &e, not_hidden, alphasort);
	for (int i = 0; i < n; i++) {
		check_bad_file(dir, e[i]->d_name);
		free(e[i]);
	}
	free(e);
	assert_true(n >= 60);
}

static void empty(void **state)
{
	static const char *const texts[] = { "", "\n", "# nothing\n", "---\n", "~\n",
		"\xef\xbb\xbf" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct model_errors errors = { 0 };
		struct model *m;

		assert_int_equal(model_from_yaml("t.yaml", texts[i], strlen(texts[i]), &m, &errors),
			-EINVAL);
		assert_int_equal(errors.n, 1);
		assert_string_equal(errors.text[0], "t.yaml:1: version is missing; allowed: 1");
		model_errors_free(&errors);
	}
	struct model *m = good("version: 1\n");
	assert_int_equal(m->n_tenants + m->n_uplinks + m->n_trunks, 0);
	assert_string_equal(m->file, "t.yaml");
	model_free(m);
	model_free(good("version: 1\ntenants: []\nsettings: {}\ntrunks: []\n"));
}

static be32 ip(const char *text)
{
	be32 a;

	assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static void demo(void **state)
{
	const struct model_network *net;
	const struct model_nic *nic;
	char path[400];
	size_t size;
	char *yaml;
	struct model *m;

	snprintf(path, sizeof(path), "%s/tests/demo.yaml", source_root());
	yaml = read_file(path, &size);
	m = good(yaml);
	assert_int_equal(m->n_uplinks, 1);
	assert_int_equal(m->uplinks[0].mode, MODEL_UPLINK_ROUTED);
	assert_string_equal(m->uplinks[0].interface, "insdemo-up");
	assert_int_equal(m->uplinks[0].address, ip("198.51.100.2"));
	assert_int_equal(m->uplinks[0].prefix_len, 24);
	assert_int_equal(m->uplinks[0].gateway, ip("198.51.100.1"));
	assert_int_equal(m->uplinks[0].line, 6);
	assert_int_equal(m->n_tenants, 2);
	assert_string_equal(m->tenants[1].name, "blue");
	net = &m->tenants[1].networks[0];
	assert_int_equal(net->vlan, 20);
	assert_int_equal(net->subnet, ip("10.0.0.0"));
	assert_int_equal(net->prefix_len, 24);
	assert_int_equal(net->n_dns, 1);
	assert_int_equal(net->dns[0], ip("198.51.100.1"));
	assert_string_equal(net->snat, "internet");
	assert_int_equal(m->tenants[1].n_instances, 2);
	nic = &m->tenants[1].instances[1].nics[0];
	assert_string_equal(nic->name, "eth0");
	assert_string_equal(nic->netns, "insdemo-blue-2");
	assert_string_equal(nic->interface, "eth0");
	assert_int_equal(nic->address, ip("10.0.0.12"));
	model_free(m);
	free(yaml);
}

static void defaults(void **state)
{
	struct model *m = good("version: 1\n"
			       "uplinks: [{name: up, mode: nat}]\n"
			       "trunks: [{name: tr, interface: eth1, allowed: [7]}]\n"
			       "tenants:\n"
			       "- name: t\n"
			       "  networks: [{name: lan, vlan: 1, subnet: 10.0.0.0/8}]\n"
			       "  instances: [{name: i, nics: [{network: lan, netns: n}]}]\n");
	const struct model_network *net = &m->tenants[0].networks[0];
	const struct model_nic *nic = &m->tenants[0].instances[0].nics[0];

	assert_int_equal(m->settings.workers, 1);
	assert_int_equal(m->settings.sessions, 131072);
	assert_int_equal(m->settings.sessions_per_tenant, 16384);
	assert_int_equal(m->settings.sessions_per_port, 8192);
	assert_false(m->settings.poll);
	assert_int_equal(m->uplinks[0].mode, MODEL_UPLINK_NAT);
	assert_string_equal(m->uplinks[0].interface, "insula-nat0");
	assert_int_equal(m->uplinks[0].address, ip("100.127.255.254"));
	assert_int_equal(m->uplinks[0].prefix_len, 30);
	assert_int_equal(m->uplinks[0].gateway, ip("100.127.255.253"));
	assert_int_equal(m->uplinks[0].mtu, 1500);
	assert_int_equal(m->uplinks[0].nat_port_first, 1024);
	assert_int_equal(m->uplinks[0].nat_port_last, 65535);
	assert_int_equal(m->trunks[0].learn_limit, 1024);
	assert_int_equal(m->trunks[0].storm_pps, 1000);
	assert_int_equal(m->trunks[0].allowed[0], 0x80);
	assert_int_equal(net->mtu, 1500);
	assert_int_equal(net->lease_s, 3600);
	assert_int_equal(net->gateway, 0);
	assert_int_equal(net->n_dns, 0);
	assert_int_equal(nic->type, MODEL_NIC_TAP);
	assert_string_equal(nic->interface, "eth0");
	assert_int_equal(nic->storm_pps, 1000);
	assert_int_equal(nic->address, 0);
	assert_true(mac_is_zero(&nic->mac));
	assert_false(nic->clients_many);
	assert_int_equal(nic->n_queues, 0);
	model_free(m);
}

static void every_key(void **state)
{
	struct model *m = good(
		"version: 1\n"
		"settings: {workers: 2, mode: poll}\n"
		"uplinks:\n"
		"- {name: up, mode: routed, devargs: 'net_null0,size=64', interface: eth9, mtu: "
		"9000,\n"
		"   address: 192.0.2.2/24, gateway: 192.0.2.1, nat_ports: 2000-3000}\n"
		"trunks:\n"
		"- {name: tr, interface: eth1, allowed: [10, 20 - 29], native_vlan: 10, "
		"outer_vlan: 100,\n"
		"   learn_limit: 5, storm_pps: 0}\n"
		"tenants:\n"
		"- name: t\n"
		"  networks:\n"
		"  - {name: lan, vlan: 1, subnet: 10.0.0.0/24, gateway: 10.0.0.1, mtu: 1400,\n"
		"     dns: [1.1.1.1, 9.9.9.9], pool: 10.0.0.100-10.0.0.199, lease: 60, snat: up}\n"
		"  instances:\n"
		"  - name: i\n"
		"    kind: external\n"
		"    nics:\n"
		"    - {name: a, network: lan, type: vhost-user, socket: /run/x.sock, server: "
		"true,\n"
		"       mac: 02:00:5e:00:00:01, address: 10.0.0.2, allow_non_ip: true, storm_pps: "
		"7,\n"
		"       queues: 4}\n"
		"    - {name: b, network: lan, type: tap, interface: tap0, clients: many}\n"
		"    - {name: c, network: lan, type: packet, interface: eth2, clients: one}\n"
		"    - {name: d, network: lan, type: ethdev, devargs: net_null1}\n");
	const struct model_network *net = &m->tenants[0].networks[0];
	const struct model_nic *nic = m->tenants[0].instances[0].nics;

	assert_int_equal(m->settings.workers, 2);
	assert_true(m->settings.poll);
	assert_string_equal(m->uplinks[0].devargs, "net_null0,size=64");
	assert_int_equal(m->uplinks[0].nat_port_last, 3000);
	assert_int_equal(m->trunks[0].native_vid, 10);
	assert_int_equal(m->trunks[0].outer_vid, 100);
	assert_int_equal(m->trunks[0].allowed[2], 0xf0); // 20-23
	assert_int_equal(m->trunks[0].allowed[3], 0x3f); // 24-29
	assert_int_equal(m->trunks[0].storm_pps, 0);
	assert_int_equal(net->pool_first, ip("10.0.0.100"));
	assert_int_equal(net->pool_last, ip("10.0.0.199"));
	assert_int_equal(net->n_dns, 2);
	assert_int_equal(net->dns[1], ip("9.9.9.9"));
	assert_int_equal(net->lease_s, 60);
	assert_int_equal(nic[0].type, MODEL_NIC_VHOST_USER);
	assert_string_equal(nic[0].socket, "/run/x.sock");
	assert_true(nic[0].vhost_server);
	assert_int_equal(nic[0].mac.b[2], 0x5e);
	assert_true(nic[0].allow_non_ip);
	assert_int_equal(nic[0].n_queues, 4);
	assert_int_equal(nic[0].line, 18);
	assert_true(nic[1].clients_many);
	assert_int_equal(nic[2].type, MODEL_NIC_PACKET);
	assert_string_equal(nic[3].devargs, "net_null1");
	model_free(m);
}

static void machines(void **state)
{
	struct model *m =
		good("version: 1\n"
		     "tenants:\n"
		     "- name: t\n"
		     "  networks: [{name: lan, vlan: 1, subnet: 10.0.0.0/8}]\n"
		     "  instances:\n"
		     "  - {name: a, kind: vm, kernel: /k, nics: [{network: lan}]}\n"
		     "  - {name: b, kind: vm, kernel: /k, initrd: /i, cmdline: a=b quiet,\n"
		     "     cpus: 32, memory: 2GiB, hugepages: true, restart: never,\n"
		     "     stop_timeout: 0, disks: [{path: /d}, {path: /e, readonly: true,\n"
		     "     direct: true, queues: 8}], nics: []}\n"
		     "  - {name: c, nics: [{network: lan, netns: n}]}\n"
		     "  - name: d\n    kind: vm\n    kernel: /k\n"
		     "    user_data: |\n      #cloud-config\n      h\u00e9: 1\n");
	const struct model_instance *a = m->tenants[0].instances, *b = a + 1, *c = a + 2;

	assert_int_equal(a->kind, MODEL_INSTANCE_VM);
	assert_string_equal(a->kernel, "/k");
	assert_null(a->initrd);
	assert_null(a->cmdline);
	assert_int_equal(a->cpus, 1);
	assert_int_equal(a->memory_mib, 256);
	assert_int_equal(a->restart, MODEL_RESTART_ON_FAILURE);
	assert_int_equal(a->stop_timeout_s, 30);
	assert_int_equal(a->nics[0].type, MODEL_NIC_VHOST_USER);
	assert_string_equal(b->initrd, "/i");
	assert_string_equal(b->cmdline, "a=b quiet");
	assert_int_equal(b->cpus, 32);
	assert_int_equal(b->memory_mib, 2048);
	assert_true(b->hugepages);
	assert_int_equal(b->restart, MODEL_RESTART_NEVER);
	assert_int_equal(b->stop_timeout_s, 0);
	assert_int_equal(b->n_disks, 2);
	assert_string_equal(b->disks[0].path, "/d");
	assert_int_equal(b->disks[0].n_queues, 1);
	assert_false(b->disks[0].readonly);
	assert_true(b->disks[1].readonly && b->disks[1].direct);
	assert_int_equal(b->disks[1].n_queues, 8);
	assert_int_equal(c->kind, MODEL_INSTANCE_EXTERNAL);
	assert_int_equal(c->nics[0].type, MODEL_NIC_TAP);
	assert_string_equal(a[3].user_data, "#cloud-config\nh\u00e9: 1\n");
	model_free(m);
}

static void limits(void **state)
{
	struct model_errors errors = { 0 };
	struct model *m = NULL;
	size_t size = (16 << 20) + 1;
	char *big = malloc(size);
	static const char utf16[] = "\xff\xfev\0e\0r\0";

	assert_non_null(big);
	memset(big, '#', size);
	bad(big, size,
		"t.yaml:1: the document has 16777217 bytes; allowed: at most 16777216 (16 MiB)");
	// As many list items as fit: a bounded amount of memory and one clear word.
	for (size_t i = 0; i + 1 < size; i++)
		big[i] = (char)(i % 2 == 0 ? ',' : 'a');
	big[0] = '[';
	bad(big, size - 1, "t.yaml:1: the document has too many values; at most 2097152");
	// A thousand mistakes are shown, the others counted.
	memset(big, ' ', size);
	memcpy(big, "version: 1\ntenants:\n", 20);
	for (size_t i = 0; i < 1500; i++)
		memcpy(big + 20 + i * 4, "- x\n", 4);
	assert_int_equal(read_exact(big, 20 + 1500 * 4, &m, &errors), -EINVAL);
	assert_int_equal(errors.n, 1001);
	assert_string_equal(
		errors.text[1000], "t.yaml: 500 more mistakes are not shown; mend these first");
	model_errors_free(&errors);
	bad(utf16, sizeof(utf16), "t.yaml:1: byte 0xff is not valid UTF-8; plain UTF-8 text");
	free(big);
}

// n nics on vhost-user, a line each behind the sixth.
static char *vhost_nics(unsigned n, const char *server)
{
	char *yaml = malloc(200 + n * 80), *p;

	assert_non_null(yaml);
	p = stpcpy(yaml, "version: 1\ntenants:\n  - name: red\n"
			 "    networks: [{name: lan, vlan: 10, subnet: 10.0.0.0/16}]\n"
			 "    instances:\n");
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "      - {name: i%u, nics: [{network: lan, type: vhost-user%s}]}\n",
			i, server);
	return yaml;
}

static void vhost_places(void **state)
{
	static const struct {
		unsigned n;
		const char *server, *error;
	} cases[] = {
		{ 1000, "",
			"t.yaml:1006: more vhost-user ports than the switch can serve; at most "
			"1000, "
			"those with `server: true` counted twice" },
		{ 500, ", server: true",
			"t.yaml:506: more vhost-user ports than the switch can serve; at most "
			"1000, those "
			"with `server: true` counted twice" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *fits = vhost_nics(cases[i].n, cases[i].server),
		     *more = vhost_nics(cases[i].n + 5, cases[i].server);
		model_free(good(fits));
		bad(more, strlen(more), cases[i].error);
		free(fits);
		free(more);
	}
}

// Every beginning of a good document is read without a crash, and says so if it is wrong.
// Entries that each name all VLANs would keep insulad at work for as long as the file is large.
static void many_vlans(void **state)
{
	static const char head[] = "version: 1\ntrunks:\n"
				   "  - {name: a, interface: eth1, allowed: [",
			  last[] = "5]}\n";
	static const char entry[] = "1-4094, ";
	char yaml[sizeof(head) + sizeof(last) + 4095 * sizeof(entry)], *p = stpcpy(yaml, head);

	for (unsigned n = 1; n <= 4094; n++)
		p = stpcpy(p, entry);
	strcpy(p, last);
	bad(yaml, strlen(yaml),
		"t.yaml:3: allowed has 4095 entries; allowed: 1 to 4094 VLANs and ranges");
	strcpy(p - strlen(entry), last);
	model_free(good(yaml));
}

static void truncated(void **state)
{
	char path[400];
	size_t size;
	char *yaml;

	snprintf(path, sizeof(path), "%s/tests/demo.yaml", source_root());
	yaml = read_file(path, &size);
	for (size_t n = 0; n < size; n++) {
		struct model_errors errors = { 0 };
		struct model *m = NULL;
		int rc = read_exact(yaml, n, &m, &errors);

		assert_true(rc == 0 || (rc == -EINVAL && errors.n > 0));
		if (rc == 0)
			model_free(m);
		model_errors_free(&errors);
	}
	free(yaml);
}

static char *many_ports(unsigned n_tenants, unsigned n_ports)
{
	char *yaml = NULL;
	size_t size;
	FILE *f = open_memstream(&yaml, &size);

	assert_non_null(f);
	fprintf(f, "version: 1\ntenants:\n");
	for (unsigned t = 0; t < n_tenants; t++) {
		fprintf(f,
			"- name: t%u\n  networks:\n  - {name: lan, vlan: %u, subnet: 10.0.0.0/16, "
			"gateway: 10.0.0.1}\n  instances:\n",
			t, t + 1);
		for (unsigned i = 0; i < n_ports / n_tenants; i++)
			fprintf(f,
				"  - name: i%u\n    nics:\n    - {network: lan, address: "
				"10.0.%u.%u, "
				"interface: t%ui%u, mac: '02:00:00:00:%02x:%02x'}\n",
				i, i / 250 + 1, i % 250 + 1, t, i, i / 256, i % 256);
	}
	fclose(f);
	return yaml;
}

static double read_seconds(const char *yaml)
{
	struct timespec a, b;
	struct model *m;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	m = good(yaml);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	model_free(m);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

static void speed(void **state)
{
	char *small = many_ports(1, 1000), *large = many_ports(1, 16000);
	double s = read_seconds(small), l = read_seconds(large);

	print_message("1,000 ports: %.1f ms; 16,000 ports: %.1f ms\n", s * 1e3, l * 1e3);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(s < 0.1);
#endif
	assert_true(l < 16 * 4 * (s > 0.002 ? s : 0.002)); // nothing in it is quadratic
	free(small);
	free(large);
}

struct documented {
	char *text;
	unsigned n;
};

static void key_is_documented(void *arg, const char *object, const char *key)
{
	struct documented *doc = arg;
	char heading[128], row[64];
	char *section, *end;

	snprintf(heading, sizeof(heading), "\n## `%s`\n", object[0] != '\0' ? object : "top level");
	snprintf(row, sizeof(row), "\n| `%s` |", key);
	section = strstr(doc->text, heading);
	if (section == NULL)
		fail_msg("SCHEMA.md has no heading%s", heading);
	end = strstr(section + 1, "\n## ");
	if (end != NULL)
		*end = '\0';
	if (strstr(section, row) == NULL)
		fail_msg("SCHEMA.md: `%s` of %s is not documented", key, heading);
	if (end != NULL)
		*end = '\n';
	doc->n++;
}

static void schema_is_documented(void **state)
{
	struct documented doc = { 0 };
	unsigned rows = 0;
	char path[400];
	size_t size;

	snprintf(path, sizeof(path), "%s/control/SCHEMA.md", source_root());
	doc.text = read_file(path, &size);
	model_yaml_keys(key_is_documented, &doc);
	for (const char *p = doc.text; (p = strstr(p, "\n| `")) != NULL; p++)
		rows++;
	assert_int_equal(rows, doc.n); // and nothing is documented that is not there
	free(doc.text);
}

// The example in SCHEMA.md is a document the reader takes.
static void schema_example(void **state)
{
	char path[400];
	size_t size;
	char *text, *begin, *end;

	snprintf(path, sizeof(path), "%s/control/SCHEMA.md", source_root());
	text = read_file(path, &size);
	begin = strstr(text, "```yaml\n");
	assert_non_null(begin);
	begin += 8;
	end = strstr(begin, "```");
	assert_non_null(end);
	*end = '\0';
	model_free(good(begin));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files),
		cmocka_unit_test(empty),
		cmocka_unit_test(demo),
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_key),
		cmocka_unit_test(machines),
		cmocka_unit_test(limits),
		cmocka_unit_test(vhost_places),
		cmocka_unit_test(many_vlans),
		cmocka_unit_test(truncated),
		cmocka_unit_test(speed),
		cmocka_unit_test(schema_is_documented),
		cmocka_unit_test(schema_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
