// SPDX-License-Identifier: BSD-3-Clause
// What lies between a machine that runs and what is desired: what can be plugged in and unplugged,
// what takes a restart, and what the machine's own list of devices makes of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control/vm_changes.h"

#define VOLUME(name) "--disk file=/s/volumes/" name ".raw,queues=1 "
#define BOOT "insula-vmm --kernel /k "
#define SLOTS(n) "--hotplug " n " "

static struct vm_changes c;

// Words that are parted by spaces.
static struct vm_spec spec(const char *words)
{
	struct vm_spec s = { .text = strdup(words), .size = strlen(words) };

	for (char *p = s.text; *p; p++)
		if (*p == ' ')
			*p = 0;
	return s;
}

static enum vm_change_kind find(const char *started, const char *has, const char *desired)
{
	struct vm_spec a = spec(started), b = spec(has), d = spec(desired);

	vm_changes_find(&c, &a, &b, &d, "/s");
	vm_spec_clear(&a);
	vm_spec_clear(&b);
	vm_spec_clear(&d);
	return c.kind;
}

static enum vm_change_kind from(const char *started, const char *desired)
{
	return find(started, started, desired);
}

static void nothing(void **state)
{
	assert_int_equal(from(BOOT VOLUME("a"), BOOT VOLUME("a")), VM_CHANGE_NONE);
	// in another order; by an insulad that gives other slots
	assert_int_equal(from(BOOT VOLUME("a") VOLUME("b") SLOTS("2"),
				 BOOT VOLUME("b") VOLUME("a") SLOTS("4")),
		VM_CHANGE_NONE);
}

static void plugs(void **state)
{
	assert_int_equal(from(BOOT VOLUME("a") VOLUME("b") SLOTS("2"),
				 BOOT VOLUME("c") VOLUME("a") SLOTS("2")),
		VM_CHANGE_PLUG);
	assert_int_equal(c.n_in, 1);
	assert_string_equal(c.in[0].name, "c");
	assert_int_equal(c.n_out, 1);
	assert_string_equal(c.out[0].name, "b");
	assert_int_equal(from(BOOT SLOTS("1"), BOOT "--disk file=/s/volumes/a.raw,readonly,direct,"
						    "queues=1 " SLOTS("1")),
		VM_CHANGE_PLUG);
	assert_true(c.in[0].readonly && c.in[0].direct);
	// what goes needs no slot, and no number of queues
	assert_int_equal(from(BOOT "--disk file=/s/volumes/a.raw,queues=4 ", BOOT), VM_CHANGE_PLUG);
	assert_int_equal(c.out[0].n_queues, 4);
}

static void slots(void **state)
{
	assert_int_equal(from(BOOT, BOOT VOLUME("a")), VM_CHANGE_NO_SLOT);
	assert_int_equal(
		find(BOOT SLOTS("1"), BOOT VOLUME("a") SLOTS("1"), BOOT VOLUME("a") VOLUME("b")),
		VM_CHANGE_NO_SLOT);
	// one goes, and its slot with it
	assert_int_equal(find(BOOT SLOTS("1"), BOOT VOLUME("a") SLOTS("1"), BOOT VOLUME("b")),
		VM_CHANGE_PLUG);
	// also one that it was started with, of one queue
	assert_int_equal(from(BOOT VOLUME("a"), BOOT VOLUME("b")), VM_CHANGE_PLUG);
	assert_int_equal(from(BOOT "--disk file=/s/volumes/a.raw,queues=2 ", BOOT VOLUME("b")),
		VM_CHANGE_NO_SLOT);
	// too many already, and none more
	assert_int_equal(
		find(BOOT, BOOT VOLUME("a") VOLUME("b"), BOOT VOLUME("a")), VM_CHANGE_PLUG);
}

static void no_plug(void **state)
{
	assert_int_equal(from(BOOT VOLUME("a") SLOTS("4"),
				 BOOT "--disk file=/s/volumes/a.raw,readonly,queues=1 " SLOTS("4")),
		VM_CHANGE_NO_PLUG);
	assert_int_equal(from(BOOT SLOTS("4"), BOOT "--disk file=/s/volumes/a.raw,queues=2 "),
		VM_CHANGE_NO_PLUG);
	assert_int_equal(from(BOOT SLOTS("4"), BOOT VOLUME("a23456789012345678901234567890")),
		VM_CHANGE_NO_PLUG);
	assert_int_equal(from(BOOT SLOTS("4"), BOOT VOLUME("a2345678901234567890123456789")),
		VM_CHANGE_PLUG);
}

