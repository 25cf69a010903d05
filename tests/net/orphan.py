# SPDX-License-Identifier: BSD-3-Clause
# insulad is killed while a switch of its own does not listen: just spawned, starting, or deaf. No
# such switch outlives `insula stop`, and `insula start` is not kept from working by one. The switch
# is held where it is to be met with SIGSTOP. Runs in a sandbox.
import json
import os
import re
import select
import signal
import socket
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
    instances: [{name: web, nics: [{network: lan, netns: web, address: 10.0.0.11}]}]
"""
SITE_FILE = os.path.join(sandbox.DIRECTORY, "site.yaml")
# In the place of insula-switch: while HOLD is there it stops before it becomes that program.
HOLD, BORN = (os.path.join(sandbox.DIRECTORY, name) for name in ("hold", "born"))
WRAPPER = f"""#!/bin/bash
if [ -e {HOLD} ]; then echo $$ >{BORN}.new; mv {BORN}.new {BORN}; kill -STOP $$; fi
exec "$REAL_SWITCH" "$@"
"""


def run_dir(name):
    return os.path.join(os.environ["INSULA_RUN_DIR"], name)


def run(lab, *words, status=0):
    done = subprocess.run([lab.insula_program, *words], text=True, capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout + done.stderr


# kill -9, and waits until it is dead.
def kill(program):
    [pid] = labs.processes(program)
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0], f"{program} survived SIGKILL"
    os.close(pidfd)


def wait(what, get, deadline_s=20):
    deadline = time.monotonic() + deadline_s
    while not (found := get()):
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.0005)
    return found


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def has_tables(pid):
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == run_dir("sessions")
                   for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def listens():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        try:
            s.connect(run_dir("switch.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


# All of it runs, once, and is what insulad says.
def up(lab):
    run(lab, "start")
    run(lab, "apply", "-f", SITE_FILE)
    [insulad], [switch] = labs.processes("insulad"), labs.processes("insula-switch")
    status = json.loads(run(lab, "status", "-o", "json"))
    assert (status["pid"], status["switch"]["pid"]) == (insulad, switch), f"{insulad} {status}"
    assert [p["state"] for p in lab.list("port")] == ["up"] and not status["warnings"], status


# Whatever a case before left that failed.
def fresh(lab):
    for program in ("insulad", "insula-switch"):
        for pid in labs.processes(program):
            os.kill(pid, signal.SIGKILL)
    wait("end", lambda: not labs.processes("insula-switch"))
    run(lab, "stop")


def check_nothing_left():
    left = labs.processes("insulad") + labs.processes("insula-switch")
    assert not left, f"after insula stop: {left}"
    assert not os.path.exists(os.environ["INSULA_RUN_DIR"]), "RUN_DIR is still there"
    assert "eth0" not in netns.ip("web", "link", "show")


# Leaves a switch that has its tables and does not listen yet, stopped, and no insulad.
def leave_starting(lab):
    for _ in range(20):
        up(lab)
        kill("insula-switch")
        [switch] = wait("next switch", lambda: labs.processes("insula-switch"))
        wait("tables", lambda pid=switch: has_tables(pid))
        os.kill(switch, signal.SIGSTOP)
        kill("insulad")
        if not listens():
            return switch
        os.kill(switch, signal.SIGCONT)  # too late: it had begun to
    raise AssertionError("it was never met before it listened")


def test_stop_starting(lab):
    fresh(lab)
    leave_starting(lab)
    assert "is cleaned up" in run(lab, "stop")
    check_nothing_left()


def test_start_starting(lab):
    fresh(lab)
    orphan = leave_starting(lab)
    up(lab)
    assert labs.processes("insula-switch") != [orphan]
    run(lab, "stop")
    check_nothing_left()


# One that runs on, but whose socket is not there any more.
def test_deaf(lab):
    fresh(lab)
    for last in ("start", "stop"):
        up(lab)
        [orphan] = labs.processes("insula-switch")
        os.unlink(run_dir("switch.sock"))
        kill("insulad")
        if last == "start":
            up(lab)
            assert labs.processes("insula-switch") != [orphan]
        run(lab, "stop")
        check_nothing_left()


# Not its own program yet: nobody can tell which process it is, but that it is there is known. What
# cannot be ended is not called cleaned up, and is found again.
def test_spawned(lab):
    fresh(lab)
    up(lab)
    with open(HOLD, "w", encoding="ascii"):
        pass
    kill("insula-switch")
    wait("spawn", lambda: os.path.exists(BORN))
    with open(BORN, encoding="ascii") as file:
        orphan = int(file.read())
    wait("stopped process", lambda: state_of(orphan) == "T")
    os.unlink(HOLD)
    kill("insulad")
    text = run(lab, "stop", status=1)
    named = re.findall("`kill -9 ([0-9]+)`", text)
    assert named == [str(orphan)] and "is cleaned up" not in text, (orphan, text)
    os.kill(orphan, signal.SIGCONT)
    assert "is cleaned up" in run(lab, "stop")
    assert state_of(orphan) in ("", "Z"), "it is still there"
    check_nothing_left()


# Another program has locked the file: it is named and left alone.
STRANGER = """import fcntl, sys
f = open(sys.argv[1], "r+")
if sys.argv[2] != "flock":
    fcntl.lockf(f, fcntl.LOCK_EX)
if sys.argv[2] != "record":
    fcntl.flock(f, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_stranger(lab):
    fresh(lab)
    for locks in ("both", "record", "flock"):
        up(lab)
        kill("insulad")
        kill("insula-switch")
        # This process only has it open: it is not the one to end.
        with open(run_dir("switch.lock"), encoding="ascii"), \
             subprocess.Popen([sys.executable, "-c", STRANGER, run_dir("switch.lock"), locks],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
            assert stranger.stdout.readline() == b"locked\n"
            for word in ("start", "stop"):
                text = run(lab, word, status=1)
                assert f"(pid {stranger.pid}), which is no insula-switch" in text, text
                assert run_dir("switch.lock") in text and stranger.poll() is None, text
            stranger.stdin.close()
        assert "is cleaned up" in run(lab, "stop")
        check_nothing_left()


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    netns.create("web")
    wrapper = os.path.join(sandbox.DIRECTORY, "insula-switch-late")
    with open(SITE_FILE, "w", encoding="utf-8") as f:
        f.write(SITE)
    with open(wrapper, "w", encoding="utf-8") as f:
        f.write(WRAPPER)
    os.chmod(wrapper, 0o755)
    build = os.path.dirname(os.path.dirname(lab.insula_program))
    os.environ["REAL_SWITCH"] = os.path.join(build, "vswitch", "insula-switch")
    os.environ["INSULA_SWITCH"] = wrapper
    lab.started = True
    try:
        if not labs.run_cases(globals(), lab):
            sys.exit(1)
    finally:
        print("\n".join(lab.stop()))


main()
