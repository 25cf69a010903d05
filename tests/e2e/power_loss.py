# SPDX-License-Identifier: BSD-3-Clause
# Power loss (sysrq-b in the outer machine) in the middle of applies and of dynamic leases: whatever
# was acknowledged is there at the next start. And the same without fsync, which must show: else
# this test shows nothing. Argument: the library that takes fsync away.
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

# pylint: disable=wrong-import-position
import outer
import power

LONG = bool(os.environ.get("INSULA_TEST_LONG"))
ROUNDS = 50 if LONG else 3
WITHOUT_FSYNC = 5 if LONG else 2  # tries at most
SECONDS = 240  # for one life of the machine; it takes 20 when it has the processors to itself
INSIDE = os.path.join(HERE, "power_loss_inside.py")
MODULES = ("virtio_blk", "ext4", "tun", "veth", "nf_tables")


class Bench:
    def __init__(self, directory, preload=""):
        self.machine = outer.Machine(directory, MODULES)
        self.disk, self.before = (os.path.join(directory, name) for name in ("disk", "before"))
        self.lines, self.lives = [], 0
        self.environment = {"PYTHONDONTWRITEBYTECODE": "1", "POWER_LOSS_PRELOAD": preload,
                            "INSULA_BUILD": os.environ["INSULA_BUILD"]}
        with open(self.disk, "wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", self.disk], check=True)

    # One life: what it found lost, "" if nothing. It ends by power loss when `enough` was
    # acknowledged.
    def live(self, enough):
        with open(self.before, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in self.lines)
        lines = self.machine.run(["/usr/bin/python3", INSIDE, self.before, str(self.lives),
                                  str(enough)], SECONDS, [self.disk], self.environment)
        self.lives += 1
        lost = [line for line in lines if line.startswith("lost ")]
        if lost:
            return lost[0]
        assert "found" in lines and not self.machine.killed and (
            len(lines) > enough), f"{lines[:9]}\n{self.machine.last_words()}"
        self.lines += lines[lines.index("found") + 1:]
        return ""

    def count(self, what):
        return sum(line.startswith(what) for line in self.lines)


def check_rounds(directory):
    bench = Bench(directory)
    for number in range(ROUNDS):
        lost = bench.live(random.randint(20, 60))
        assert not lost, f"round {number}: {lost}"
        print(f"ok power loss {number + 1}: {bench.count('applied')} applies, "
              f"{bench.count('leased')} leases acknowledged ({bench.machine.seconds:.0f} s)",
              flush=True)
    lost = bench.live(0)
    assert not lost, lost
    assert bench.count("applied") >= 2 * ROUNDS and bench.count("leased") >= 5 * ROUNDS


power.run(check_rounds, lambda directory: power.check_without_fsync(
    lambda: Bench(directory, sys.argv[1]), bool, WITHOUT_FSYNC, 40))
