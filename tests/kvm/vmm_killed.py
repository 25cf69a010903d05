# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm killed again and again (kill -9) while its guest writes: whatever was answered is in
# the file, and the machine that comes next goes on with it. Twenty times for each kind of disk;
# with --long, thousands. Called by test_vmm_killed.sh.
import fcntl
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
import journal
from disks import Machine, image, run_cases

TIMES = 1000 if os.environ.get("INSULA_TEST_LONG") else 20
NO_FLUSH = f"features={~(1 << 9) & (1 << 64) - 1:#x}"


# One life: begins where the last one's answers end, is killed somewhere behind some of its own;
# where those end.
def live(path, words, keys, first, rng):
    machine = Machine(f"blk-journal:{journal.SLOTS}:{first}", [f"file={path}{words}"], keys)
    try:
        for _ in range(rng.randint(1, 20)):
            machine.wait("written")
        time.sleep(rng.random() * 0.002)
    finally:
        machine.process.send_signal(signal.SIGKILL)
        machine.end()
    return journal.last(machine.lines, "written")


# Once nothing of the killed machine's is under way: it keeps its lock as long.
def content_of(path):
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        return file.read(journal.SIZE)


def check(name, words="", keys=""):
    path, rng, answered = image(name), random.Random(name), 0
    for number in range(TIMES):
        before, answered = answered, live(path, words, keys, answered, rng)
        assert answered > before, f"kill {number}: nothing was answered"
        wrong = journal.lost(content_of(path), answered)
        assert not wrong, f"kill {number}: {wrong}"
    print(f"{name}: {TIMES} kills, {answered} writes answered", flush=True)


def test_cached():
    check("cached")


def test_direct():
    check("direct", ",direct,queues=2")


# Each write is answered when it is on the disk.
def test_without_flush():
    check("without-flush", keys=NO_FLUSH)


run_cases(globals())
