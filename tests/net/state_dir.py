# SPDX-License-Identifier: BSD-3-Clause
# What runs on a run directory is of one state directory, also when its insulad has died: with
# another one, nothing starts that would end it, `insula` says whose it is, and nothing is left in
# the wrong one. What is dead keeps nobody from anything. Runs in a sandbox.
import json
import os
import select
import shutil
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

SITE = """version: 1
tenants:
  - name: red
    networks: [{name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1}]
    instances:
      - {name: a, nics: [{network: lan, netns: a, address: 10.0.0.11}]}
      - {name: b, nics: [{network: lan, netns: b, address: 10.0.0.12}]}
"""
SITE_FILE = os.path.join(sandbox.DIRECTORY, "site.yaml")
OWN, OTHER = (os.path.join(sandbox.DIRECTORY, name) for name in ("state", "other"))
# A machine as insulad sees it: who has the lock of its log.
MACHINE = """import fcntl, sys
f = open(sys.argv[1], "w")
fcntl.flock(f, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def run_dir(name=""):
    return os.path.join(os.environ["INSULA_RUN_DIR"], name)


def run(lab, *words, status=0, env=None):
    done = subprocess.run([lab.insula_program, *words], text=True, capture_output=True, timeout=60,
                          check=False, env=env)
    assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    assert not (status and done.stdout), f"{words}: {done.stdout}"
    return done.stdout + done.stderr


def insulad_program(lab):
    return os.path.join(os.path.dirname(lab.insula_program), "insulad")


def insulad(lab, *words):
    return subprocess.run([insulad_program(lab), *words], text=True, capture_output=True,
                          timeout=60, check=False)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def wait(what, get, deadline_s=20):
    deadline = time.monotonic() + deadline_s
    while not get():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.001)


# kill -9, and waits until it is dead.
def kill(pid):
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0], f"{pid} survived SIGKILL"
    os.close(pidfd)


def forwards():
    done = netns.run(*netns.inside("a"), "ping", "-c", "1", "-W", "10", "10.0.0.12", check=False)
    return done.returncode == 0


def up(lab):
    run(lab, "start")
    run(lab, "apply", "-f", SITE_FILE)
    for name, address in (("a", "10.0.0.11/24"), ("b", "10.0.0.12/24")):
        netns.ip(name, "link", "set", "eth0", "up")
        netns.ip(name, "address", "replace", address, "dev", "eth0")
    assert forwards()


# Whatever a case before left that failed.
def fresh(lab):
    for pid in labs.processes("insulad") + labs.processes("insula-switch"):
        kill(pid)
    insulad(lab, "--clean-up")
    shutil.rmtree(OTHER, ignore_errors=True)


# Its insulad has died; the switch, whose number is returned, goes on.
def leave_switch(lab):
    fresh(lab)
    up(lab)
    kill(*labs.processes("insulad"))
    [switch] = labs.processes("insula-switch")
    return switch


def check_refused(text, *what):
    for word in (OWN, OTHER, f"{run_dir()[:-1]} ", f"--state-dir {OWN} stop`", *what):
        assert word in text, (word, text)
    assert not os.path.exists(OTHER), "a start that was refused made a directory"


# The switch forwards on, and what the sentence says to do does it.
def test_start_with_another(lab):
    switch = leave_switch(lab)
    number = f"insula-switch (pid {switch})"
    check_refused(run(lab, "--state-dir", OTHER, "start", status=1), number)
    done = insulad(lab, "--state-dir", OTHER)
    assert done.returncode == 1, done
    check_refused(done.stderr, number)
    assert labs.processes("insula-switch") == [switch] and forwards()
    assert read(run_dir("state_dir")) == OWN + "\n"

    run(lab, "--state-dir", OWN, "start")
    assert labs.processes("insula-switch") == [switch] and forwards()
    run(lab, "stop")
    assert not os.path.exists(run_dir()), "RUN_DIR is still there"


# The one that is its own, by another path, and also when it was lost.
def test_start_with_its_own(lab):
    link = OWN + "-link"
    os.symlink(OWN, link)
    switch = leave_switch(lab)
    run(lab, "--state-dir", link, "start")
    assert labs.processes("insula-switch") == [switch] and forwards()
    kill(*labs.processes("insulad"))
    os.rename(OWN, OWN + "-lost")
    os.unlink(link)
    run(lab, "start")
    run(lab, "stop")


def start_machine():
    os.makedirs(run_dir("vm/7"), exist_ok=True)
    machine = subprocess.Popen(  # pylint: disable=consider-using-with
        [sys.executable, "-c", MACHINE, run_dir("vm/7/log")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert machine.stdout.readline() == b"locked\n"
    return machine


# A virtual machine goes on without a switch, too. It is no obstacle when it is dead.
def test_machine(lab):
    kill(leave_switch(lab))
    with start_machine() as machine:
        check_refused(run(lab, "--state-dir", OTHER, "start", status=1), "(1 virtual machine)")
        check_refused(insulad(lab, "--state-dir", OTHER).stderr, "(1 virtual machine)")
        machine.kill()
    take_over(lab)


def take_over(lab):
    run(lab, "--state-dir", OTHER, "start")
    assert read(run_dir("state_dir")) == OTHER + "\n"
    run(lab, "--state-dir", OTHER, "stop")
    shutil.rmtree(OTHER)


# Not waited for: they may still be about to die.
def test_all_killed(lab):
    switch = leave_switch(lab)
    os.kill(switch, signal.SIGKILL)
    take_over(lab)


# One that dies while insulad looks is waited for.
def test_dying(lab):
    kill(leave_switch(lab))
    with start_machine() as machine, \
         subprocess.Popen([insulad_program(lab), "--state-dir", OTHER]) as starting:
        wait("insulad", lambda: read(run_dir()[:-1] + ".lock") == f"{starting.pid}\n")
        machine.kill()
        wait("start", lambda: starting.poll() is not None or
                              read(run_dir("state_dir")) == OTHER + "\n")
        assert starting.poll() is None, "it was refused"
        run(lab, "--state-dir", OTHER, "stop")


# While it runs, and after it has died: neither stopped nor cleaned up by who names another one.
def test_stop_and_status(lab):
    other = {k: v for k, v in os.environ.items() if k != "INSULA_STATE_DIR"}
    switch = leave_switch(lab)
    for step in ("died", "runs"):
        if step == "runs":
            run(lab, "start")
        for word in ("stop", "status"):
            for text in (run(lab, "--state-dir", OTHER, word, status=1),
                         run(lab, word, status=1, env=other | {"INSULA_STATE_DIR": OTHER})):
                assert f"state directory {OWN} instead of {OTHER}; " in text, text
        assert labs.processes("insula-switch") == [switch] and not os.path.exists(OTHER)
    own = json.loads(run(lab, "--state-dir", OWN, "status", "-o", "json"))
    unnamed = json.loads(run(lab, "status", "-o", "json", env=other))
    assert own["state_dir"] == unnamed["state_dir"] == OWN
    os.rename(run_dir("state_dir"), run_dir("moved"))  # a former version's: it is asked
    assert f"{OWN} instead of" in run(lab, "--state-dir", OTHER, "stop", status=1)
    run(lab, "stop", env=other)


# Whose log it is that tells of the cleaning up.
def test_clean_up_unnamed(lab):
    leave_switch(lab)
    with open(os.path.join(OWN, "insulad.log"), encoding="utf-8") as log:
        log.seek(0, os.SEEK_END)
        unnamed = {k: v for k, v in os.environ.items() if k != "INSULA_STATE_DIR"}
        assert "is cleaned up" in run(lab, "stop", env=unnamed)
        assert "cleaning up behind a dead insulad" in log.read()


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    for name in ("a", "b"):
        netns.create(name)
    with open(SITE_FILE, "w", encoding="utf-8") as f:
        f.write(SITE)
    assert os.environ["INSULA_STATE_DIR"] == OWN
    lab.started = True
    labs.run_to_end(globals(), lab)


main()
