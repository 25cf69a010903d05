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
import figures_apply
import figures_tap
import figures_vhost
import figures_wake

# What a figure may not miss; dev bench then exits with 1. The others are only told.
AT_LEAST = {"tap.tcp.vs_bridge": 0.5}
AT_MOST = {"idle.cpu_percent": 1, "switch.rss_mib": 64, "apply.ports1000_s": 2,
           "apply.remove1000_s": 2}
MODULES = (figures_vhost, figures_tap, figures_wake, figures_apply)


class Bench:
    """What the figures measured: ratios, values and the samples they are medians of."""

    def __init__(self, wanted, quick):
        self.rounds = 3 if quick else 5
        self._wanted = wanted
        self.ratios, self.values, self.samples = {}, {}, {}

    def wants(self, *names):
        return any(matches(name, self._wanted) for name in names)

    # One round's measurement; several of a name make its median.
    def sample(self, name, value):
        self.samples.setdefault(name, []).append(round(value, 4))

    # Each round's a over its b, which were measured next to each other.
    def ratio(self, name, a, b):
        self.samples[name] = [round(x / y, 4) for x, y in zip(self.samples[a], self.samples[b])]
        self.ratios[name] = spread(self.samples[name])

    def value(self, *names):
        for name in names:
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
    parser = argparse.ArgumentParser(prog="dev bench", add_help=False)
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


# The figures that missed.
def missed(bench):
    medians = bench.values | {name: ratio["median"] for name, ratio in bench.ratios.items()}
    for name, found in medians.items():
        if found < AT_LEAST.get(name, found) or found > AT_MOST.get(name, found):
            yield name


def report(bench, names):
    for name in names:
        if name in bench.ratios:
            r = bench.ratios[name]
            print(f"{name:24} {r['median']:8.2f}   min {r['min']:.2f}, max {r['max']:.2f}")
        else:
            samples = bench.samples[name]
            print(f"{name:24} {bench.values[name]:8.2f}   min {min(samples):.2f}, "
                  f"max {max(samples):.2f}")


def main():
    args = arguments()
    if args.list:
        print("\n".join(all_names()))
    if args.list or args.check:
        return
    # Opened now: a wrong path is told before the minutes, and the sandbox hides some folders.
    with open(args.json or os.devnull, "w", encoding="ascii") as out:
        bench = Bench(args.names, args.quick)
        result = {"host": host() | {"load_before": os.getloadavg()[0]}}
        print(f"{result['host']['cpus']} processors, load {os.getloadavg()[0]:.1f} before",
              flush=True)
        for module in MODULES:
            if bench.wants(*module.NAMES):
                module.measure(bench)
        result["host"]["load_after"] = os.getloadavg()[0]
        result |= {"ratios": bench.ratios, "values": bench.values, "samples": bench.samples}
        json.dump(result, out, indent=1)
    print()
    report(bench, [name for name in all_names() if bench.wants(name)])
    if bad := list(missed(bench)):
        sys.exit(f"dev bench: missed: {', '.join(bad)} (see tests/perf/README.md)")


main()
