# SPDX-License-Identifier: BSD-3-Clause
# The demo interrupted, killed, failing at a step, and started twice: it leaves nothing behind, and
# the first of two is not disturbed.
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time

import demo_lib
import lock
import snapshot
import supervisor

MOMENTS = ("applied in", "Leases, as the", "Through SNAT")  # begins of lines


# Processes by the mark that a demo's inherit: other labs use the same names.
def look():
    items = snapshot.network() | snapshot.machine((), (lock.DIRECTORY,))
    return {k: v for k, v in items.items()
            if (supervisor.carries(k.split()[1], f"{supervisor.MARK}=")
                if k.startswith("process: ") else
                "insdemo" in k or "insula" in k or "resolv" in k)}


# Waits until nobody holds the lock any more: the supervisor has ended.
def wait_unlocked():
    try:
        fd = os.open(lock.DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(fd)


def check_gone(before, allowed=()):
    wait_unlocked()
    deadline = time.monotonic() + 20  # the kernel takes a killed sandbox apart in the background
    while left := [d for d in snapshot.compare(before, look()) if d not in allowed]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def state():
    answer = lock.ask("state")
    assert answer, "the demo does not answer"
    return answer


def interrupted(before, moment):
    demo = demo_lib.start()
    demo_lib.wait_line(demo, moment)
    demo.send_signal(signal.SIGINT)
    text, _ = demo.communicate(timeout=90)
    assert demo.returncode == 1, demo.returncode
    assert demo_lib.problems(text) == ["stopped before the end"], text
    check_gone(before)


def killed(before, moment, whom):
    demo = demo_lib.start()
    demo_lib.wait_line(demo, moment)
    pid = state()["supervisor"]
    allowed = ()
    if whom != "supervisor":
        demo.kill()
    if whom != "front":
        os.kill(pid, signal.SIGKILL)
    if whom == "both":  # the one thing nobody is left to remove; --stop and the next start do
        allowed = (f"left behind: file: {lock.DIRECTORY} there",)
    demo.communicate(timeout=90)
    assert demo.returncode != 0
    check_gone(before, allowed)
    if whom == "both":
        cleared(before)


# Not the lock of a demo that builds, which does not answer yet either.
def cleared(before):
    held = os.open(lock.DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    code, text = demo_lib.run("--stop")
    assert code == 1 and "just starting" in text and os.path.exists(lock.CONTROL), (code, text)
    os.close(held)
    for said in (f"no demo is running; {lock.DIRECTORY}, which a killed one left, is removed\n",
                 "no demo is running\n"):
        code, text = demo_lib.run("--stop")
        assert code == 0 and text == said, (code, text)
    check_gone(before)


def failing(before):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("version: 1\ntenants: [{nonsense: 1}]\n")
        file.flush()
        code, text = demo_lib.run("--apply", file.name)
    named = demo_lib.problems(text)
    assert code == 1 and len(named) == 1 and f"{file.name}:2: " in named[0], (code, named)
    check_gone(before)


def twice(before):
    first = demo_lib.start()
    demo_lib.wait_line(first, "Leases, as the")
    code, text = demo_lib.run()
    assert code == 1 and "already running" in text, (code, text)
    text, _ = first.communicate(timeout=120)
    assert first.returncode == 0, text
    check_gone(before)


# Another lab's process with our names: one that ends meanwhile, and one that starts.
def others(before):
    words = [sys.executable, "-c", "import sys; sys.stdin.read()", "insdemo-red-1", "insula-switch"]
    ends = subprocess.Popen(words, stdin=subprocess.PIPE)
    demo = demo_lib.start()
    demo_lib.wait_line(demo, "applied in")
    ends.communicate()
    with subprocess.Popen(words, stdin=subprocess.PIPE) as stays:
        demo.send_signal(signal.SIGINT)
        text, _ = demo.communicate(timeout=90)
        stays.stdin.close()
    assert demo_lib.problems(text) == ["stopped before the end"], text
    check_gone(before)


# Told at once, in one line.
def refused(before):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("version: 1\ntenants: []\n")  # without an uplink
        file.flush()
        refused_words(("--policy", file.name))
    for words in (("--json", "/nonexistent/x.json"), ("--json=/etc",), ("--nonsense",),
                  ("--policy", "/nosuch.yaml"), ("--policy=/dev/null",), ("--policy", __file__)):
        refused_words(words)
    check_gone(before)


def refused_words(words):
    was_there = os.path.exists(lock.DIRECTORY)  # a killed demo's, empty
    code, text = demo_lib.run(*words)
    assert code == 2 and "Traceback" not in text and "applied" not in text, (code, text)
    assert words[0] == "--nonsense" or len(text.splitlines()) == 1, text
    assert was_there or not os.path.exists(lock.DIRECTORY), "the lock's directory is left"


def kept(before):
    code, text = demo_lib.run("--keep")
    assert code == 0 and "./dev demo --stop" in text, (code, text)
    code, text = demo_lib.run("--enter", "ip", "netns", "exec", "insdemo-red-1", "ping", "-c", "1",
                              "-W", "5", "10.0.0.12")
    assert code == 0, text
    code, text = demo_lib.run("--stop")
    assert code == 0, text
    check_gone(before)


def main():
    if lock.ask("state") is None:
        lock.clear()  # what a demo left that was killed earlier
    before = look()
    for moment in MOMENTS:
        print(f"interrupted at '{moment}'", flush=True)
        interrupted(before, moment)
    whom = itertools.cycle(("front", "supervisor", "both"))
    for moment, victim in zip(MOMENTS, whom):
        print(f"{victim} killed at '{moment}'", flush=True)
        killed(before, moment, victim)
    for case in (failing, refused, others, twice, kept):
        print(case.__name__, flush=True)
        case(before)


main()
