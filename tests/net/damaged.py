# SPDX-License-Identifier: BSD-3-Clause
# insula.db is damaged while nobody runs: the advice is followed to the letter, and helps. What the
# dead insulad left on the host is known for ours without its state: adopted by the next apply,
# removed by it, or by `insula stop`. And what a killed apply left: taken back by the next start. In
# a sandbox.
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox
import snapshot

SITE = os.path.join(sandbox.DIRECTORY, "site.yaml")
STORE = os.path.join(sandbox.DIRECTORY, "state", "insula.db")
GUESTS = ("red-1", "red-2", "blue-1")
FORWARD = "/proc/sys/net/ipv4/ip_forward"


def document():
    return {"version": 1, "uplinks": [{"name": "internet", "mode": "nat"}],
            "trunks": [{"name": "lab", "interface": "lab0", "allowed": [10]}],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], "internet"),
                        laptops.tenant("blue", 20, ["10.0.0.11"], "internet")]}


# Only blue, under another name, on the tap it had.
def smaller(name="renamed"):
    less = {"version": 1, "tenants": [document()["tenants"][1]]}
    del less["tenants"][0]["networks"][0]["snat"]
    less["tenants"][0]["instances"][0]["name"] = name
    return less


def apply(lab, what):
    lab._write(SITE, what)  # pylint: disable=protected-access
    return lab.apply(SITE)


def links(space):
    return {link["ifname"]: link["ifindex"] for link in
            json.loads(netns.ip(space, "-j", "link", "show")) if link["ifname"] != "lo"}


