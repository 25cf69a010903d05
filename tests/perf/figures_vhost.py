# SPDX-License-Identifier: BSD-3-Clause
# vhost*: frames per second between two vhost-user ports, beside Open vSwitch and testpmd's io loop;
# see README.md. generator.c is the far end of both ports in every arm. Called by bench.py.
import json
import os
import subprocess
import threading

import arms
import hugepages
import lab as labs
import netns
import waits

NAMES = ("vhost64.l2.vs_ovs", "vhost64.l2.vs_limit", "vhost64.stateful.vs_ovs",
         "vhost64.stateful.vs_limit", "vhost1500.stateful.vs_ovs", "vhost64.flows1m.vs_flows1",
         "cycles.l2", "cycles.stateful")
ROUND_S, WARM_S = 3, 1
MILLION = 1_000_000
FLOWS = 64  # of the figures that are not about their number
IDLE_MIN = 0.05  # of the generator's time: below, it was the bottleneck
WAIT_MAX = 0.03  # of a round that switch or generator may wait for their processors
TRIES = 4  # of a round that is disturbed
TIMEOUT_S = 60
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


class Disturbed(netns.CommandFailed):
    """Somebody else had the processor: what was measured is not the switch."""


# Runs the generator; its output, and of generator and switch (seconds run, waited) meanwhile.
def _run(arm, command):
    seen, text = {}, ""
    with netns.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                seen[line.strip()] = [waits.times(pid) for pid in (process.pid, arm.switch_pid())]
                text = line
            errors = process.stderr.read()
            status = process.wait()
        finally:
            timer.cancel()
    if status:
        raise netns.CommandFailed(f"{' '.join(command)}: exit {status}: {errors}{text}")
    return json.loads(text), [waits.busiest(*both) for both in zip(seen["begin"], seen["end"])]


# One round: what the generator says, and `cycles` that the switch ran for a frame.
def generate(arm, size, flows):
    build = os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build"))
    command = [os.path.join(build, "tests", "perf", "generator"), "-s", str(size), "-f", str(flows),
               "-t", str(ROUND_S), "-u", str(WARM_S * (4 if flows == MILLION else 1))]
    for letter, end in zip("ab", arm.ends):
        command += [f"-{letter}", end]
    for path in arm.sockets:
        if os.path.exists(path):
            os.unlink(path)  # the one of the run before; virtio-user does not replace it
    command = ["taskset", "-c", str(arms.GENERATOR_CPU), *command, *arm.sockets]
    result, ((_, own_wait), (ran, wait)) = _run(arm, command)
    if max(own_wait, wait) > WAIT_MAX * result["seconds"]:
        raise Disturbed("others had the processors: of the round's time the generator waited for "
                        f"its own {own_wait / result['seconds']:.1%}, the switch "
                        f"{wait / result['seconds']:.1%}")
    if result["idle"] < IDLE_MIN:
        raise netns.CommandFailed(f"the generator was the bottleneck: idle {result['idle']:.1%}")
    return result | {"cycles": ran * result["tsc_hz"] / result["frames"]}


def _generate_undisturbed(bench, key, arm, load):
    for attempt in range(1, TRIES + 1):
        try:
            return generate(arm, *LOADS[load])
        except Disturbed as error:
            if attempt == TRIES:
                raise netns.CommandFailed(f"{TRIES} times in turn {error}") from None
            bench.say(f"{key}: once more: {error}")
    raise AssertionError("a try ends in a result or in what is raised")


def _wanted(bench):
    pairs = set()
    for name in NAMES:
        if bench.wants(name):
            pairs |= set(RATIOS.get(name, (CYCLES.get(name),)))
    return pairs


def _round(bench, wanted):
    words = []
    for name, (make, loads) in ARMS.items():
        todo = [load for load in loads if f"{load}.{name}" in wanted
                and f"{load}.{name}" not in bench.failed]
        if not todo:
            continue
        with make() as arm:
            for load in todo:
                key = f"{load}.{name}"
                try:
                    result = _generate_undisturbed(bench, key, arm, load)
                except netns.CommandFailed as error:
                    bench.fail(key, error)
                    continue
                bench.sample(key, result["mpps"])
                bench.sample(f"{key}.generator_idle", result["idle"])
                bench.sample(f"{key}.cycles", result["cycles"])
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
