# SPDX-License-Identifier: BSD-3-Clause
# tap.tcp.* and tap.udp.*: iperf3 between two tap instances of one tenant, beside a kernel bridge of
# two veth pairs and Open vSwitch's userspace taps; see README.md. Called by bench.py.
import contextlib
import json

import arms
import hugepages
import netns
import site_lab
import traffic

NAMES = ("tap.tcp.vs_bridge", "tap.tcp.vs_ovs", "tap.udp.vs_bridge")
ROUND_S = 4
HUGEPAGES = 256  # 2 MiB each: both Open vSwitches have 256 MiB
UDP_ROUND_S, UDP_SIZE = 2, 1400
UDP_LOW, UDP_HIGH, UDP_STEPS = 0.05, 12.8, 7  # Gb/s; the last step is one of 4 %
UDP_LOSS_PERCENT = 0.1
OVS = ("ovs", "ovs_tso")


class Arm:
    """Two namespaces; processor seconds of what carries between them, beside the iperf3's own."""

    def __init__(self, name, spaces, address, switch_cpu=lambda: 0):
        self.name, self.spaces, self.address, self.switch_cpu = name, spaces, address, switch_cpu

    # One client run: its JSON's end, and all processor seconds.
    def iperf(self, seconds, *words):
        command = ("iperf3", "-c", self.address, "-t", str(seconds), "-J", "--connect-timeout",
                   "3000", *words)
        before = self.switch_cpu()
        done = netns.run(*netns.inside(self.spaces[0]), *command, timeout=seconds + 20)
        used = self.switch_cpu() - before
        end = json.loads(done.stdout)["end"]
        cpu = end["cpu_utilization_percent"]
        length = end.get("sum_received", end["sum"] if "sum" in end else {})["seconds"]
        return end, used + (cpu["host_total"] + cpu["remote_total"]) / 100 * length

    # Gb/s, and processor seconds for each GB carried.
    def tcp(self):
        end, used = self.iperf(ROUND_S)
        got = end["sum_received"]
        return got["bits_per_second"] / 1e9, used / (got["bytes"] / 1e9)

    # The same of UDP at one rate; None if too much was lost.
    def udp_at(self, gbps):
        end, used = self.iperf(UDP_ROUND_S, "-u", "-l", str(UDP_SIZE), "-b", f"{gbps}G", "-w", "2M")
        got = end["sum"]
        arrived = got["bytes"] * (1 - got["lost_percent"] / 100)
        if got["lost_percent"] > UDP_LOSS_PERCENT or arrived == 0:
            return None
        return arrived * 8 / got["seconds"] / 1e9, used / (arrived / 1e9)

    # The highest rate found that loses no more than it may.
    def udp(self):
        low, high, best = UDP_LOW, UDP_HIGH, None
        for _ in range(UDP_STEPS):
            middle = (low * high) ** 0.5
            if passed := self.udp_at(middle):
                low = middle
                best = max(best or passed, passed)
            else:
                high = middle
        if best is None:
            raise netns.CommandFailed(f"{self.name}: UDP is lost even at {low} Gb/s")
        return best


def _round(bench, what, running):
    words = []
    for arm in running:
        gbps, cpu = arm.tcp() if what == "tcp" else arm.udp()
        bench.sample(f"tap.{what}.{arm.name}_gbps", gbps)
        bench.sample(f"tap.{what}.{arm.name}_cpu_s_per_gb", cpu)
        words.append(f"{arm.name} {gbps:.2f} Gb/s ({cpu:.2f} CPU s/GB)")
    bench.say(f"tap.{what}: {', '.join(words)}")


# Rounds of `what` over the arms, and what they are worth.
def _measure(bench, what, running):
    servers = [traffic.IperfServer(arm.spaces[1]) for arm in running]
    try:
        for _ in range(bench.rounds):
            _round(bench, what, running)
    finally:
        for server in servers:
            server.stop()
    for arm in running:
        bench.value(f"tap.{what}.{arm.name}_gbps", f"tap.{what}.{arm.name}_cpu_s_per_gb")


def _ovs(stack, name):
    ovs = stack.enter_context(arms.OpenVSwitchTaps(name.replace("_", "-"), name == "ovs_tso"))
    return Arm(name, ovs.spaces, "192.0.2.2",
               lambda: sum(site_lab.cpu_seconds(p.pid) for p in ovs.processes))


def _better(bench):
    return max(OVS, key=lambda name: bench.values[f"tap.tcp.{name}_gbps"])


def measure(bench):
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(site_lab.Site())
        traffic.build_bridge()
        insula = Arm("insula", site_lab.PAIR, site_lab.ADDRESSES[1], site.cpu_seconds)
        bridge = Arm("bridge", traffic.BRIDGE[1:], "192.0.2.2")
        peers = [bridge] if bench.wants("tap.tcp.vs_bridge") else []
        if bench.wants("tap.tcp.vs_ovs"):
            stack.enter_context(hugepages.Hugepages(HUGEPAGES))
            peers += [_ovs(stack, name) for name in OVS]
        if peers:
            _measure(bench, "tcp", [insula, *peers])
        if bench.wants("tap.udp.vs_bridge"):
            _measure(bench, "udp", [insula, bridge])
    for name, peer in (("tap.tcp.vs_bridge", "tcp.bridge"), ("tap.udp.vs_bridge", "udp.bridge"),
                       ("tap.tcp.vs_ovs", "")):
        if bench.wants(name):
            peer = peer or f"tcp.{_better(bench)}"
            bench.ratio(name, f"tap.{peer[:3]}.insula_gbps", f"tap.{peer}_gbps")
