# SPDX-License-Identifier: BSD-3-Clause
# Disks of the test guest's, as files in a folder that goes away at the end, and the cases of a test
# about them.
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

# pylint: disable=wrong-import-position
import lab as labs
import machine as machines

SECTOR, MIB, SECONDS = 512, 1 << 20, 20
FOLDER = tempfile.mkdtemp(prefix="insula-disks-")


def path_of(name):
    return os.path.join(FOLDER, name)


def image(name, size=8 * MIB, content=b""):
    with open(path_of(name), "wb") as file:
        file.write(content)
        file.truncate(size)
    return path_of(name)


def read(path, sector=0, count=None):
    with open(path, "rb") as file:
        file.seek(sector * SECTOR)
        return file.read() if count is None else file.read(count * SECTOR)


class Machine(machines.Machine):
    """One with disks (their words); `commands` are the guest's, options more of its words."""

    def __init__(self, commands, disks, options="", reboots=False):
        words = [word for disk in disks for word in ("--disk", disk)]
        super().__init__(machines.command(commands, *words, reboots=reboots, keys=options),
                         seconds=SECONDS)


def run(commands, *disks, options=""):
    machine = Machine(commands, disks, options)
    machine.done()
    return machine.lines


# All that `names` has as test_...; then `end` is called.
def run_cases(names, end=lambda: None):
    good = labs.run_cases(names)
    end()
    subprocess.run(["rm", "-rf", FOLDER], check=True)
    sys.exit(not good)
