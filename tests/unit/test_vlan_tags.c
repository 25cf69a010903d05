// SPDX-License-Identifier: BSD-3-Clause
// vlan/tags.c: which VLAN a frame is in, which tags it leaves with. HOSTILE H-36 (tags).
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "vlan/tags.h"
#include "vlan/wire.h"

enum {
	NATIVE = 5,
	OUTER = 300,
};

static uint8_t allowed[512];

static struct vlan_port access_port(void)
{
	return (struct vlan_port){ .mode = VLAN_MODE_ACCESS, .access_vid = 10 };
}

// VLANs 10, 20 and 4094 are allowed; the native VLAN need not be in the list.
static struct vlan_port trunk_port(uint16_t native_vid, uint16_t outer_vid)
{
	memset(allowed, 0, sizeof(allowed));
	for (unsigned i = 0; i < 3; i++) {
		uint16_t vid = ((const uint16_t[]){ 10, 20, 4094 })[i];
		allowed[vid >> 3] |= (uint8_t)(1 << (vid & 7));
	}
	return (struct vlan_port){ .mode = VLAN_MODE_TRUNK,
		.native_vid = native_vid,
		.outer_vid = outer_vid,
		.allowed = allowed };
}

static struct vlan_tags untagged(void)
{
	return (struct vlan_tags){ .n = 0 };
}

static struct vlan_tags one(uint16_t tpid, uint16_t tci)
{
	return (struct vlan_tags){ .n = 1, .tpid = { tpid }, .tci = { tci } };
}

static struct vlan_tags two(uint16_t tpid0, uint16_t tci0, uint16_t tpid1, uint16_t tci1)
{
	return (struct vlan_tags){ .n = 2, .tpid = { tpid0, tpid1 }, .tci = { tci0, tci1 } };
}

static void expect_vid(
	const struct vlan_port *port, struct vlan_tags tags, uint16_t vid, uint8_t n_strip)
{
	uint16_t got_vid = 0xffff;
	uint8_t got_strip = 0xff;

	assert_string_equal(
		vlan_verdict_name(vlan_tags_ingress(port, &tags, &got_vid, &got_strip)), "ok");
	assert_int_equal(got_vid, vid);
	assert_int_equal(got_strip, n_strip);
}

// Also: nothing is returned for a frame that is dropped.
static void expect_drop(
	const struct vlan_port *port, struct vlan_tags tags, enum vlan_verdict verdict)
{
	uint16_t vid = 0xaaaa;
	uint8_t n_strip = 0xbb;

	assert_string_equal(vlan_verdict_name(vlan_tags_ingress(port, &tags, &vid, &n_strip)),
		vlan_verdict_name(verdict));
	assert_int_equal(vid, 0xaaaa);
	assert_int_equal(n_strip, 0xbb);
}

static void access_takes_untagged_and_priority_frames(void **state)
{
	struct vlan_port p = access_port();

	expect_vid(&p, untagged(), 10, 0);
	for (unsigned pcp = 0; pcp < 8; pcp++)
		expect_vid(&p, one(ETHTYPE_VLAN, (uint16_t)(pcp << 13)), 10, 1);
	expect_vid(&p, one(ETHTYPE_VLAN, 0x1000), 10, 1); // drop eligible, VID 0
}

static void access_drops_every_other_vid(void **state)
{
	struct vlan_port p = access_port();

	// Its own VLAN too: a guest has no business naming VLANs.
	for (unsigned vid = 1; vid < 4096; vid++) {
		expect_drop(&p, one(ETHTYPE_VLAN, (uint16_t)vid), VLAN_DROP_TAGGED_ON_ACCESS);
		expect_drop(&p, one(ETHTYPE_QINQ, (uint16_t)(0xe000 | vid)),
			VLAN_DROP_TAGGED_ON_ACCESS);
	}
}

static void access_drops_stacks(void **state)
{
	struct vlan_port p = access_port();
	struct vlan_tags three = two(ETHTYPE_VLAN, 0, ETHTYPE_VLAN, 0);

	three.n = 3;
	expect_drop(&p, two(ETHTYPE_VLAN, 0, ETHTYPE_VLAN, 20), VLAN_DROP_TOO_MANY_TAGS);
	expect_drop(&p, two(ETHTYPE_VLAN, 0, ETHTYPE_VLAN, 0), VLAN_DROP_TOO_MANY_TAGS);
	expect_drop(&p, two(ETHTYPE_VLAN, 10, ETHTYPE_VLAN, 20), VLAN_DROP_TAGGED_ON_ACCESS);
	expect_drop(&p, three, VLAN_DROP_TOO_MANY_TAGS);
	expect_drop(&p, one(ETHTYPE_QINQ, 0), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(0x9100, 0), VLAN_DROP_BAD_OUTER);
}

