# SPDX-License-Identifier: BSD-3-Clause
# What the tests of power losses have in common: their runs, and the same without fsync, which must
# show.
import os
import tempfile
import time


# bench(): a machine with disks of its own; its live(enough): what it found lost, then it goes on
# until so much was acknowledged; shows(lost): whether that is all that has to be.
def check_without_fsync(bench, shows, tries, enough):
    for number in range(tries):
        one = bench()
        assert not one.live(enough)
        lost = one.live(0)
        if shows(lost):
            print(f"ok without fsync: {lost}", flush=True)
            return
        print(f"without fsync, try {number + 1}: lost is {lost!r}", flush=True)
    raise AssertionError("without fsync nothing is lost: this test would not see it if it were")


# Each check is called with a directory for its disks.
def run(*checks):
    begin = time.monotonic()
    os.environ.setdefault("INSULA_BUILD", os.path.realpath(os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../build")))
    with tempfile.TemporaryDirectory(dir=os.environ["INSULA_BUILD"]) as directory:
        for check in checks:
            check(directory)
    print(f"{time.monotonic() - begin:.0f} s")
