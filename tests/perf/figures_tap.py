# SPDX-License-Identifier: BSD-3-Clause
# tap.tcp.vs_bridge: iperf3 TCP between two tap instances of one tenant, beside a kernel bridge of
# two veth pairs; see README.md. Called by bench.py.
import json

import netns
import site_lab
import traffic

NAMES = ("tap.tcp.vs_bridge",)
ROUND_S = 4


# One client run: Gb/s, and processor seconds for each GB carried: those of both iperf3, with what
# the kernel does in their name, and those that `insula` says of itself.
def _iperf(space, address, insula=lambda: 0):
    command = ("iperf3", "-c", address, "-t", str(ROUND_S), "-J", "--connect-timeout", "3000")
    before = insula()
    done = netns.run(*netns.inside(space), *command, timeout=ROUND_S + 20)
    used = insula() - before
    end = json.loads(done.stdout)["end"]
    cpu, got = end["cpu_utilization_percent"], end["sum_received"]
    used += (cpu["host_total"] + cpu["remote_total"]) / 100 * got["seconds"]
    return got["bits_per_second"] / 1e9, used / (got["bytes"] / 1e9)


def _round(bench, site):
    for arm, gbps_and_cpu in (
            ("insula", _iperf(site_lab.PAIR[0], site_lab.ADDRESSES[1], site.cpu_seconds)),
            ("bridge", _iperf(traffic.BRIDGE[1], "192.0.2.2"))):
        for what, number in zip(("gbps", "cpu_s_per_gb"), gbps_and_cpu):
            bench.sample(f"tap.tcp.{arm}_{what}", number)
    last = {name: samples[-1] for name, samples in bench.samples.items()}
    bench.say(f"tap.tcp: Insula {last['tap.tcp.insula_gbps']:.2f} Gb/s, bridge "
              f"{last['tap.tcp.bridge_gbps']:.2f} Gb/s; processor seconds for each GB: "
              f"{last['tap.tcp.insula_cpu_s_per_gb']:.2f} and "
              f"{last['tap.tcp.bridge_cpu_s_per_gb']:.2f}")


def measure(bench):
    with site_lab.Site() as site:
        traffic.build_bridge()
        servers = [traffic.IperfServer(space) for space in (site_lab.PAIR[1], traffic.BRIDGE[2])]
        try:
            for _ in range(bench.rounds):
                _round(bench, site)
        finally:
            for server in servers:
                server.stop()
    bench.ratio("tap.tcp.vs_bridge", "tap.tcp.insula_gbps", "tap.tcp.bridge_gbps")
    bench.value("tap.tcp.insula_gbps", "tap.tcp.bridge_gbps", "tap.tcp.insula_cpu_s_per_gb",
                "tap.tcp.bridge_cpu_s_per_gb")
