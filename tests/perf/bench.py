# SPDX-License-Identifier: BSD-3-Clause
# dev bench: picks figures by name, measures them one after the other, prints and writes the result.
# Runs in a sandbox, started by run.sh; a figure's measuring is in figures_*.py.
import argparse
import json
import os
import platform
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import alone
import figures_apply
import figures_boot
import figures_dhcp
import figures_replay
import figures_tap
import figures_vhost
import figures_vmm
import figures_wake
import netns
import others

# What a figure may not miss; dev bench then exits with 1. The others are only told.
with open(os.path.join(HERE, "goals.json"), encoding="ascii") as goals:
    GOALS = json.load(goals)
OTHERS_PERCENT = 3
MODULES = (figures_vhost, figures_tap, figures_wake, figures_apply, figures_dhcp, figures_replay,
           figures_vmm, figures_boot)


class Bench:
    """What the figures measured: ratios, values and the samples they are medians of."""

    def __init__(self, wanted, quick):
        self.rounds = 3 if quick else 5
        self._wanted = wanted
        self.ratios, self.values, self.samples = {}, {}, {}
        self.failed = {}  # samples and figures that there are none of, and why

    def wants(self, *names):
        return any(matches(name, self._wanted) for name in names)

    # One round's measurement; several of a name make its median.
    def sample(self, name, value):
        self.samples.setdefault(name, []).append(round(value, 4))

    # One that fails does not take the others with it; nothing is made of what it rests on.
    def fail(self, name, why):
        if name not in self.failed:
            self.say(f"{name} failed: {why}")
        self.failed[name] = str(why)
        self.ratios.pop(name, None)
        self.values.pop(name, None)

    # Each round's a over its b, which were measured next to each other.
    def ratio(self, name, a, b):
        for part in (a, b):
            if part in self.failed:
                self.fail(name, f"{part}: {self.failed[part]}")
                return
        self.samples[name] = [round(x / y, 4) for x, y in zip(self.samples[a], self.samples[b])]
        self.ratios[name] = spread(self.samples[name])

    def value(self, *names):
        for name in names:
            if name in self.failed:
                continue
            self.values[name] = round(statistics.median(self.samples[name]), 4)

    def say(self, text):
        print(text, flush=True)


def spread(samples):
    return {"median": round(statistics.median(samples), 4), "min": min(samples),
            "max": max(samples)}


def matches(name, wanted):
    return not wanted or any(name == w or name.startswith(w + ".") for w in wanted)


def all_names():
    return [name for module in MODULES for name in module.NAMES]


# Load of others says how far to believe the figures.
def host():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")),
                     "unknown")
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        control = file.read().strip()
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "tcp_congestion_control": control,
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20}


def arguments():
    parser = argparse.ArgumentParser(
        prog="dev bench", add_help=False,
        usage="dev bench [NAME...] [--quick] [--json FILE], or --list, --where, --help")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--check", action="store_true")  # of run.sh: only the arguments
    args = parser.parse_args()
    for wanted in args.names:
        if not any(matches(name, [wanted]) for name in all_names()):
            parser.error(f"no figure '{wanted}'; there are: {' '.join(all_names())}")
    return args


# Whether a median is what it should be.
def meets(name, median):
    goal = GOALS.get(name, {})
    return median >= goal.get("at_least", median) and median < goal.get("below", median + 1)


# "goal >= 1.5: met", or nothing.
def verdict(name, median):
    words = {"at_least": ">=", "below": "<"}
    return "".join(f"   goal {words[how]} {limit}: {'met' if meets(name, median) else 'MISSED'}"
                   for how, limit in GOALS.get(name, {}).items())


# Measures the wanted figures of a module. What ends it ends those of them that it has not got to; a
# machine that others keep busy has none.
def measure(module, bench):
    before = others.now()
    try:
        module.measure(bench)
    except netns.CommandFailed as error:
        for name in module.NAMES:
            if bench.wants(name) and name not in bench.ratios and name not in bench.values:
                bench.fail(name, error)
    user, system = others.percent(before, others.now())
    share = user + system
    bench.say(f"others had {share:.1f} % of the processors' time, {system:.1f} in system calls")
    if share > OTHERS_PERCENT:
        for name in filter(bench.wants, module.NAMES):
            bench.fail(name, f"others had {share:.0f} % of the processors' time")


# Prints the figures; gives those that missed or failed.
def report(bench, names):
    missed = []
    for name in names:
        if name in bench.failed:
            print(f"{name:26}     FAILED   {bench.failed[name]}")
            missed.append(name)
            continue
        r = bench.ratios[name] if name in bench.ratios else spread(bench.samples[name])
        print(f"{name:26} {r['median']:10.2f}   min {r['min']:.2f}, max {r['max']:.2f}"
              f"{verdict(name, r['median'])}")
        if not meets(name, r["median"]):
            missed.append(name)
    return missed


# Opened first: a wrong path is told before the minutes, and the sandbox hides some folders.
def open_result(path):
    try:
        return open(path or os.devnull, "w", encoding="ascii")
    except OSError as error:
        sys.exit(f"dev bench: {path}: {error.strerror}")


def main():
    args = arguments()
    if args.list:
        print("\n".join(all_names()))
    if args.list or args.check:
        return
    alone.end_at_once()
    with open_result(args.json) as out:
        bench = Bench(args.names, args.quick)
        result = {"host": host() | {"load_before": os.getloadavg()[0]}}
        print(f"{result['host']['cpus']} processors, load {os.getloadavg()[0]:.1f} before",
              flush=True)
        for module in MODULES:
            if bench.wants(*module.NAMES):
                measure(module, bench)
        result["host"]["load_after"] = os.getloadavg()[0]
        result |= {"ratios": bench.ratios, "values": bench.values, "samples": bench.samples}
        if bench.failed:
            result["failed"] = bench.failed
        json.dump(result, out, indent=1)
    print()
    if bad := report(bench, [name for name in all_names() if bench.wants(name)]):
        sys.exit(f"dev bench: missed or failed: {', '.join(bad)} (see tests/perf/README.md)")


main()
