# SPDX-License-Identifier: BSD-3-Clause
# replay.pps and replay.start_s: packets that `insula replay` carries in a second on one processor,
# and how long it takes to begin; see README.md. Called by bench.py.
import os
import tempfile
import time

import lab as labs
import netns
import sandbox
import workloads

NAMES = ("replay.pps", "replay.start_s")
WORKLOAD, PERIOD = "l2", 4 * workloads.BURST  # after which its packets come again
PACKETS = 512 * 1024
CPU = 0


# Seconds that a replay takes, to the exit of the command.
def _seconds(words, folder):
    build = os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build"))
    out = os.path.join(folder, "out")
    begin = time.monotonic()
    netns.run("taskset", "-c", str(CPU), os.path.join(build, "control", "insula"), "replay", *words,
              "--out", out)
    took = time.monotonic() - begin
    netns.run("rm", "-r", out)
    return took


def measure(bench):
    netns.run("mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", sandbox.DIRECTORY)
    with tempfile.TemporaryDirectory(dir=sandbox.DIRECTORY) as folder:
        loads = []
        for n in (PERIOD, PACKETS, 2 * PACKETS) if bench.wants("replay.pps") else (PERIOD,):
            os.mkdir(os.path.join(folder, str(n)))
            words, _ = workloads.make(WORKLOAD, n, os.path.join(folder, str(n)), PERIOD)
            loads.append([word for word in words if word not in ("--burst", str(workloads.BURST))])
        for _ in range(bench.rounds):
            start, *long = (_seconds(words, folder) for words in loads)
            bench.sample("replay.start_s", start)
            bench.say(f"replay: {start:.2f} s for {PERIOD} packets")
            if long:
                bench.sample("replay.pps", PACKETS / (long[1] - long[0]))
                bench.say(f"replay: {bench.samples['replay.pps'][-1]:.0f} packets a second")
    netns.run("umount", sandbox.DIRECTORY)
    bench.value(*(name for name in NAMES if name in bench.samples))
