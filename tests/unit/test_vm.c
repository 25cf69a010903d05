// SPDX-License-Identifier: BSD-3-Clause
// Machines without any: the command line of one, what its console's ring keeps, and what the client
// of its API makes of answers whole, in pieces and wrong.
#include "tests/unit/desired_fixture.h"
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "control/describe.h"
#include "control/loop.h"
#include "control/plan.h"
#include "control/qcow2_overlay.h"
#include "control/vm_api.h"
#include "control/vm_ring.h"
#include "control/vm_seed.h"
#include "control/vm_spec.h"

#define FILE_OF(more) \
	"version: 1\n" \
	"tenants:\n" \
	"  - name: red\n" \
	"    networks:\n" \
	"      - {name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1, mtu: 1400}\n" \
	"    instances:\n" \
	"      - {name: other, nics: [{network: lan, netns: x}]}\n" \
	"      - {name: web, kind: vm, kernel: /k, nics: [{network: lan, mac: " \
	"02:00:00:00:00:07}]" more "}\n"

static char *words_of(const struct desired *d, const char *name)
{
	const struct desired_instance *in = desired_instance_by_name(d, name);
	char *argv[VM_SPEC_WORDS], *text = calloc(1, 4096);
	struct vm_spec s;

	assert_non_null(in);
	assert_int_equal(vm_spec_make(&s, d, in, "/run/x"), 0);
	vm_spec_arguments(&s, argv);
	for (char **word = argv; *word; word++)
		sprintf(text + strlen(text), "%s%s", word == argv ? "" : " ", *word);
	vm_spec_clear(&s);
	return text;
}

static void command_line(void **state)
{
	struct desired *d = fixture_desired(FILE_OF(""));
	char *text = words_of(d, "red/web");

	assert_non_null(strstr(text, "insula-vmm --kernel /k --cmdline console=ttyS0 --cpus 1 "
				     "--memory 256 --net vhost-user=/run/x/vm/2.net,"
				     "mac=02:00:00:00:00:07,mtu=1400,queues=1 --rng"));
	assert_non_null(strstr(text, " --user 1879048193:1879048193 "));
	assert_non_null(strstr(text, " --api /run/x/vm/1/api.sock"));
	assert_null(strstr(text, "--disk"));
	free(text);
	desired_free(d);
	d = fixture_desired(
		FILE_OF(", initrd: /i, cmdline: a b=c, hugepages: true, disks: [{path: /d},"
			" {path: /e, readonly: true, direct: true, queues: 2}]"));
	text = words_of(d, "red/web");
	assert_non_null(
		strstr(text, "--initrd /i --cmdline a b=c --cpus 1 --memory 256 --hugepages "));
	assert_non_null(strstr(text, "--disk file=/d,queues=1 --disk "
				     "file=/e,readonly,direct,queues=2 "));
	free(text);
	desired_free(d);
}