static void trunk_takes_its_list(void **state)
{
	struct vlan_port p = trunk_port(0, 0);

	for (unsigned vid = 1; vid < 4095; vid++) {
		if (vid == 10 || vid == 20 || vid == 4094)
			expect_vid(
				&p, one(ETHTYPE_VLAN, (uint16_t)(0xa000 | vid)), (uint16_t)vid, 1);
		else
			expect_drop(&p, one(ETHTYPE_VLAN, (uint16_t)vid), VLAN_DROP_NOT_ALLOWED);
	}
	expect_drop(&p, one(ETHTYPE_VLAN, 4095), VLAN_DROP_BAD_VID);
	expect_drop(&p, untagged(), VLAN_DROP_UNTAGGED_ON_TRUNK);
	expect_drop(&p, one(ETHTYPE_VLAN, 0xe000), VLAN_DROP_UNTAGGED_ON_TRUNK);
}

static void trunk_never_allows_reserved_vids(void **state)
{
	struct vlan_port p = trunk_port(0, 0);
	struct vlan_tags out = { .n = 9 };

	memset(allowed, 0xff, sizeof(allowed)); // a list that names 0 and 4095
	expect_drop(&p, one(ETHTYPE_VLAN, 0), VLAN_DROP_UNTAGGED_ON_TRUNK);
	expect_drop(&p, one(ETHTYPE_VLAN, 4095), VLAN_DROP_BAD_VID);
	assert_int_equal(vlan_tags_egress(&p, 0, 0, &out), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(vlan_tags_egress(&p, 4095, 0, &out), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(vlan_tags_egress(&p, 4096, 0, &out), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(vlan_tags_egress(&p, 65535, 0, &out), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(out.n, 9);
}

static void trunk_without_list_allows_nothing(void **state)
{
	struct vlan_port p = { .mode = VLAN_MODE_TRUNK };
	struct vlan_tags out;

	expect_drop(&p, one(ETHTYPE_VLAN, 10), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(vlan_tags_egress(&p, 10, 0, &out), VLAN_DROP_NOT_ALLOWED);
}

static void trunk_native_vlan(void **state)
{
	struct vlan_port p = trunk_port(NATIVE, 0);

	expect_vid(&p, untagged(), NATIVE, 0);
	expect_vid(&p, one(ETHTYPE_VLAN, 0xe000), NATIVE, 1);
	expect_vid(&p, one(ETHTYPE_VLAN, 20), 20, 1);
	expect_drop(&p, one(ETHTYPE_VLAN, NATIVE), VLAN_DROP_NATIVE_TAGGED);
	allowed[NATIVE >> 3] |= 1 << (NATIVE & 7);
	expect_drop(&p, one(ETHTYPE_VLAN, NATIVE), VLAN_DROP_NATIVE_TAGGED);
}

// The classic hop: the native VLAN's tag outside, the victim's inside.
static void trunk_drops_native_vlan_hop(void **state)
{
	struct vlan_port p = trunk_port(NATIVE, 0);

	expect_drop(&p, two(ETHTYPE_VLAN, NATIVE, ETHTYPE_VLAN, 20), VLAN_DROP_TOO_MANY_TAGS);
	expect_drop(&p, two(ETHTYPE_VLAN, 0, ETHTYPE_VLAN, 20), VLAN_DROP_TOO_MANY_TAGS);
	expect_drop(&p, two(ETHTYPE_QINQ, NATIVE, ETHTYPE_VLAN, 20), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(ETHTYPE_QINQ, 20), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(0x9100, 20), VLAN_DROP_BAD_OUTER);
}

static void qinq_takes_its_outer_tag_only(void **state)
{
	struct vlan_port p = trunk_port(NATIVE, OUTER);

	expect_vid(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, 20), 20, 2);
	expect_vid(&p, two(ETHTYPE_QINQ, 0xe000 | OUTER, ETHTYPE_VLAN, 0x6000 | 10), 10, 2);
	expect_vid(&p, one(ETHTYPE_QINQ, OUTER), NATIVE, 1);
	expect_vid(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, 0xe000), NATIVE, 2);

	expect_drop(&p, untagged(), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(ETHTYPE_VLAN, 20), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(ETHTYPE_QINQ, OUTER + 1), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, one(ETHTYPE_QINQ, 0), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, two(ETHTYPE_VLAN, OUTER, ETHTYPE_VLAN, 20), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_QINQ, 20), VLAN_DROP_BAD_OUTER);
	expect_drop(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, 21), VLAN_DROP_NOT_ALLOWED);
	expect_drop(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, 4095), VLAN_DROP_BAD_VID);
	expect_drop(&p, two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, NATIVE), VLAN_DROP_NATIVE_TAGGED);
	p.native_vid = 0;
	expect_drop(&p, one(ETHTYPE_QINQ, OUTER), VLAN_DROP_UNTAGGED_ON_TRUNK);
}

