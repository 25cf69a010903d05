# SPDX-License-Identifier: BSD-3-Clause
# The command line against the real insulad and switch: start, diff, apply, list, show, stop; files
# that are wrong change nothing; nothing is left behind. Runs in a sandbox.
import glob
import json
import os
import select
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox
import snapshot

DEMO = os.path.join(labs.ROOT, "tests", "demo.yaml")
PORTS = ["internet", "red/red-1.eth0", "red/red-2.eth0", "blue/blue-1.eth0", "blue/blue-2.eth0"]


# Runs insula; the exit status must be `status`. (stdout, stderr)
def insula(lab, *words, status=0, stdin=""):
    done = subprocess.run([lab.insula_program, *words], input=stdin, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == status, f"insula {words}: {done}"
    return done.stdout, done.stderr


def changes(out):
    return [line.split(":")[0] for line in out.splitlines()]


# What insulad says there is, without what changes by itself.
def state(lab):
    kept = {}
    for kind in ("tenant", "network", "port", "uplink"):
        objects = lab.list(kind)
        for o in objects:
            for key in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops", "state"):
                o.pop(key, None)
        kept[kind] = objects
    kept["generation"] = json.loads(lab.insula("status", "-o", "json"))["generation"]
    kept["config"] = lab.insula("config")
    return kept


def has_link(space, name):
    return netns.run(*netns.inside(space), "ip", "link", "show", name, check=False).returncode == 0


def test_start(lab):
    out, err = insula(lab, "status", status=1)
    assert "start it with: insula start" in err and not out
    assert "runs (pid " in insula(lab, "start")[0]
    assert "runs already" in insula(lab, "start")[0]
    assert json.loads(insula(lab, "status", "-o", "json")[0])["switch"]["state"] == "running"
    assert "nothing has been applied" in insula(lab, "config", status=1)[1]


def test_diff_then_apply(lab):
    planned = changes(insula(lab, "diff", "-f", DEMO, status=1)[0])
    assert [c for c in planned if c.startswith("+ port")] == [f"+ port {p}" for p in PORTS[1:]]
    assert "+ uplink internet" in planned and "+ network blue/lan" in planned, planned
    assert not has_link("insdemo-red-1", "eth0"), "diff made a tap"
    done = changes(insula(lab, "apply", "-f", DEMO)[0])
    assert done[:-1] == planned, f"{done} is not what diff said: {planned}"
    assert has_link("insdemo-red-1", "eth0")
    assert insula(lab, "diff", "-f", DEMO) == ("", "")
    assert insula(lab, "apply", "-f", DEMO)[0].startswith("0 changes")
    with open(DEMO, encoding="utf-8") as file:
        assert insula(lab, "config")[0] == file.read()


def test_lists(lab):
    assert [t["name"] for t in lab.list("tenant")] == ["red", "blue"]
    assert [p["name"] for p in lab.list("port")] == PORTS
    assert {n["vlan"] for n in lab.list("network")} == {10, 20}
    for kind in ("tenant", "network", "port", "lease", "session", "uplink", "drops"):
        for form in ("table", "json", "yaml"):
            insula(lab, "list", kind, "-o", form)
    port = json.loads(insula(lab, "show", "port", PORTS[1], "-o", "json")[0])
    assert port["address"] == "10.0.0.11", port
    by_id = json.loads(insula(lab, "show", "port", str(port["id"]), "-o", "json")[0])
    assert by_id["name"] == PORTS[1], by_id
    assert "10.0.0.0/24" in insula(lab, "show", "network", "red/lan")[0]
    for kind in ("port", "drops"):
        assert "insula list port" in insula(lab, "show", kind, "red/none", status=1)[1], kind


# A network is TENANT/NETWORK wherever it is named; half a name is answered with the whole ones.
def test_names(lab):
    assert {r["network"] for kind in ("lease", "port") for r in lab.list(kind)
            if "network" in r} == {"red/lan", "blue/lan"}
    both = json.loads(insula(lab, "show", "lease", "10.0.0.11", "-o", "json")[0])["leases"]
    assert [r["port"] for r in both] == ["red/red-1.eth0", "blue/blue-1.eth0"], both
    assert all(r["port"] in insula(lab, "show", "lease", "10.0.0.11")[0] for r in both)
    one = json.loads(insula(lab, "show", "lease", both[0]["port"], "-o", "json")[0])
    assert one == both[0] | {"expires_s": one["expires_s"]}, one
    assert "there is red/lan, blue/lan" in insula(lab, "show", "network", "lan", status=1)[1]
    assert "there is red/red-1.eth0" in insula(lab, "show", "port", "red-1", status=1)[1]


def test_meaning_in_json(lab):
    for network in lab.list("network"):
        assert isinstance(network["dns"], list) and network["dns_source"] in ("host", "file")
    drops = json.loads(insula(lab, "list", "drops", "-o", "json")[0])["drops"]
    assert drops and all(row["text"] for row in drops), drops


# Every file the reader refuses leaves everything as it was, and says why with its line.
def test_bad_files(lab):
    before = state(lab)
    for file in sorted(glob.glob(os.path.join(labs.ROOT, "tests", "unit", "yaml-bad", "*.yaml"))):
        with open(file, "rb") as opened:
            lines = opened.read().decode(errors="replace").splitlines()
        expected = [f"{file}:{line[3:]}" for line in lines if line.startswith("#= ")]
        err = insula(lab, "apply", "-f", file, status=1)[1].splitlines()
        assert err == expected + ["insula: nothing has been changed"], f"{file}: {err}"
        insula(lab, "diff", "-f", file, status=2)
    assert state(lab) == before


# A file that reads well and cannot be done is undone.
def test_apply_that_fails(lab):
    before = state(lab)
    with open(DEMO, encoding="utf-8") as file:
        text = file.read().replace("insdemo-blue-2", "insdemo-nowhere")
    text = text.replace("vlan: 10", "vlan: 11")
    err = insula(lab, "apply", "-f", "-", stdin=text, status=1)[1]
    assert "insdemo-nowhere" in err and "nothing has been changed" in err, err
    assert state(lab) == before
    assert has_link("insdemo-blue-2", "eth0")


def pid_of(lab, *keys):
    value = json.loads(insula(lab, "status", "-o", "json")[0])
    for key in keys:
        value = value[key]
    return value


def test_insulad_killed(lab):
    before, switch = state(lab), pid_of(lab, "switch", "pid")
    gone = os.pidfd_open(pid_of(lab, "pid"))
    signal.pidfd_send_signal(gone, signal.SIGKILL)
    assert select.select([gone], [], [], 10)[0], "insulad survived SIGKILL"
    os.close(gone)
    assert "start it with" in insula(lab, "list", "port", status=1)[1]
    insula(lab, "start")
    assert pid_of(lab, "switch", "pid") == switch, "the running switch was not adopted"
    after = state(lab)
    after["generation"] = before["generation"]
    assert after == before


# A second insulad with another run directory and the same state directory is refused, and leaves
# nothing.
def test_second_insulad(lab):
    run = os.environ["INSULA_RUN_DIR"] + "2"
    done = subprocess.run([os.path.join(os.path.dirname(lab.insula_program), "insulad"),
                           "--run-dir", run], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 1 and "another insulad runs with state directory" in done.stderr, done
    assert not glob.glob(run + "*"), glob.glob(run + "*")


# Nor is one with another state directory what was asked for; by another path it is the same.
def test_other_state_directory(lab):
    own = os.environ["INSULA_STATE_DIR"]
    other, link = own + "-other", own + "-link"
    os.symlink(own, link)
    for exists in (False, True):
        if exists:
            os.mkdir(other)
        out, err = insula(lab, "--state-dir", other, "start", status=1)
        assert f"state directory {own} instead of {other}; " in err and not out, (out, err)
        assert exists or not os.path.exists(other), "a start that is refused made a directory"
    for same in (own + "/", link, link + "/"):
        assert "runs already" in insula(lab, "--state-dir", same, "start")[0]
    os.unlink(link)
    os.rmdir(other)


# An empty file may be a mistake: `> site.yaml`, a pipe whose other end failed.
def test_nothing_given(lab):
    missing = ":1: version is missing; allowed: 1"
    ports = lab.list("port")
    for file, name in (("-", "<stdin>"), ("/dev/null", "/dev/null")):
        assert name + missing in insula(lab, "diff", "-f", file, status=2)[1]
        assert name + missing in insula(lab, "apply", "-f", file, status=1)[1]
    with socket.socket(socket.AF_UNIX) as api:
        api.connect(os.path.join(os.environ["INSULA_RUN_DIR"], "insulad.sock"))
        api.sendall(b"PUT /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = api.makefile(encoding="ascii").read()
    assert " 422 " in answer and "config" + missing in answer, answer
    assert [p["name"] for p in lab.list("port")] == [p["name"] for p in ports]
    assert has_link("insdemo-red-1", "eth0")


def test_remove_all(lab):
    out = insula(lab, "apply", "-f", "-", stdin="version: 1\n")[0]
    assert "- tenant red" in out and "- uplink internet" in out, out
    assert not has_link("insdemo-red-1", "eth0")
    assert lab.list("port") == []


# Addresses and MACs are given for good: the same after all was removed and stopped.
def test_stop_and_again(lab):
    stop_and_again(lab)
    with open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"), encoding="utf-8") as log:
        lines = [line.split(" ", 1) for line in log.read().splitlines()]
    for said in ("info insulad: stop was asked for: stopping everything", "info insulad: stopped"):
        assert any(rest == said and when.endswith("Z") for when, rest in lines), lines


def stop_and_again(lab):
    insula(lab, "apply", "-f", DEMO)
    before = lab.list("lease")
    assert "has stopped" in insula(lab, "stop")[0]
    assert not labs.processes("insulad") and not labs.processes("insula-switch")
    assert not has_link("insdemo-red-1", "eth0")
    assert "does not run" in insula(lab, "stop")[0]
    insula(lab, "start")
    assert lab.list("lease") == before
    assert [p["name"] for p in lab.list("port")] == PORTS
    insula(lab, "stop")


def main():
    lab = labs.Lab(DEMO, sandbox.DIRECTORY)
    lab.build()
    before = snapshot.network() | snapshot.machine(["insula"], [])
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test(lab)
            print(f"ok {name}", flush=True)
    left = snapshot.compare(before, snapshot.network() | snapshot.machine(["insula"], []))
    assert not left, "\n".join(left)
    print("ok nothing left behind")


main()
