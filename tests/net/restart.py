# SPDX-License-Identifier: BSD-3-Clause
# `insula start` whatever became of the insulad before: killed this moment, stopping, starting, two
# at once. It never takes a corpse for one that runs, and what it says is so. In a sandbox.
import json
import os
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox

ROUNDS = 20
SITE = """version: 1
tenants:
  - name: red
    networks: [{name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1}]
    instances:
      - {name: web, nics: [{network: lan, netns: web, address: 10.0.0.11}]}
      - {name: db, nics: [{network: lan, netns: db, address: 10.0.0.12}]}
"""


def begin(lab, *words, **env):
    return subprocess.Popen([lab.insula_program, *words], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=os.environ | env)


def end(process, status=0):
    out = process.communicate(timeout=60)[0]
    assert process.returncode == status, f"{process.args}: {process.returncode} {out}"
    return out


# One of each runs, is the one that was named, and has its ports.
def check_runs(lab, *outs):
    [insulad], [switch] = labs.processes("insulad"), labs.processes("insula-switch")
    status = json.loads(lab.insula("status", "-o", "json"))
    assert (status["pid"], status["switch"]["pid"]) == (insulad, switch), f"{insulad} {status}"
    for out in outs:
        assert f"(pid {insulad})" in out, f"{insulad}: {out}"
    ports = lab.list("port")
    assert [p["state"] for p in ports] == ["up", "up"] and not status["warnings"], \
        f"{ports} {status['warnings']}"


def kill(*programs):
    for program in programs:
        os.kill(labs.processes(program)[0], signal.SIGKILL)


# Both, and no time to die in.
def test_killed(lab):
    for _ in range(ROUNDS):
        kill("insulad", "insula-switch")
        out = lab.insula("start")
        assert "already" not in out, out
        check_runs(lab, out)


def test_insulad_killed(lab):
    [switch] = labs.processes("insula-switch")
    for _ in range(ROUNDS):
        kill("insulad")
        check_runs(lab, lab.insula("start"))
    assert labs.processes("insula-switch") == [switch], "the running switch was not adopted"


def test_two_at_once(lab):
    for _ in range(ROUNDS // 2):
        kill("insulad", "insula-switch")
        starts = [begin(lab, "start") for _ in range(2)]
        outs = [end(p) for p in starts]
        assert sorted("already" in out for out in outs) == [False, True], outs
        check_runs(lab, *outs)


# Its socket goes first, the taps and the lock later.
def test_stopping(lab):
    for _ in range(ROUNDS // 4):
        stop = begin(lab, "stop")
        while os.path.exists(os.path.join(os.environ["INSULA_RUN_DIR"], "insulad.sock")):
            assert stop.poll() is None or not labs.processes("insulad"), end(stop)
        out = lab.insula("start")
        end(stop)
        assert "already" not in out, out
        check_runs(lab, out)


# The first start's insulad dies before it is ready, and leaves a switch that may not listen yet:
# that start fails and says so, if it must; the second one's runs.
def test_killed_while_starting(lab):
    for _ in range(ROUNDS):
        kill("insulad", "insula-switch")
        first = begin(lab, "start")
        while not (found := labs.processes("insulad")):
            assert first.poll() is None, end(first)
        os.kill(found[0], signal.SIGKILL)
        begun = time.monotonic()
        out = lab.insula("start")
        first.communicate(timeout=60)
        assert time.monotonic() - begun < 30, "somebody waits for one that is dead"
        check_runs(lab, out)


# One that neither serves nor goes is named, with what ends it.
def test_hanging(lab):
    [insulad] = labs.processes("insulad")
    gone = os.pidfd_open(insulad)
    os.unlink(os.path.join(os.environ["INSULA_RUN_DIR"], "insulad.sock"))
    out = end(begin(lab, "start", INSULA_TIMEOUT="2"), status=1)
    assert f"kill -9 {insulad}" in out and "does not serve" in out, out
    signal.pidfd_send_signal(gone, signal.SIGKILL)
    assert select.select([gone], [], [], 10)[0], "insulad survived SIGKILL"
    check_runs(lab, lab.insula("start"))


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    for space in ("web", "db"):
        netns.create(space)
    file = os.path.join(sandbox.DIRECTORY, "site.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(SITE)
    lab.start()
    try:
        lab.apply(file)
        check_runs(lab)
        if not labs.run_cases(globals(), lab):
            sys.exit(1)
    finally:
        print("\n".join(lab.stop()))
    left = labs.processes("insulad") + labs.processes("insula-switch")
    assert not left, f"after insula stop: {left}"


main()
