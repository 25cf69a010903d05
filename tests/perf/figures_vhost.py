# SPDX-License-Identifier: BSD-3-Clause
# vhost*: frames per second between two vhost-user ports, beside Open vSwitch and testpmd's io loop;
# see README.md. generator.c is the far end of both ports in every arm. Called by bench.py.
import json
import os

import arms
import hugepages
import lab as labs
import netns

NAMES = ("vhost64.l2.vs_ovs", "vhost64.l2.vs_limit", "vhost64.stateful.vs_ovs",
         "vhost64.stateful.vs_limit", "vhost1500.stateful.vs_ovs", "vhost64.flows1m.vs_flows1",
         "cycles.l2", "cycles.stateful")
ROUND_S, WARM_S = 3, 1
MILLION = 1_000_000
FLOWS = 64  # of the figures that are not about their number
IDLE_MIN = 0.05  # of the generator's time: below, it was the bottleneck
HUGEPAGES = 768  # 2 MiB each: Open vSwitch 512 MiB, generator and testpmd 256 each
# What is sent: (name, bytes of a frame, flows); and which arms carry it.
LOADS = {"vhost64": (64, FLOWS), "vhost1500": (1500, FLOWS), "vhost64.flows1": (64, 1),
         "vhost64.flows1m": (64, MILLION)}
ARMS = {
    "insula": (arms.Insula, tuple(LOADS)),
    "ovs_l2": (arms.OpenVSwitch, ("vhost64",)),
    "ovs_stateful": (arms.OpenVSwitchStateful, ("vhost64", "vhost1500")),
    "limit": (arms.Testpmd, ("vhost64",)),
}
# Each figure: what is compared with what.
RATIOS = {
    "vhost64.l2.vs_ovs": ("vhost64.insula", "vhost64.ovs_l2"),
    "vhost64.l2.vs_limit": ("vhost64.insula", "vhost64.limit"),
    "vhost64.stateful.vs_ovs": ("vhost64.insula", "vhost64.ovs_stateful"),
    "vhost64.stateful.vs_limit": ("vhost64.insula", "vhost64.limit"),
    "vhost1500.stateful.vs_ovs": ("vhost1500.insula", "vhost1500.ovs_stateful"),
    "vhost64.flows1m.vs_flows1": ("vhost64.flows1m.insula", "vhost64.flows1.insula"),
}
CYCLES = {"cycles.l2": "vhost64.insula", "cycles.stateful": "vhost64.insula"}


def generate(arm, size, flows):
    build = os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build"))
    command = [os.path.join(build, "tests", "perf", "generator"), "-s", str(size), "-f", str(flows),
               "-t", str(ROUND_S), "-u", str(WARM_S * (4 if flows == MILLION else 1))]
    for letter, end in zip("ab", arm.ends):
        command += [f"-{letter}", end]
    for path in arm.sockets:
        if os.path.exists(path):
            os.unlink(path)  # the one of the run before; virtio-user does not replace it
    done = netns.run("taskset", "-c", str(arms.GENERATOR_CPU), *command, *arm.sockets, timeout=60)
    result = json.loads(done.stdout)
    if result["idle"] < IDLE_MIN:
        raise netns.CommandFailed(f"the generator was the bottleneck: idle {result['idle']:.1%}")
    return result


def _wanted(bench):
    pairs = set()
    for name in NAMES:
        if bench.wants(name):
            pairs |= set(RATIOS.get(name, (CYCLES.get(name),)))
    return pairs


def _round(bench, wanted):
    words = []
    for name, (make, loads) in ARMS.items():
        todo = [load for load in loads if f"{load}.{name}" in wanted]
        if not todo:
            continue
        with make() as arm:
            for load in todo:
                key = f"{load}.{name}"
                try:
                    result = generate(arm, *LOADS[load])
                except netns.CommandFailed as error:
                    bench.fail(key, error)
                    continue
                bench.sample(key, result["mpps"])
                bench.sample(f"{key}.generator_idle", result["idle"])
                bench.sample(f"{key}.cycles", result["tsc_hz"] / result["mpps"] / 1e6)
                words.append(f"{key} {result['mpps']:.2f} "
                             f"({bench.samples[f'{key}.cycles'][-1]:.0f} cycles)")
    bench.say(f"Mpps: {', '.join(words)}")


def measure(bench):
    wanted = _wanted(bench)
    with hugepages.Hugepages(HUGEPAGES):
        for _ in range(bench.rounds):
            _round(bench, wanted)
    for name, (a, b) in RATIOS.items():
        if bench.wants(name):
            bench.ratio(name, a, b)
    for name, arm in CYCLES.items():
        if not bench.wants(name):
            continue
        if arm in bench.failed:
            bench.fail(name, bench.failed[arm])
            continue
        bench.samples[name] = bench.samples[f"{arm}.cycles"]
        bench.value(name)
    bench.value(*sorted(wanted))
