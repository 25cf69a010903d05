# SPDX-License-Identifier: BSD-3-Clause
# The file's `settings` size the switch: another size is another process, and transfers through SNAT
# go on across it; a host without room for it, a table too small for what it holds; who finds the
# switch again knows its settings. Runs in a sandbox.
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import yaml

import lab as labs
import netns
import sandbox
from kill import SENDERS, INTERNET, Load, kill, only, say_pauses, wait_new

RESTART_S = 1.0
SMALLEST = 1024
# Datagrams from ports of their own.
FLOWS = """import socket, sys
for i in range({n}):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("", 20000 + i))
        s.sendto(b"x", ("{address}", 9))
"""


# A nic that only the switch can refuse.
UNMADE = {"type": "ethdev", "devargs": "eth_nonsense0", "interface": None, "netns": None}
# Instead of insula-switch: the first after `$0.once` was made is the last for now.
WRAPPER = """#!/bin/bash
rm "$0.once" 2>/dev/null && mv "$0" "$0.away"
exec {switch} "$@"
"""


class Site:
    """The demo's policy, with settings; `lab` runs it."""

    def __init__(self, lab):
        self.lab = lab
        self.nic = {}  # what else its first nic has
        self.file = os.path.join(lab.directory, "settings.yaml")

    def write(self, settings):
        with open(self.lab.policy_file, encoding="utf-8") as file:
            document = yaml.safe_load(file)
        nic = document["tenants"][0]["instances"][0]["nics"][0]
        document["tenants"][0]["instances"][0]["nics"][0] = {
            k: v for k, v in (nic | self.nic).items() if v}
        with open(self.file, "w", encoding="utf-8") as file:
            yaml.dump(document | {"settings": settings}, file, Dumper=labs.NoAliases)

    def apply(self, **settings):
        self.write(settings)
        return self.lab.apply(self.file)

    # (exit status, what it prints)
    def tries(self, verb, **settings):
        self.write(settings)
        done = netns.run(self.lab.insula_program, verb, "-f", self.file, check=False)
        return done.returncode, done.stdout + done.stderr


def arguments():
    with open(f"/proc/{only('insula-switch')}/cmdline", encoding="ascii") as file:
        return file.read().split("\0")


def sessions_of_switch():
    words = arguments()
    return words[words.index("--sessions") + 1]


def log():
    with open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"),
              encoding="utf-8") as file:
        return file.read()


def session_file():
    return os.stat(os.path.join(os.environ["INSULA_RUN_DIR"], "sessions")).st_size


def switch_status(lab):
    return json.loads(lab.insula("status", "-o", "json"))["switch"]


def until(true, what):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, f"no {what}: {log()}"
        time.sleep(0.05)


def write_wrapper(directory):
    build = os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build"))
    program = os.path.join(directory, "wrapper")
    with open(program, "w", encoding="ascii") as file:
        file.write(WRAPPER.format(switch=os.path.join(build, "vswitch", "insula-switch")))
    os.chmod(program, 0o755)
    os.environ["INSULA_SWITCH"] = program


# Runs the command that a message names.
def mended(text):
    netns.run("sh", "-c", re.search("`([^`]*)`", text)[1])


# So many, and perhaps some others. A tap's queue drops what a busy worker does not take in time.
def begin_sessions(lab, n):
    def all_listed():
        netns.run(*netns.inside("insdemo-red-1"), sys.executable, "-c",
                  FLOWS.format(n=n, address=lab.addresses[INTERNET]))
        return len(lab.list("session")) >= n
    until(all_listed, f"{n} sessions")


# A transfer and a stream by each tenant across an apply.
def across(lab, site, label, **settings):
    load, switch = Load(lab, label), only("insula-switch")
    moment = time.monotonic()
    out = site.apply(**settings)
    wait_new("insula-switch", switch)
    after = time.monotonic()
    for name in SENDERS:
        load.wait_after(name, after)
    say_pauses(label, {n: load.longest_gap(n, moment) for n in SENDERS}, RESTART_S)
    load.finish()
    assert "insula-switch" in out, out


