# SPDX-License-Identifier: BSD-3-Clause
# Where the switch's cycles go while it is the bottleneck of 64-byte frames: a sample of its
# instruction pointers, 4,000 a second by perf's clock (no counters of the processor's are needed),
# by the source file that the outermost function is in, each as cycles for a frame. See README.md.
# Runs in a sandbox, started by run.sh.
import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import alone
import arms
import figures_vhost
import hugepages
import lab as labs
import netns

FREQUENCY, LOAD = 4000, "vhost64"
SAMPLE = re.compile(r"^\s*([\d.]+):\s+([0-9a-f]+) (.+) \((.+)\)$")


# What perf saw: (seconds, address in the object, function, object).
def _samples(path):
    done = netns.run("perf", "script", "-i", path, "-F", "time,ip,sym,dso", timeout=60)
    for line in done.stdout.splitlines():
        if found := SAMPLE.match(line):
            at, ip, function, place = found.groups()
            yield float(at), int(ip, 16), function, place


# Source file of each function of the switch, by name.
def _files(binary):
    files = {}
    lines = netns.run("nm", "--defined-only", "-l", binary, timeout=120).stdout.splitlines()
    for line in lines:
        words = line.split()
        if len(words) > 3:
            files[words[2]] = os.path.basename(words[3].rsplit(":", 1)[0])
    return files


# The generator's run under perf; its result, and the samples of its measured seconds.
def _record(arm, folder):
    switch = labs.processes("insula-switch")[0]
    path = os.path.join(folder, "samples")
    with netns.popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-p",
                      str(switch), "-o", path], stderr=subprocess.DEVNULL) as perf:
        size, flows = figures_vhost.LOADS[LOAD]
        try:
            result = figures_vhost.generate(arm, size, flows)
        finally:
            perf.send_signal(signal.SIGINT)
    samples = list(_samples(path))
    # It ends with the generator, whose last seconds are the measured ones; the end is cut off, too.
    end = samples[-1][0] - 0.5
    return result, [s for s in samples if end - result["seconds"] + 1 < s[0] < end]


def main():
    parser = argparse.ArgumentParser(prog="dev bench --where", add_help=False)
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--check", action="store_true")  # of run.sh: only the arguments
    args = parser.parse_args()
    if args.check:
        return
    alone.end_at_once()
    try:
        with hugepages.Hugepages(figures_vhost.HUGEPAGES), arms.Insula() as arm, \
                tempfile.TemporaryDirectory() as folder:
            binary = os.readlink(f"/proc/{labs.processes('insula-switch')[0]}/exe")
            result, samples = _record(arm, folder)
    except netns.CommandFailed as error:
        sys.exit(f"dev bench: {error}")
    files = _files(binary)
    where = collections.Counter()
    for _, _, function, place in samples:
        name = function.split("+")[0]
        file = files.get(name.split(".")[0], os.path.basename(place))
        where[f"{file}: {name}" if args.functions else file] += 1
    cycles = result["cycles"]
    print(f"{result['mpps']:.2f} Mpps, {cycles:.0f} cycles a frame, {len(samples)} samples")
    for name, n in where.most_common():
        if n * 200 >= len(samples):
            print(f"{name:44} {cycles * n / len(samples):6.0f}  {100 * n / len(samples):4.1f} %")


main()