static void others(void **state)
{
	assert_int_equal(from(BOOT, "insula-vmm --kernel /l " VOLUME("a")), VM_CHANGE_OTHER);
	assert_int_equal(from(BOOT, BOOT "--rng"), VM_CHANGE_OTHER);
	// no volumes
	assert_int_equal(from(BOOT SLOTS("4"), BOOT "--disk file=/t/volumes/a.raw,queues=1"),
		VM_CHANGE_OTHER);
	assert_int_equal(from(BOOT SLOTS("4"), BOOT "--disk file=/s/volumes/x/a.raw,queues=1"),
		VM_CHANGE_OTHER);
	// nothing is known of how it was started
	assert_int_equal(find("", "", BOOT), VM_CHANGE_OTHER);
}

#define STARTED BOOT "--disk own=1 " VOLUME("a") VOLUME("b") SLOTS("4")

static char *now(const char *devices)
{
	json_t *list = json_loads(devices, 0, NULL);
	struct vm_spec started = spec(STARTED), is;

	assert_non_null(list);
	assert_int_equal(vm_changes_now(&is, &started, list, "/s"), 0);
	for (size_t i = 0; i < is.size; i++)
		if (!is.text[i])
			is.text[i] = i + 1 < is.size ? ' ' : 0;
	vm_spec_clear(&started);
	json_decref(list);
	return is.text;
}

static void assert_now(const char *devices, const char *words)
{
	char *text = now(devices);

	assert_string_equal(text, words);
	free(text);
}

static void by_devices(void **state)
{
	assert_now("[{\"id\": \"disk0\"}, {\"id\": \"disk1\"}, {\"id\": \"disk2\"}]",
		BOOT "--disk own=1 --disk file=/s/volumes/a.raw,queues=1 --disk "
		     "file=/s/volumes/b.raw,queues=1 --hotplug 4");
	// one gone, another one plugged in; ids that no volume has, and no ids
	assert_now("[{\"id\": \"disk0\"}, {\"id\": \"disk2\"}, {\"id\": \"c-1.W\"}, {\"id\": "
		   "\"rng\"}, "
		   "{\"id\": \"../x.w\"}, {\"id\": \"c.x\"}, {\"id\": \"c.ww\"}, {\"id\": \".w\"}, "
		   "{}, 3]",
		BOOT "--disk own=1 --disk file=/s/volumes/b.raw,queues=1 --hotplug 4 --disk "
		     "file=/s/volumes/c-1.raw,direct,queues=1");
}

static void names(void **state)
{
	json_t *list = json_loads("[{\"id\": \"disk2\"}, {\"id\": \"a.r\"}]", 0, NULL);
	struct vm_spec started = spec(STARTED);
	struct vm_volume a = { .name = "a", .readonly = true, .n_queues = 1 },
			 b = { .name = "b", .n_queues = 1 };
	char id[VM_CHANGES_ID_SIZE];

	assert_true(vm_changes_device(&a, &started, list, "/s", id));
	assert_string_equal(id, "a.r");
	assert_true(vm_changes_device(&b, &started, list, "/s", id));
	assert_string_equal(id, "disk2");
	a.readonly = false; // which was disk1
	assert_false(vm_changes_device(&a, &started, list, "/s", id));
	vm_spec_clear(&started);
	json_decref(list);
}

static void keep(void **state)
{
	struct vm_spec started = spec(STARTED), desired = spec("insula-vmm " VOLUME("c")), is;

	assert_int_equal(vm_changes_keep(&is, &started, &desired, "/s"), 0);
	vm_changes_find(&c, &started, &started, &is, "/s");
	assert_int_equal(c.kind, VM_CHANGE_PLUG);
	assert_int_equal(c.n_in, 1);
	assert_int_equal(c.n_out, 2);
	vm_spec_clear(&started);
	vm_spec_clear(&desired);
	vm_spec_clear(&is);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(plugs),
		cmocka_unit_test(slots),
		cmocka_unit_test(no_plug),
		cmocka_unit_test(others),
		cmocka_unit_test(by_devices),
		cmocka_unit_test(names),
		cmocka_unit_test(keep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
