# SPDX-License-Identifier: BSD-3-Clause
# The JSON of `dev bench`, of the figure that takes least: its names and what they hold are what a
# script reads. Also the goals: of no figure that is not there.
import json
import os
import subprocess
import sys
import tempfile
import time

PERF = os.path.join(os.environ["INSULA_ROOT"], "tests", "perf")
sys.path.insert(0, PERF)
import waits  # noqa: E402  pylint: disable=wrong-import-position

FIGURE, OTHER = "replay.start_s", "idle.cpu_percent"


LOCK = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
QUIET_S = 60  # for a machine with other work to do


# With a lock of its own: another bench on the machine is nobody's business here.
def run(*words, **variables):
    variables["INSULA_BENCH_LOCK"] = os.path.join(LOCK.name, "lock")
    return subprocess.run([os.path.join(PERF, "run.sh"), *words], capture_output=True, text=True,
                          timeout=100, check=False, env=os.environ | variables)


# Programs that are not there: each figure is told to have failed, none takes the others with it.
def check_failed(path):
    done = run(FIGURE, OTHER, "--quick", "--json", path, INSULA_BUILD="/nonexistent")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.count("FAILED") == 2, done.stdout
    with open(path, encoding="ascii") as file:
        result = json.load(file)
    assert set(result["failed"]) == {FIGURE, OTHER} and not result["values"], result


# Told at once, in a sentence.
def check_refused():
    done = run(FIGURE, "--json", "/nonexistent/out.json")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr == "dev bench: /nonexistent/out.json: No such file or directory\n", done


# Two that never sleep on one processor, and each is seen to wait for the other.
def check_waits():
    cpu = str(min(os.sched_getaffinity(0)))
    spin = ["taskset", "-c", cpu, sys.executable, "-c", "while True: pass"]
    both = [subprocess.Popen(spin) for _ in range(2)]
    try:
        before = [waits.times(process.pid) for process in both]
        spent, deadline = [(0, 0)], time.monotonic() + 60
        while min(ran for ran, _ in spent) < 0.3:
            assert time.monotonic() < deadline, f"no processor within a minute: {spent}"
            time.sleep(0.02)
            spent = [waits.busiest(then, waits.times(process.pid))
                     for then, process in zip(before, both)]
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert all(waited > 0.2 * ran for ran, waited in spent), spent


def main():
    check_waits()
    check_refused()
    names = run("--list").stdout.split()
    assert FIGURE in names, names
    with open(os.path.join(PERF, "goals.json"), encoding="ascii") as file:
        goals = json.load(file)
    assert set(goals) <= set(names), f"goals of no figure: {set(goals) - set(names)}"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.json")
        deadline = time.monotonic() + QUIET_S
        done = run(FIGURE, "--quick", "--json", path)
        # While others work there is no figure.
        while f"{FIGURE} failed: others" in done.stdout and time.monotonic() < deadline:
            done = run(FIGURE, "--quick", "--json", path)
        # A machine with other work to do may miss the goal; that is told, and no failure here.
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
        assert FIGURE in done.stdout and "goal < 0.3" in done.stdout, done.stdout
        with open(path, encoding="ascii") as file:
            result = json.load(file)
        check_failed(path)
    assert set(result) == {"ratios", "values", "samples", "host"}, result
    assert result["ratios"] == {} and set(result["values"]) == {FIGURE}, result
    samples = result["samples"][FIGURE]
    assert len(samples) == 3 and result["values"][FIGURE] == sorted(samples)[1] > 0, result
    assert {"cpu", "cpus", "kernel", "load_before", "load_after"} <= set(result["host"]), result
    print(f"bench: {FIGURE} is {result['values'][FIGURE]}, {len(goals)} goals")


sys.exit(main())
