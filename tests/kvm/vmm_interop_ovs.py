# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm on Open vSwitch with DPDK: two machines on two dpdkvhostuserclient ports of its
# userspace data path ping and stream; it is killed and comes back under the transfer. Runs in a
# sandbox.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, *(os.path.join(os.path.dirname(HERE), name) for name in ("lib", "perf"))]

# pylint: disable=wrong-import-position
import arms
import hugepages
import lab as labs
import netns
import sandbox
import vmm_interop

HUGEPAGES = 280  # 512 MiB of packets, and what DPDK itself takes


class Switch(arms.OpenVSwitch):
    """On whatever processors it gets."""
    pinned = False


def test_carries(switch):
    for options in ((), ("offloads=off",)):
        for machine in vmm_interop.exchange(*options, sockets=switch.sockets):
            machine.done()
            print("\n".join(machine.lines), flush=True)


# Once in the middle of its work, once in the middle of its start.
def test_killed(switch):
    near, far = vmm_interop.exchange(sockets=switch.sockets, mib=64)
    near.wait("ok ping")
    for _ in range(2):
        switch.daemon.kill()
        switch.daemon.wait()
        switch.start_daemon()
    near.done()
    far.done()
    print("\n".join(near.lines), flush=True)


def main():
    sandbox.furnish(netns.run, sandbox.DIRECTORY)
    with hugepages.Hugepages(HUGEPAGES), Switch() as switch:
        good = labs.run_cases(globals(), switch)
    sys.exit(not good)


main()
