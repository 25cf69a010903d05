#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# How many instructions of our own objects each stage takes for a packet of each workload, counted
# by callgrind over `insula replay` and compared with instructions.txt. DPDK's archives and the C
# library do not count: the one is not ours, the other takes what the processor offers. Each
# workload is replayed with N and with 2 N packets, and what N more cost is what is told: neither
# the start nor the first packets of a flow are in it. See README.md; run by
# tests/replay/test_instructions.sh.
import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import workloads

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "instructions.txt")
BUILD = os.path.realpath(os.environ.get("INSULA_BUILD", os.path.join(workloads.ROOT, "build")))
BLESS = "tests/perf/instructions.py --bless"
PACKETS = 1024
GROWTH = 1.03
DEPTH = 12  # callers that callgrind keeps apart: more than lie between a stage and its leaves
SKIPPED = 77  # exit status: see tests/README.md
# gcc's own copies of a function are that function.
CLONE = re.compile(r"\.(part|isra|constprop|cold)(\.\d+)*")


# Started by `insula replay` in insula-switch's place.
def _write_wrapper(folder):
    path = os.path.join(folder, "switch")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"""#!/bin/sh
exec valgrind --tool=callgrind --quiet --toggle-collect=replay_run --separate-callers={DEPTH} \\
	--callgrind-out-file='{folder}/counts' '{BUILD}/vswitch/insula-switch' "$@"
""")
    os.chmod(path, 0o755)
    return path


# callgrind's self costs: (file, [function, its caller, its caller's caller...], instructions).
def _self_costs(path):
    names, files, objects = {}, {}, {}
    keep = {"fn": names, "cfn": names, "fl": files, "fi": files, "fe": files, "cfi": files,
            "cfl": files, "ob": objects, "cob": objects}
    file = function = ""
    called = False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            found = re.match(r"(\w+)=\((\d+)\)(?: (.*))?$", line)
            if found:
                key, number, text = found.groups()
                table = keep[key]
                if text:
                    table[number] = text
                if key == "fl":
                    file = table[number]
                elif key == "fn":
                    function = table[number]
            elif line.startswith("calls="):
                called = True  # the next line is what the callee cost
            elif line[0] in "0123456789+-*":
                if not called:
                    yield file, function.split("'"), int(line.split()[1])
                called = False


# Compiled into our objects: our files, and what headers put there.
def _is_ours(file):
    path = os.path.realpath(file)
    return path.startswith((workloads.ROOT + os.sep, "/usr/include/"))


def _is_replays(file):
    return os.path.basename(file).startswith("replay")


# Instructions by stage. What replay itself does to hear of packets in them does not count.
def _by_stage(path):
    costs = list(_self_costs(path))
    replays = {chain[0] for file, chain, _ in costs if _is_replays(file)}
    stages = collections.Counter()
    for file, chain, cost in costs:
        chain = [CLONE.sub("", name) for name in chain]
        # The outermost: a stage that answers runs the last stages over its answer.
        at = [i for i, name in enumerate(chain) if name.startswith("stage_")]
        if at and _is_ours(file) and not replays.intersection(chain[:at[-1]]):
            stages[chain[at[-1]].removeprefix("stage_")] += cost
    return stages


def _replay(name, n):
    with tempfile.TemporaryDirectory(prefix="insula-counts-") as folder:
        words, outcome = workloads.make(name, n, folder)
        done = subprocess.run(
            [os.path.join(BUILD, "control", "insula"), "replay", *words, "--json", "--out",
             os.path.join(folder, "out")], capture_output=True, text=True, timeout=100,
            check=False, env=os.environ | {"INSULA_SWITCH": _write_wrapper(folder)})
        if done.returncode != 0:
            sys.exit(f"{name}: {done.stderr}")
        return _by_stage(os.path.join(folder, "counts")), json.loads(done.stdout)[outcome]


# Instructions of each stage for one packet.
def count(name):
    (few, few_done), (many, many_done) = (_replay(name, n) for n in (PACKETS, 2 * PACKETS))
    if many_done - few_done != PACKETS:
        sys.exit(f"{name}: {many_done - few_done} of {PACKETS} packets ended as they should")
    return {stage: (many[stage] - few[stage]) / PACKETS for stage in many}


def _stage_order():
    with open(os.path.join(workloads.ROOT, "vswitch", "pipeline.c"), encoding="ascii") as file:
        return re.findall(r"^\t\{ \"(\w+)\", stage_", file.read(), re.MULTILINE)


def count_all():
    order = _stage_order()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, stages in zip(workloads.WORKLOADS, pool.map(count, workloads.WORKLOADS)):
            for stage in order:
                if stages.get(stage, 0) > 0:
                    yield (name, stage), round(stages[stage], 1)
            yield (name, "all"), round(sum(stages.values()), 1)


# What decides how many there are beside the source: the compiler as it signed an object, and how it
# was told to compile.
def conditions():
    with open(os.path.join(BUILD, "vswitch/libvswitch.a.p/pipeline.c.o"), "rb") as file:
        signed = re.search(rb"(GCC|clang)[^\0]*? (\d+\.\d+\.\d+)", file.read())
    with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as f:
        options = {o["name"]: o["value"] for o in json.load(f)}
    return (f"{signed[1].decode()} {signed[2].decode()}, {options['buildtype']}, "
            f"march {options['march']}")


def read():
    with open(RECORD, encoding="ascii") as file:
        lines = [line.split() for line in file if line.strip()]
    made_by = next(" ".join(words[2:]) for words in lines if words[:2] == ["#", "by"])
    return made_by, {(name, stage): float(number)
                     for name, stage, number in (w for w in lines if w[0] != "#")}


def write(made_by, counts):
    with open(RECORD, "w", encoding="ascii") as file:
        file.write("# Instructions of our own objects for one packet: workload, stage, number. "
                   "Written by\n"
                   f"# {BLESS}; what they are: README.md\n"
                   f"# by {made_by}\n")
        for (name, stage), number in counts.items():
            if stage == _stage_order()[0]:
                file.write("\n")
            file.write(f"{name:9} {stage:12} {number:8.1f}\n")


# Tells what differs; whether something grew.
def compare(counts, recorded):
    grown = False
    for key in counts.keys() | recorded.keys():
        now, before = counts.get(key, 0), recorded.get(key, 0)
        if now > before * GROWTH:
            grown = True
            print(f"grown: {' '.join(key)}: {before} -> {now} instructions for a packet")
        elif now * GROWTH < before:
            print(f"fewer: {' '.join(key)}: {before} -> {now}; {BLESS} holds it there")
    return grown


def main():
    parser = argparse.ArgumentParser(
        description="Instructions for a packet, stage by stage, against the recorded ones.")
    parser.add_argument("--bless", action="store_true", help="record what is counted now")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        print("no valgrind: sudo ./dev deps test")
        sys.exit(SKIPPED)
    made_by = conditions()
    if not args.bless and read()[0] != made_by:
        print(f"recorded by {read()[0]}, this build is {made_by}: not comparable")
        sys.exit(SKIPPED)
    counts = dict(count_all())
    if args.bless:
        write(made_by, counts)
    elif compare(counts, read()[1]):
        sys.exit(f"more than {GROWTH - 1:.0%} more instructions. If that is what it costs, record "
                 f"it in the same commit: {BLESS}")


main()