def test_larger(lab, site):
    across(lab, site, "larger", sessions=1000000, sessions_per_tenant=900000,
           sessions_per_port=800000)
    assert sessions_of_switch() == "1000000,900000,800000", arguments()
    assert session_file() == 4096 + 1000000 * 128
    assert switch_status(lab)["state"] == "running", switch_status(lab)


def test_smaller(lab, site):
    across(lab, site, "smaller", sessions=SMALLEST)
    assert sessions_of_switch() == "1024,128,64", arguments()
    assert session_file() == 4096 + SMALLEST * 128
    assert "sessions ended" not in log()


# No room on the tmpfs: foreseen, refused, nothing is touched; the command it names mends it.
def test_no_room(lab, site):
    site.apply(sessions=2048)
    run_dir = os.environ["INSULA_RUN_DIR"]
    netns.run("mount", "-o", "remount,size=24m", run_dir)
    switch, config = only("insula-switch"), lab.insula("config")
    load = Load(lab, "no-room")
    moment = time.monotonic()
    status, text = site.tries("diff", sessions=4194304)
    assert status == 2 and "apply would fail: settings: 4194304 sessions and SNAT's" in text, text
    status, text = site.tries("apply", sessions=4194304)
    assert status == 1 and "nothing has been changed" in text, text
    assert f"sessions and SNAT's mappings need 528392 KiB in {run_dir}, which has" in text, text
    assert only("insula-switch") == switch and lab.insula("config") == config, text
    load.wait_after(SENDERS[0], time.monotonic())
    assert load.longest_gap(SENDERS[0], moment) < RESTART_S
    load.finish()
    mended(text)
    site.apply(sessions=4194304)
    assert session_file() == 4096 + 4194304 * 128
    site.apply(sessions=2048)
    netns.run("mount", "-o", "remount,size=1g", run_dir)


# Whoever dies, the settings stay, and the next insulad knows them by the switch's command line.
def test_found_again(lab, site):
    site.apply(sessions=2048, workers=2, mode="poll")
    switch = only("insula-switch")
    kill(only("insulad"))
    lab.start()
    assert only("insula-switch") == switch, "the running switch was not adopted"
    status, text = site.tries("diff", sessions=2048, workers=2, mode="poll")
    assert status == 0, text
    kill(switch)
    wait_new("insula-switch", switch)
    assert sessions_of_switch() == "2048,256,128" and "--poll" in arguments(), arguments()
    status, text = site.tries("diff", sessions=3000)
    assert status == 1 and "sessions 2048 -> 3000" in text, text
    assert "sessions_per_tenant 256 -> 375" in text, text
    site.apply()
    assert sessions_of_switch() == "131072,16384,8192", arguments()


# A file that fails after the switch has been started anew: the old one is back with its own.
def test_undone(_, site):
    site.apply(sessions=2048)
    switch = only("insula-switch")
    site.nic = UNMADE
    status, text = site.tries("apply", sessions=4096)
    site.nic = {}
    assert status == 1 and "nothing has been changed" in text, text
    assert only("insula-switch") != switch, text
    assert sessions_of_switch() == "2048,256,128", arguments()
    assert session_file() == 4096 + 2048 * 128


# What diff foresees fails before the old switch ends, and its sessions with it.
def test_foreseen(lab, site):
    site.apply(sessions=8192, sessions_per_tenant=8192, sessions_per_port=8192)
    begin_sessions(lab, 1500)
    switch = only("insula-switch")
    site.nic = {"netns": "nowhere"}
    foreseen = site.tries("diff", sessions=SMALLEST)
    failed = site.tries("apply", sessions=SMALLEST)
    site.nic = {}
    assert foreseen[0] == 2 and failed[0] == 1 and "nothing has been changed" in failed[1], failed
    assert failed[1].splitlines()[0].removeprefix("insula: ") in foreseen[1], (failed, foreseen)
    assert only("insula-switch") == switch, "the switch was started anew"
    ids = [session["id"] for session in lab.list("session")]  # some pages of the switch's
    assert len(ids) >= 1500
    assert ids == sorted(set(ids))
    one = netns.run(lab.insula_program, "show", "session", str(ids[-1]), "-o", "json").stdout
    one = json.loads(one)
    assert one["id"] == ids[-1], one


