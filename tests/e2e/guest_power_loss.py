# SPDX-License-Identifier: BSD-3-Clause
# Power loss (sysrq-b in the outer machine) while guests write to their disks, one of each kind:
# whatever was acknowledged to them as flushed is there when the machine is up again. And the same
# without fsync, which must show: else this test shows nothing. Argument: the library that takes
# fsync away.
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
ROUNDS = 25 if LONG else 1
WITHOUT_FSYNC = 3  # tries at most
SECONDS = 150  # for one life of the machine; it takes 20 when it has the processors to itself
INSIDE = os.path.join(HERE, "guest_power_loss_inside.py")
MODULES = ("kvm-amd", "virtio_blk", "ext4")
KINDS = ("cached", "direct", "without-flush", "qcow2")


class Bench:
    def __init__(self, directory, preload=""):
        self.machine, self.durable = outer.Machine(directory, MODULES), dict.fromkeys(KINDS, 0)
        self.disk = os.path.join(directory, "disk")
        self.environment = {"PYTHONDONTWRITEBYTECODE": "1", "POWER_LOSS_PRELOAD": preload,
                            "INSULA_BUILD": os.environ["INSULA_BUILD"]}
        with open(self.disk, "wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", self.disk], check=True)

    # One life: what it found lost, a line for each kind. It ends by power loss when each guest has
    # been told so many more numbers; 0: it only looks.
    def live(self, enough):
        lines = self.machine.run(
            ["/usr/bin/python3", INSIDE, str(enough),
             *(f"{kind}={number}" for kind, number in self.durable.items())],
            SECONDS, [self.disk], self.environment)
        told = [line.split()[1:] for line in lines if line.startswith("durable ")]
        before = dict(self.durable)
        self.durable |= {kind: int(number) for kind, number in told}
        assert "found" in lines and not self.machine.killed and all(
            self.durable[kind] >= before[kind] + enough for kind in KINDS), (
            f"{lines[-9:]}\n{self.machine.last_words()}")
        return [line for line in lines if line.startswith("lost ")]


def check_rounds(directory):
    bench = Bench(directory)
    for number in range(ROUNDS):
        lost = bench.live(random.randint(80, 300))
        assert not lost, f"round {number}: {lost}"
        print(f"ok power loss {number + 1}: {bench.durable} writes acknowledged "
              f"({bench.machine.seconds:.0f} s)", flush=True)
    lost = bench.live(0)
    assert not lost, lost


# Both ways that a disk of ours has to be told: a flush, and each write. (O_DIRECT's data is in the
# emulated disk without: only what the file system knows of it may be lost.)
def all_lost(lost):
    return all(any(line.startswith(f"lost {kind}") for line in lost)
               for kind in ("cached", "without-flush", "qcow2"))


power.run(check_rounds, lambda directory: power.check_without_fsync(
    lambda: Bench(directory, sys.argv[1]), all_lost, WITHOUT_FSYNC, 80))