// What it does not say itself, its image brings; its own disk is the first.
static void image(void **state)
{
	static const struct desired_image about = { .about = { .disk = "ab12", .cmdline = "c d" },
		.disk = "/images/ab12",
		.kernel = "/images/cd",
		.initrd = "/images/ef" };
	static const struct {
		const char *more, *expected;
	} cases[] = {
		{ "", " --kernel /images/cd --initrd /images/ef --cmdline c d --cpus" },
		{ ", kernel: /k", " --kernel /k --cmdline c d --cpus" },
		{ ", cmdline: a", " --kernel /images/cd --initrd /images/ef --cmdline a --cpus" },
		{ ", disks: [{path: /d}], user_data: x",
			" --disk own=ab12 --disk file=/d,queues=1 --disk file=/run/x/vm/1/seed-" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char yaml[600];

		snprintf(yaml, sizeof(yaml),
			"version: 1\ntenants: [{name: red, instances: [{name: web, kind: vm, "
			"image: deb%s}]}]",
			cases[i].more);
		struct desired *d = fixture_desired(yaml);
		d->instances[0].image = malloc(sizeof(about));
		*d->instances[0].image = about;
		char *text = words_of(d, "red/web");
		if (!strstr(text, cases[i].expected))
			fail_msg("%s", text);
		free(text);
		desired_free(d);
	}
	assert_true(vm_spec_is_own_disk("own=ab12"));
	assert_false(vm_spec_is_own_disk("file=own=ab12"));
}

// By the smallest and the largest there may be, and about an entry of its table: 512 MiB.
static void overlay(void **state)
{
	static const struct {
		uint64_t size, tables, clusters;
	} cases[] = { { 512, 1, 4 }, { 512 << 20, 1, 4 }, { (512 << 20) + 512, 2, 4 },
		{ UINT64_C(1) << 44, 32768, 7 } };
	char path[128];
	uint8_t h[112];

	snprintf(path, sizeof(path), "%s/overlay", fixture_dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(qcow2_overlay_make(path, cases[i].size), 0);
		FILE *f = fopen(path, "r");
		assert_int_equal(fread(h, 1, sizeof(h), f), sizeof(h));
		fseek(f, 0, SEEK_END);
		assert_int_equal(ftell(f), cases[i].clusters << 16);
		fclose(f);
		assert_int_equal(h[38] << 8 | h[39], cases[i].tables);
		for (unsigned j = 8; j < 20; j++) // no backing file
			assert_int_equal(h[j], 0);
	}
	assert_int_equal(qcow2_overlay_make(path, (UINT64_C(1) << 44) + 512), -EFBIG);
	unlink(path);
}

static void sameness(void **state)
{
	struct desired *one = fixture_desired(FILE_OF("")),
		       *two = fixture_desired(FILE_OF(", cpus: 2"));
	struct vm_spec a, b, c, kept;
	char path[128];

	vm_spec_make(&a, one, desired_instance_by_name(one, "red/web"), "/r");
	vm_spec_make(&b, one, desired_instance_by_name(one, "red/web"), "/r");
	vm_spec_make(&c, two, desired_instance_by_name(two, "red/web"), "/r");
	assert_true(vm_spec_equal(&a, &b));
	assert_false(vm_spec_equal(&a, &c));
	snprintf(path, sizeof(path), "%s/spec", fixture_dir);
	assert_int_equal(vm_spec_read(&kept, path), -ENOENT);
	assert_false(vm_spec_equal(&a, &kept));
	assert_int_equal(vm_spec_write(&a, path), 0);
	assert_int_equal(vm_spec_read(&kept, path), 0);
	assert_true(vm_spec_equal(&a, &kept));
	vm_spec_clear(&kept);
	unlink(path);
	vm_spec_clear(&a);
	vm_spec_clear(&b);
	vm_spec_clear(&c);
	desired_free(one);
	desired_free(two);
}

static const char *detail_of(const struct desired *was, const struct desired *will, char buf[600])
{
	json_t *a = describe_all(was, "/r"), *b = describe_all(will, "/r"), *c = plan_changes(a, b),
	       *e;
	size_t i;

	buf[0] = 0;
	json_array_foreach(c, i, e)
		if (strcmp(json_string_value(json_object_get(e, "kind")), "instance") == 0)
			snprintf(buf, 600, "%s %s: %s", json_string_value(json_object_get(e, "op")),
				json_string_value(json_object_get(e, "name")),
				json_string_value(json_object_get(e, "detail")));
	json_decref(a);
	json_decref(b);
	json_decref(c);
	return buf;
}

// Others' instances are told by their ports.
// Else a machine that runs would be taken for another one, and started anew as nobody's user.
static void same_without_fds(void **state)
{
	struct desired *d = fixture_desired(FILE_OF(""));
	struct rlimit was, none;
	char *before = words_of(d, "red/web");

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	char *after = words_of(d, "red/web");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_string_equal(after, before);
	free(before);
	free(after);
	desired_free(d);
}

static void plans(void **state)
{
	struct desired *none = fixture_desired("version: 1\n"), *one = fixture_desired(FILE_OF(""));
	struct desired *two = fixture_desired(FILE_OF(", memory: 1GiB, restart: never"));
	char buf[600];

	assert_string_equal(detail_of(none, one, buf),
		"create red/web: type vm, cpus 1, memory_mib 256, kernel /k, restart on-failure, "
		"stop_timeout_s 30, nics eth0");
	assert_string_equal(detail_of(one, two, buf),
		"update red/web: memory_mib 256 -> 1024, restart on-failure -> never");
	assert_string_equal(detail_of(two, none, buf), "delete red/web: ");
	desired_free(none);
	desired_free(one);
	desired_free(two);
}

static void ring(void **state)
{
	char path[128], many[1000];
	struct vm_ring *r;
	uint64_t at = 0;
	size_t n;

	snprintf(path, sizeof(path), "%s/ring", fixture_dir);
	r = vm_ring_open(path);
	assert_non_null(r);
	vm_ring_from(r, &at, &n);
	assert_int_equal(n, 0);
	assert_int_equal(vm_ring_tail(r, 5, 100), 0);
	vm_ring_put(r, "one\ntwo\nthree\n", 14);
	assert_int_equal(vm_ring_tail(r, 1, 100), 8);
	assert_int_equal(vm_ring_tail(r, 2, 100), 4);
	assert_int_equal(vm_ring_tail(r, 9, 100), 0);
	assert_int_equal(vm_ring_tail(r, 9, 8), 8); // not from the middle of "two"
	assert_memory_equal(vm_ring_from(r, &at, &n), "one\n", 4);
	assert_int_equal(n, 14);
	vm_ring_close(r);
	r = vm_ring_open(path); // another insulad's
	assert_int_equal(vm_ring_end(r), 14);
	memset(many, 'x', sizeof(many));
	for (int i = 0; i < 200; i++)
		vm_ring_put(r, many, sizeof(many));
	at = 3; // long gone
	vm_ring_from(r, &at, &n);
	assert_int_equal(at, 200014 - VM_RING_SIZE);
	at += n;
	vm_ring_from(r, &at, &n);
	assert_int_equal(at + n, 200014);
	assert_true(vm_ring_tail(r, 3, 4000) >= 200014 - 4000);
	vm_ring_close(r);
	unlink(path);
	r = vm_ring_open("/no/such/folder/ring"); // memory alone
	assert_non_null(r);
	vm_ring_put(r, "a", 1);
	vm_ring_close(r);
}

static uint32_t little(const char *at)
{
	const uint8_t *b = (const uint8_t *)at;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

// A file of the root directory of an ISO 9660 image (ECMA-119), as a text.
static char *file_of(const char *image, size_t size, const char *name)
{
	const char *primary = image + 16 * 2048, *root;

	assert_true(size >= 22 * 2048 && size % 2048 == 0);
	assert_memory_equal(primary, "\1CD001\1", 7);
	assert_memory_equal(primary + 40, "cidata  ", 8);
	assert_int_equal(little(primary + 80) * 2048, size);
	assert_memory_equal(image + 17 * 2048, "\377CD001\1", 7);
	root = image + little(primary + 156 + 2) * 2048;
	for (const char *record = root; record[0]; record += (uint8_t)record[0]) {
		if ((size_t)record[32] != strlen(name) ||
			memcmp(record + 33, name, strlen(name)) != 0)
			continue;
		assert_true((little(record + 2)) * 2048 + little(record + 10) <= size);
		return strndup(image + little(record + 2) * 2048, little(record + 10));
	}
	fail_msg("no %s", name);
	return NULL;
}

static void seed(void **state)
{
	char *many = calloc(1, 65536), name[VM_SEED_NAME_SIZE], other[VM_SEED_NAME_SIZE], *text;
	size_t size;

	memset(many, 'u', 65535);
	const char *const data[] = { "#cloud-config\n", many };
	for (int i = 0; i < 2; i++) {
		char *image = vm_seed_make("web", "insula-1", data[i], &size);

		text = file_of(image, size, "USER-DATA.;1");
		assert_string_equal(text, data[i]);
		free(text);
		text = file_of(image, size, "META-DATA.;1");
		assert_non_null(strstr(text, "\nlocal-hostname: web\n"));
		assert_memory_equal(text, "instance-id: insula-1-", 22);
		free(text);
		free(image);
	}
	vm_seed_name(data[0], name);
	vm_seed_name(data[1], other);
	assert_memory_equal(name, "seed-", 5);
	assert_string_not_equal(name, other);
	free(many);
}

// --- the API's client ---

struct served {
	int listener;
	const char *const *pieces; // NULL-terminated; then it hangs up
	struct loop *loop;
	int status, n_calls;
	char state[32];
};

static void *serve(void *arg)
{
	struct served *s = arg;
	char request[512];
	int fd = accept(s->listener, NULL, NULL);
	ssize_t n = read(fd, request, sizeof(request) - 1);

	assert_true(n > 0);
	request[n] = 0;
	for (const char *const *p = s->pieces; *p; p++) {
		send(fd, *p, strlen(*p), MSG_NOSIGNAL);
		usleep(1000); // pieces, not one
	}
	close(fd);
	return NULL;
}

static void answered(void *arg, int status, const json_t *body)
{
	struct served *s = arg;
	const char *state = json_string_value(json_object_get(body, "state"));

	s->status = status;
	s->n_calls++;
	snprintf(s->state, sizeof(s->state), "%s", state ? state : "");
	loop_quit(s->loop);
}

static int ask(const char *const *pieces, char state[32])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct served s = { .pieces = pieces };
	struct vm_call *call;
	pthread_t thread;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/sock", fixture_dir);
	s.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s.listener, (struct sockaddr *)&a, sizeof(a)), 0);
	listen(s.listener, 1);
	assert_int_equal(loop_new(&s.loop), 0);
	pthread_create(&thread, NULL, serve, &s);
	assert_int_equal(vm_api_ask(s.loop, a.sun_path,
				 &(struct vm_question){
					 .method = "GET", .path = "/v1/info", .timeout_ms = 2000 },
				 answered, &s, &call),
		0);
	loop_run(s.loop);
	pthread_join(thread, NULL);
	loop_free(s.loop);
	close(s.listener);
	unlink(a.sun_path);
	assert_int_equal(s.n_calls, 1);
	strcpy(state, s.state);
	return s.status;
}