# The old switch cannot be started meanwhile: it comes back as soon as it can, as it was; `status`
# says why it is not there, the log once.
def test_undone_later(lab, site):
    site.apply(sessions=2048)
    wrapper = os.environ["INSULA_SWITCH"]
    with open(wrapper + ".once", "w", encoding="ascii"):
        pass
    site.nic = UNMADE
    status, text = site.tries("apply", sessions=4096)
    site.nic = {}
    assert status == 1 and "the former insula-switch cannot be started again" in text, text
    begun = switch_status(lab)["respawns"]
    until(lambda: switch_status(lab)["respawns"] >= begun + 3, "tries")
    told = switch_status(lab)["trouble"]
    assert f"cannot start {wrapper}: No such file" in told, told
    assert log().count(told) == 2, log()  # of the apply, and of itself
    os.rename(wrapper + ".away", wrapper)
    until(lambda: switch_status(lab)["state"] == "running", "the former switch")
    assert sessions_of_switch() == "2048,256,128", arguments()
    assert site.tries("diff", sessions=2048)[0] == 0


# Room for the sessions, and none for the mappings: foreseen. Without room a switch that died does
# not come back, and `status` names the command that mends it.
def test_no_room_for_mappings(lab, site):
    site.apply(sessions=2048)
    run_dir, switch = os.environ["INSULA_RUN_DIR"], only("insula-switch")
    ballast, n = os.path.join(run_dir, "ballast"), 100000
    fs = os.statvfs(run_dir)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, fs.f_bavail * fs.f_frsize - n * 128 - 4096 - (1 << 20))
    status, text = site.tries("diff", sessions=n)
    assert status == 2 and "apply would fail: settings: 100000 sessions and SNAT's" in text, text
    status, text = site.tries("apply", sessions=n)
    assert status == 1 and only("insula-switch") == switch, text
    mended(text)
    site.apply(sessions=n)
    netns.run("mount", "-o", "remount,size=1g", run_dir)
    with open(ballast, "ab") as file:
        fs = os.statvfs(run_dir)
        os.posix_fallocate(file.fileno(), file.tell(), fs.f_bavail * fs.f_frsize)
    kill(only("insula-switch"))
    until(lambda: "100000 sessions and" in switch_status(lab).get("trouble", ""), "reason")
    mended(switch_status(lab)["trouble"])
    until(lambda: switch_status(lab)["state"] == "running", "the switch")
    assert "trouble" not in switch_status(lab)
    os.unlink(ballast)
    netns.run("mount", "-o", "remount,size=1g", run_dir)


# More than there is room for: what is established goes on, and the log says what ended.
def test_too_small(lab, site):
    site.apply(sessions=4096, sessions_per_tenant=4096, sessions_per_port=4096)
    begin_sessions(lab, 1500)
    across(lab, site, "too-small", sessions=SMALLEST, sessions_per_tenant=SMALLEST,
           sessions_per_port=SMALLEST)
    ended = re.search(r"(\d+) sessions ended: the table has room for 1024 now", log())
    assert ended and int(ended[1]) >= 1500 - SMALLEST, log()


def test_limits(lab, site):
    site.apply(sessions=8192, sessions_per_tenant=4000, sessions_per_port=300)

    def send():
        netns.run(*netns.inside("insdemo-blue-2"), sys.executable, "-c",
                  FLOWS.format(n=350, address=lab.addresses[INTERNET]))
    [port] = [p["name"] for p in lab.list("port") if p["name"].startswith("blue/blue-2")]
    assert labs.new_drops(lab, port, "session_full", 50, send) < 60


def main():
    lab = labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY)
    write_wrapper(lab.directory)
    with lab:
        if not labs.run_cases(globals(), lab, Site(lab)):
            sys.exit(1)
    left = labs.processes("insulad") + labs.processes("insula-switch")
    assert not left, f"after insula stop: {left}"


if __name__ == "__main__":
    main()