def run(lab, *words, prefix=(), status=0):
    done = subprocess.run([*prefix, lab.insula_program, *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == status, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


# All of it up, something of the user's own on a tap, then both killed.
def prepare(lab):
    before = snapshot.network()
    lab.start()
    apply(lab, document())
    netns.ip("blue-1", "address", "add", "192.0.2.7/24", "dev", "eth0")
    tables = netns.run("nft", "list", "tables").stdout
    assert open_and_read(FORWARD) == "1" and "table ip insula" in tables, tables
    kill("insulad", "insula-switch")
    return before


# Until they are gone they have the file open.
def kill(*programs):
    for program in programs:
        gone = os.pidfd_open(labs.processes(program)[0])
        signal.pidfd_send_signal(gone, signal.SIGKILL)
        assert select.select([gone], [], [], 10)[0], f"{program} survived SIGKILL"
        os.close(gone)


def open_and_read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


# SQLite's log goes into the file: from the log it would have all again.
def settle():
    db = sqlite3.connect(STORE)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert not os.path.exists(STORE + "-wal")


def garbage():
    settle()
    with open(STORE, "r+b") as file:
        file.write(b"not a database " * 512)


def truncated():
    settle()
    os.truncate(STORE, 5000)


# With a log of its own beside it.
def folder():
    os.unlink(STORE)
    os.mkdir(STORE)


# The command that the message names, as it stands there.
def follow(text):
    found = re.search("`((?:mv|chown)[^`]*)`", text)
    assert found and STORE in text, f"no advice: {text}"
    netns.run("sh", "-c", found[1])


def clear(before, lab):
    left = snapshot.compare(before, snapshot.network())
    assert not left, "\n".join(left)
    assert all(not links(space) for space in GUESTS), [links(space) for space in GUESTS]
    assert not os.path.exists(os.environ["INSULA_RUN_DIR"])
    assert "does not run on" in run(lab, "stop")
    shutil.rmtree(os.path.dirname(STORE))


def test_advice(lab):
    for damage in (garbage, truncated, folder):
        before = prepare(lab)
        taps = [links(space) for space in GUESTS]
        damage()
        text = run(lab, "start", status=1)
        assert "is damaged" in text, text
        follow(text)
        run(lab, "start")
        told = run(lab, "diff", "-f", SITE, status=1)
        assert "+ port red/red-1" in told and "would fail" not in told, told
        apply(lab, document())
        assert [links(space) for space in GUESTS] == taps, f"{damage.__name__}: not adopted"
        assert "192.0.2.7" in netns.ip("blue-1", "address"), "the tap was made anew"
        ports = lab.list("port")
        assert len(ports) == 5 and all(p["state"] == "up" for p in ports), ports
        run(lab, "stop")
        clear(before, lab)


# What SQLite would wait for at the other end of, or blame the wrong file for.
def test_odd_companions(lab):
    for suffix, make in (("-journal", os.mkfifo), ("-wal", os.mkdir)):
        before = prepare(lab)
        settle()
        make(STORE + suffix)
        text = run(lab, "start", status=1)
        assert f"{STORE}{suffix} is not a file" in text, text
        follow(text)
        run(lab, "start")
        assert len(lab.list("port")) == 5
        run(lab, "stop")
        clear(before, lab)


def test_unreadable(lab):
    before = prepare(lab)
    for file in (STORE, STORE + "-wal", STORE + "-shm"):
        os.chown(file, 1, 1)
        os.chmod(file, 0o600)
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps",
               "-dac_override,-dac_read_search"]
    follow(text := run(lab, "start", prefix=without, status=1))
    assert "may not be read" in text, text
    run(lab, "start", prefix=without)
    assert len(lab.list("port")) == 5
    run(lab, "stop")
    clear(before, lab)


# What the next file does not name goes with its apply, and ip_forward is as it was.
def test_less_is_applied(lab):
    before = prepare(lab)
    tap = links("blue-1")
    garbage()
    follow(run(lab, "start", status=1))
    for _ in range(2):  # it has lost its state at the second start as at the first
        run(lab, "start")
        assert links("red-1"), "removed before anybody said so"
        kill("insulad")
    run(lab, "start")
    failing = smaller()
    failing["tenants"][0]["instances"].append(
        {"name": "none", "nics": [{"network": "lan", "netns": "nowhere"}]})
    lab._write(SITE, failing)  # pylint: disable=protected-access
    run(lab, "apply", "-f", SITE, status=1)
    assert links("red-1") and links("blue-1") == tap, "a failing apply removed them"
    apply(lab, smaller())
    assert not links("red-1") and links("blue-1") == tap, [links(space) for space in GUESTS]
    left = [x for x in snapshot.compare(before, snapshot.network()) if "insula" in x]
    assert not left and open_and_read(FORWARD) == "0", left
    run(lab, "stop")
    clear(before, lab)


# The state as an apply has it that was killed between its commit and its last steps.
def commit(what):
    labs.Lab._write(SITE, what)  # pylint: disable=protected-access
    with open(SITE, "rb") as file:
        store_execute("UPDATE meta SET value = ? WHERE key = 'yaml'", (file.read(),))


def store_execute(*words):
    db = sqlite3.connect(STORE)
    db.execute(*words)
    db.commit()
    db.close()


# The host is as the state says after the next start, not only after the next apply: without nat and
# the trunk's interface, and with what stays, whether the switch runs on or not.
def test_killed_after_commit(lab):
    for switch_lives in (False, True):
        before = prepare(lab)
        if switch_lives:
            run(lab, "start")
            kill("insulad")
        tap = links("blue-1")
        commit(smaller("blue-1"))
        run(lab, "start")
        assert not links("red-1") and links("blue-1") == tap, [links(space) for space in GUESTS]
        left = snapshot.compare(before, snapshot.network())
        assert not left and open_and_read(FORWARD) == "0", "\n".join(left)
        run(lab, "stop")
        clear(before, lab)


# The first apply ever, killed before its commit: nothing is desired.
def test_killed_before_commit(lab):
    before = prepare(lab)
    store_execute("DELETE FROM meta WHERE key IN ('generation', 'file', 'yaml')")
    run(lab, "start")
    left = snapshot.compare(before, snapshot.network())
    assert not left and not links("blue-1"), "\n".join(left)
    run(lab, "stop")
    clear(before, lab)


# Started and stopped, nothing applied between.
def test_nothing_is_applied(lab):
    before = prepare(lab)
    garbage()
    follow(run(lab, "start", status=1))
    run(lab, "start")
    run(lab, "stop")
    clear(before, lab)


# Stopping needs no state: damaged, whole, or with the switch still running.
def test_stop(lab):
    for damage in (garbage, truncated, folder, lambda: None):
        before = prepare(lab)
        damage()
        assert "is cleaned up" in run(lab, "stop")
        clear(before, lab)
    before = prepare(lab)
    run(lab, "start")
    kill("insulad")
    assert json.loads(run(lab, "stop", "-o", "json")) == {"cleaned_up": True}
    assert not labs.processes("insula-switch")
    clear(before, lab)


# A state that cannot be written is no reason to leave anything behind.
def test_stop_read_only(lab):
    before = prepare(lab)
    state = os.path.dirname(STORE)
    netns.run("mount", "--bind", state, state)
    netns.run("mount", "-o", "remount,ro,bind", state)
    try:
        assert "is cleaned up" in run(lab, "stop")
    finally:
        netns.run("umount", state)
    clear(before, lab)


# Something else in the place of the switch's words: named with its path and the way out.
def test_switch_log(lab):
    before = prepare(lab)
    path = os.path.join(os.environ["INSULA_RUN_DIR"], "switch.log")
    os.unlink(path)
    with open(path, "w", encoding="ascii") as file:
        file.write("not a FIFO")
    text = run(lab, "start", status=1)
    assert f"{path} is not a FIFO" in text, text
    netns.run("sh", "-c", re.search("`(mv [^`]*)`", text)[1])
    run(lab, "start")
    run(lab, "stop")
    clear(before, lab)


# Damage that is met after the switch was started: it is not left alone with the host.
def test_policies(lab):
    before = prepare(lab)
    settle()
    db = sqlite3.connect(STORE)
    [size] = db.execute("PRAGMA page_size").fetchone()
    [page] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'roots'").fetchone()
    db.close()
    with open(STORE, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    text = run(lab, "start", status=1)
    assert not labs.processes("insula-switch"), f"a switch was left: {text}"
    follow(text)
    run(lab, "start")
    apply(lab, document())
    run(lab, "stop")
    clear(before, lab)


# A device of somebody else's with the name of one of ours stays.
def test_stranger(lab):
    before = prepare(lab)
    netns.ip("red-1", "link", "del", "eth0")
    netns.ip("red-1", "link", "add", "eth0", "type", "bridge")
    run(lab, "stop")
    assert links("red-1"), "somebody else's device was removed"
    netns.ip("red-1", "link", "del", "eth0")
    clear(before, lab)


def main():
    laptops.private_files()
    lab = labs.Lab(None, sandbox.DIRECTORY)
    for space in GUESTS:
        netns.create(space)
    netns.create("beyond")
    netns.veth("", "lab0", "beyond", "eth0")
    netns.ip("", "link", "set", "lab0", "down", "mtu", "1300")  # insulad has to change both
    try:
        if not labs.run_cases(globals(), lab):
            sys.exit(1)
    finally:
        lab.started = True
        print("\n".join(lab.stop()))


main()
