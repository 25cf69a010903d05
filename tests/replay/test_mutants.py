#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The tool that negates checks: it finds all there are, wraps them so that nothing else changes, and
# SURVIVORS names checks that exist. With --long it negates every check of the pipeline.
# timeout: 5400
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import checks  # noqa: E402
import mutants  # noqa: E402

# Every kind of check, each of which changes what is printed; what is not one stands beside it.
SAMPLE = r"""
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#define unlikely(x) (x)

enum kind { ONE, TWO, THREE };
struct pair { int a, b; };
_Static_assert(sizeof(int) == 4, "never a check");

static bool odd(int x)
{
	return x & 1; // a == b in a comment
}

static const char *name(enum kind k)
{
	static const bool big = 3 > 2;

	switch (k) {
	case ONE:
		return "one == one";
	case TWO:
		return big ? "two" : "";
	case THREE:
		break;
	}
	return "three";
}

static int count(const struct pair *p, int n)
{
	bool any = p->a & 4, none = !p;
	int sum = 0, i;

	for (i = 0; i < n; i++)
		sum += p[0].a >> 1 == i ? 10 : p[0].b * (i > 1);
	while (n --> 0 && sum < 40)
		sum++;
	do
		sum += 100;
	while (sum < 300);
	if (unlikely(sum > 3050))
		sum -= 1000;
	else if ((any || p->b != 2) && !(n > 9))
		sum += 5000;
	any = n & 8;
	return sum + (none ? 7 : 0) + (any ? 70000 : 0);
}

static int never(int x)
{
	return x == 3;
}

void root(int x)
{
	const struct pair p = { .a = x < 5 ? 5 : 60, .b = x };

	printf("%d %d %s %s\n", odd(x), count(&p, 4), name(TWO), name((enum kind)(x - 2)));
}

int main(int argc, char **argv)
{
	root(2);
	return never(argc) && argv != NULL ? 1 : 0;
}
"""
EXPECTED = """
    odd: x & 1
    name: case ONE
    name: case TWO
    name: case THREE
    name: big
    count: p->a & 4
    count: !p
    count: i < n
    count: p[0].a >> 1 == i
    count: i > 1
    count: n --> 0 && sum < 40
    count: n --> 0
    count: sum < 40
    count: sum < 300
    count: sum > 3050
    count: (any || p->b != 2) && !(n > 9)
    count: any || p->b != 2
    count: any
    count: p->b != 2
    count: n > 9
    count: n & 8
    count: none
    count: any #2
    root: x < 5
"""
RUNTIME = """
#include <stdlib.h>
unsigned mutant_number, mutant_depth;
unsigned char mutant_seen[MUTANTS_MAX];
__attribute__((constructor)) static void start(void) { mutant_number = atoi(getenv("MUTANT")); }
"""
# The sample never looks at it: `any` is true.
ALIKE = {"count: p->b != 2"}


class Sample(unittest.TestCase):
    def setUp(self):
        self.source = checks.Source("sample.c", SAMPLE)
        self.first, self.checks = checks.find([self.source], ["root"])
        self.keys = [k.split(": ", 1)[0].split(":")[1] + ": " + k.split(": ", 1)[1]
                     for k in checks.keys(self.checks)]

    def test_finds(self):
        self.assertEqual(sorted(self.keys), sorted(k.strip() for k in
                                                   EXPECTED.strip().splitlines()))
        lines = dict(zip(self.keys, (c.line for c in self.checks)))
        self.assertEqual(SAMPLE.splitlines()[lines["odd: x & 1"] - 1].strip()[:14],
                         "return x & 1; ")

    def test_negates(self):
        with tempfile.TemporaryDirectory() as scratch:
            def program(name, text, *options):
                path = pathlib.Path(scratch, name)
                path.with_suffix(".c").write_text(text)
                subprocess.run(["cc", "-w", "-std=gnu2x", *options, "-o", path,
                                path.with_suffix(".c")], check=True)
                return path

            def says(path, number):
                done = subprocess.run(["timeout", "5", path], capture_output=True,
                                      env=dict(os.environ, MUTANT=str(number)))
                return done.returncode, done.stdout

            text = checks.instrument(self.source, self.first, list(enumerate(self.checks, 1)))
            plain = program("plain", SAMPLE)
            negated = program("negated", text + RUNTIME, "-include", HERE / "mutants.h")
            wanted = says(plain, 0)
            self.assertEqual(says(negated, 0), wanted)
            alike = {key for n, key in enumerate(self.keys, 1) if says(negated, n) == wanted}
            self.assertEqual(alike, ALIKE)


class Names(unittest.TestCase):
    def test_stand_still(self):
        """A name changes with its check, not with the lines around it."""
        moved = checks.find([checks.Source("sample.c", "\n\n" + SAMPLE)], ["root"])[1]
        here = checks.find([checks.Source("sample.c", SAMPLE)], ["root"])[1]
        self.assertEqual(checks.keys(moved), checks.keys(here))
        self.assertNotEqual(moved[0].line, here[0].line)

    def test_explained(self):
        tree = mutants.Mutants()
        explained, wrong = mutants.read_explained(mutants.EXPLAINED)
        self.assertEqual(wrong + mutants.stale(tree, explained), [])
        # All of it, not a file that was forgotten.
        self.assertGreater(len(tree.keys), 1000)
        for path in ("vswitch/guard.c", "vlan/tags.c", "dhcp/dhcp4_parse.c", "vswitch/nat_table.c"):
            self.assertTrue(any(k.startswith(path + ":") for k in tree.keys), path)

    def test_complains(self):
        tree = mutants.Mutants()
        keys = tree.keys
        results = [mutants.Result(1, "survived", None), mutants.Result(2, "unmet", None),
                   mutants.Result(3, "failed", "some_case"), mutants.Result(4, "survived", None),
                   mutants.Result(5, "hung", "after 0 cases")]
        wrong = mutants.compare(tree, results, {keys[2]: 7, keys[3]: 9})
        self.assertEqual([w.rsplit(": ", 1)[-1].split(",")[0] for w in wrong[:2]],
                         ["negated", "no case meets it"])
        self.assertEqual(wrong[2:],
                         [f"SURVIVORS:7: take it out, some_case fails for it: {keys[2]}"])
        self.assertEqual(len(mutants.stale(tree, {"vlan/tags.c:nobody: x": 3})), 1)


@unittest.skipUnless(os.environ.get("INSULA_TEST_LONG"), "--long only")
class Pipeline(unittest.TestCase):
    def test_no_survivor_unexplained(self):
        self.assertEqual(subprocess.run([HERE / "mutants.py"]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
