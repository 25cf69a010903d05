# SPDX-License-Identifier: BSD-3-Clause
# A tap is deleted while insulad cannot notice (stopped): the switch must not spin on the fd that
# failed for good, and the other ports must not feel it. Runs in a sandbox.
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox

WINDOW_S, LIMIT = 2.0, 0.2  # a worker that spins uses a whole core, shared at worst by a few


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_spin(lab):
    [switch], [insulad] = labs.processes("insula-switch"), labs.processes("insulad")
    space = next(i.netns for i in lab.policy.instances if i.name == "red-1")
    os.kill(insulad, signal.SIGSTOP)
    try:
        netns.ip(space, "link", "del", "eth0")
        before = cpu_seconds(switch)
        time.sleep(WINDOW_S)  # a measurement's length, not a guess at an event
        used = (cpu_seconds(switch) - before) / WINDOW_S
        nonce = os.urandom(16).hex()
        answer = lab.agents["red-2"].call("ping", timeout=5, nonce=nonce, count=1, interval=0.1,
                                          identifier=5, address=lab.addresses["internet"])
    finally:
        os.kill(insulad, signal.SIGCONT)
    assert used < LIMIT, f"the switch uses {used:.0%} of a core"
    assert answer["answered"], answer


def main():
    with labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY) as lab:
        test_no_spin(lab)
        print("ok test_no_spin", flush=True)


main()