static void answers(void **state)
{
	char s[32];

	assert_int_equal(ask((const char *const[]){ "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n"
						    "{\"state\":\"running\"}",
				     NULL },
				 s),
		200);
	assert_string_equal(s, "running");
	assert_int_equal(ask((const char *const[]){ "HTTP/1.1 2", "00 OK\r\ncontent-length: 18\r",
				     "\n\r\n{\"state\":", "\"paused\"}", NULL },
				 s),
		200);
	assert_string_equal(s, "paused");
	assert_int_equal(
		ask((const char *const[]){ "HTTP/1.1 204 No Content\r\n\r\n", NULL }, s), 204);
	assert_int_equal(
		ask((const char *const[]){ "HTTP/1.1 409 Conflict\r\n\r\n{}", NULL }, s), 409);
	assert_int_equal(ask((const char *const[]){ "SSH-2.0\r\n\r\n", NULL }, s), -EPROTO);
	assert_int_equal(ask((const char *const[]){ "HTTP/1.1 200", NULL }, s), -EPROTO);
	assert_int_equal(
		ask((const char *const[]){ "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
			    NULL },
			s),
		-EPROTO);
	assert_int_equal(ask((const char *const[]){ NULL }, s), -EPROTO);
}

static void nobody(void **state)
{
	struct vm_call *call = NULL;
	struct loop *loop;
	char path[128];

	assert_int_equal(loop_new(&loop), 0);
	snprintf(path, sizeof(path), "%s/none", fixture_dir);
	assert_int_equal(vm_api_ask(loop, path,
				 &(struct vm_question){
					 .method = "PUT", .path = "/v1/kill", .timeout_ms = 10 },
				 answered, NULL, &call),
		-ENOENT);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(command_line, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(image, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(overlay, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(sameness, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(same_without_fds, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(plans, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(ring, fixture_setup, fixture_teardown),
		cmocka_unit_test(seed),
		cmocka_unit_test_setup_teardown(answers, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(nobody, fixture_setup, fixture_teardown),
	};

	if (vm_spec_learn_users() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