static void three_tags_are_too_many_everywhere(void **state)
{
	struct vlan_tags three = two(ETHTYPE_QINQ, OUTER, ETHTYPE_VLAN, 20);
	struct vlan_port ports[] = { access_port(), trunk_port(NATIVE, 0), trunk_port(0, OUTER) };

	three.n = 3;
	for (unsigned i = 0; i < 3; i++)
		expect_drop(&ports[i], three, VLAN_DROP_TOO_MANY_TAGS);
}

static void egress_access(void **state)
{
	struct vlan_port p = access_port();
	struct vlan_tags out = { .n = 9 };

	assert_int_equal(vlan_tags_egress(&p, 11, 0, &out), VLAN_DROP_NOT_ALLOWED);
	assert_int_equal(out.n, 9);
	assert_int_equal(vlan_tags_egress(&p, 10, 7, &out), VLAN_OK);
	assert_int_equal(out.n, 0);
}

static void egress_trunk(void **state)
{
	struct vlan_port p = trunk_port(NATIVE, 0);
	struct vlan_tags out = { .n = 9 };

	assert_int_equal(vlan_tags_egress(&p, 20, 5, &out), VLAN_OK);
	assert_int_equal(out.n, 1);
	assert_int_equal(out.tpid[0], ETHTYPE_VLAN);
	assert_int_equal(out.tci[0], 5 << 13 | 20);
	assert_int_equal(vlan_tags_egress(&p, NATIVE, 5, &out), VLAN_OK);
	assert_int_equal(out.n, 0);
	assert_int_equal(vlan_tags_egress(&p, 21, 5, &out), VLAN_DROP_NOT_ALLOWED);
}

static void egress_qinq(void **state)
{
	struct vlan_port p = trunk_port(NATIVE, OUTER);
	struct vlan_tags out = { .n = 9 };

	assert_int_equal(vlan_tags_egress(&p, 10, 3, &out), VLAN_OK);
	assert_int_equal(out.n, 2);
	assert_int_equal(out.tpid[0], ETHTYPE_QINQ);
	assert_int_equal(out.tci[0], 3 << 13 | OUTER);
	assert_int_equal(out.tpid[1], ETHTYPE_VLAN);
	assert_int_equal(out.tci[1], 3 << 13 | 10);
	assert_int_equal(vlan_tags_egress(&p, NATIVE, 3, &out), VLAN_OK);
	assert_int_equal(out.n, 1);
	assert_int_equal(out.tpid[0], ETHTYPE_QINQ);
}

// What a trunk sends, the same trunk reads as the same VLAN; for every VLAN and kind of trunk.
static void egress_and_ingress_agree(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct vlan_port p = trunk_port(kind & 1 ? NATIVE : 0, kind & 2 ? OUTER : 0);

		for (unsigned vid = 0; vid < 4096; vid++) {
			struct vlan_tags out;
			uint16_t back = 0;
			uint8_t n_strip = 0;

			if (vlan_tags_egress(&p, (uint16_t)vid, 6, &out) != VLAN_OK)
				continue;
			assert_int_equal(vlan_tags_ingress(&p, &out, &back, &n_strip), VLAN_OK);
			assert_int_equal(back, vid);
			assert_int_equal(n_strip, out.n);
		}
	}
}

// Every verdict has a name of its own.
static void names(void **state)
{
	for (int i = 0; i < VLAN_VERDICT_COUNT; i++) {
		assert_string_not_equal(vlan_verdict_name(i), "unknown");
		for (int j = 0; j < i; j++)
			assert_string_not_equal(vlan_verdict_name(i), vlan_verdict_name(j));
	}
	assert_string_equal(vlan_verdict_name(VLAN_VERDICT_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(access_takes_untagged_and_priority_frames),
		cmocka_unit_test(access_drops_every_other_vid),
		cmocka_unit_test(access_drops_stacks),
		cmocka_unit_test(trunk_takes_its_list),
		cmocka_unit_test(trunk_never_allows_reserved_vids),
		cmocka_unit_test(trunk_without_list_allows_nothing),
		cmocka_unit_test(trunk_native_vlan),
		cmocka_unit_test(trunk_drops_native_vlan_hop),
		cmocka_unit_test(qinq_takes_its_outer_tag_only),
		cmocka_unit_test(three_tags_are_too_many_everywhere),
		cmocka_unit_test(egress_access),
		cmocka_unit_test(egress_trunk),
		cmocka_unit_test(egress_qinq),
		cmocka_unit_test(egress_and_ingress_agree),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("H-36 vlan_tags", tests, NULL, NULL);
}
