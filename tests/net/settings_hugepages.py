# SPDX-License-Identifier: BSD-3-Clause
# `settings: {hugepages: 2M}`: too few are told before anything happens, with the command that
# mends it; a transfer goes on across the change; whoever is killed, no page stays behind. Takes
# pages from the kernel and gives them back. Runs in a sandbox.
import contextlib
import mmap
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(os.path.dirname(HERE), folder) for folder in ("lib", "perf")]

# pylint: disable=wrong-import-position
import hugepages
import lab as labs
import netns
import sandbox
from kill import kill, only, wait_new
from settings import Site, across, arguments, mended

PAGE = 2 << 20
NEEDED = 34  # of a switch with one worker
SPARE = 8  # fewer than that are left at first
MAP_HUGETLB = 0x40000


def meminfo(what):
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"HugePages_{what}:"))


def free():
    return meminfo("Free") - meminfo("Rsvd")


def pages_of_switch():
    with open(f"/proc/{only('insula-switch')}/status", encoding="ascii") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("HugetlbPages:"))
    return kib * 1024 // PAGE


def wait_free(n):
    deadline = time.monotonic() + 10
    while free() != n:
        assert time.monotonic() < deadline, f"{free()} hugepages are free, not {n}"
        time.sleep(0.01)


def test_too_few(lab, site):
    switch, config = only("insula-switch"), lab.insula("config")
    wanted = f"the switch needs {NEEDED} hugepages of 2 MiB, and {SPARE} are free: `sysctl "
    status, text = site.tries("diff", hugepages="2M")
    assert status == 2 and f"apply would fail: settings: {wanted}" in text, text
    status, text = site.tries("apply", hugepages="2M")
    assert status == 1 and wanted in text and "nothing has been changed" in text, text
    assert only("insula-switch") == switch and lab.insula("config") == config, text
    mended(text)
    assert free() == NEEDED


# Every page it may have is taken, and none more; by TCP through SNAT.
def test_taken(lab, site):
    across(lab, site, "hugepages", hugepages="2M")
    assert pages_of_switch() == NEEDED and free() == 0, f"{pages_of_switch()} {free()}"
    assert "--hugepages" in arguments()
    assert site.tries("diff", hugepages="2M")[0] == 0


# What the old one has counts for the new one.
def test_handed_on(_lab, site):
    site.apply(hugepages="2M", sessions=4096)
    assert pages_of_switch() == NEEDED and free() == 0
    status, text = site.tries("apply", hugepages="2M", workers=2)
    assert status == 1 and f"needs 56 hugepages of 2 MiB, and {NEEDED} are free" in text, text


def test_switch_killed(_lab, _site):
    switch = only("insula-switch")
    kill(switch)
    wait_new("insula-switch", switch)
    deadline = time.monotonic() + 10
    while pages_of_switch() != NEEDED:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert free() == 0


def test_both_killed(lab, site):
    kill(only("insulad"))
    kill(only("insula-switch"))
    wait_free(NEEDED)
    lab.start()
    assert pages_of_switch() == NEEDED
    assert site.tries("diff", hugepages="2M", sessions=4096)[0] == 0


def test_given_back(lab, site):
    across(lab, site, "none", hugepages="none")
    assert pages_of_switch() == 0 and "--hugepages" not in arguments()
    wait_free(NEEDED)


def run():
    # All that are free, but a few.
    with mmap.mmap(-1, (free() - SPARE) * PAGE,
                   mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB):
        with labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY) as lab:
            return labs.run_cases(globals(), lab, Site(lab))


def main():
    with contextlib.ExitStack() as stack:
        try:
            with hugepages.Hugepages(2 * NEEDED):
                pass  # it will be asked for so many in the end
            stack.enter_context(hugepages.Hugepages(SPARE + 1))
        except (OSError, netns.CommandFailed) as error:
            print(f"no hugepages: {error}; free some memory, or: sysctl vm.nr_hugepages=68")
            sys.exit(77)
        ok = run()
    sys.exit(not ok)


main()
