# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm's API from outside, with the test guest in it: each path, method and status of
# openapi.yaml, and nothing besides.
import fcntl
import contextlib
import ctypes
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import vmm_client as api

SECONDS = 30
LARGE = 64 << 10
MIB = 1 << 20
KILLED = 128 + signal.SIGKILL


class Machine:
    def __init__(self, checks, *options, **popen):
        self.path = os.path.join(checks.directory, "api")
        self.api = api.Api(self.path, checks.specification)
        self.lines = []
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [checks.vmm, "--api", self.path, *options], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen)
        until = time.monotonic() + SECONDS
        while not self.listens():
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"nobody listens at {self.path}: {self.process.poll()}")
            time.sleep(0.005)

    def listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.path) == 0

    def wait(self, word):
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if self.lines[-1].startswith(word):
                return self.lines[-1]
        raise RuntimeError(f"no '{word}': {self.lines}")

    def ends(self, status):
        self.process.stdout.read()
        told = self.process.wait(SECONDS)
        if told != status:
            raise RuntimeError(f"it ended with {told}, not {status}: {self.lines}")


class Checks:
    def __init__(self, vmm, guest, directory):
        self.vmm, self.guest, self.directory = vmm, guest, directory
        self.specification = api.Specification()
        self.failed = 0

    def expect(self, what, good, seen=""):
        print(("ok   " if good else "FAIL ") + what + ("" if good else f": {seen}"), flush=True)
        self.failed += not good

    def answers(self, what, answer, status, word=""):
        told = (answer[1] or {}).get("error", "")
        self.expect(what, answer[0] == status and word in told, answer)

    def machine(self, run, *options, **keys):
        return Machine(self, "--kernel", self.guest, "--memory", "16", "--no-reboot", "--cmdline",
                       f"run={run}", *options, **keys)

    def config(self, run, **keys):
        return {"kernel": self.guest, "memory": 16, "no-reboot": True,
                "cmdline": f"run={run}"} | keys


def check_commands(checks):
    machine = checks.machine("sleep:20,sleep:60000", "--rng")
    put = machine.api.put
    machine.wait("ok sleep")
    mode = os.stat(machine.path).st_mode
    checks.expect("the socket is its user's alone", stat.S_IMODE(mode) == 0o600, oct(mode))
    info = machine.api.info()
    checks.expect("info tells what it is", info["state"] == "running" and info["cpus"] == 1 and
                  info["memory"] == 16 * MIB and [d["id"] for d in info["devices"]] == ["rng"],
                  info)
    metrics = machine.api.metrics()
    checks.expect("metrics count exits and memory", metrics["exits"]["port"] > 10 and
                  0 < metrics["memory"]["resident"] <= 16 * MIB, metrics)
    checks.expect("and halts, where KVM tells", metrics.get("halts", 1) > 0, metrics)
    checks.answers("what runs is not resumed", put("/v1/resume"), 409, "the machine runs")
    checks.answers("nor booted", put("/v1/boot"), 409, "the machine runs")
    checks.answers("nor configured", put("/v1/config", checks.config("devices")), 409)
    checks.answers("it pauses", put("/v1/pause"), 204)
    checks.answers("once", put("/v1/pause"), 409, "is paused")
    checks.answers("what is paused has no power button", put("/v1/shutdown"), 409, "is paused")
    checks.expect("info tells that it is paused", machine.api.info()["state"] == "paused")
    checks.answers("it resumes", put("/v1/resume"), 204)
    checks.answers("and is killed", put("/v1/kill"), 204)
    machine.ends(KILLED)
    checks.expect("its socket's file stays, and nobody listens there",
                  os.path.exists(machine.path) and not machine.listens())
    machine = Machine(checks) # replaces it
    machine.api.put("/v1/kill")
    machine.ends(KILLED)
    checks.expect("one that was not configured takes it along", not os.path.exists(machine.path))


def check_pause(checks):
    """The guest does nothing between, and its sleep is as long as it was to be."""
    machine = checks.machine("exit-storm:2000", "--cpus", "2")
    machine.wait("guest: ready")
    machine.api.put("/v1/pause")
    before = machine.api.metrics()["exits"]
    time.sleep(0.3)
    checks.expect("a paused guest does nothing", machine.api.metrics()["exits"] == before, before)
    machine.api.put("/v1/resume")
    for _ in range(20):
        if machine.api.put("/v1/pause")[0] != 204 or machine.api.put("/v1/resume")[0] != 204:
            checks.expect("it pauses and resumes many times", False)
    checks.expect("and goes on", machine.api.metrics()["exits"] != before)
    machine.api.put("/v1/pause")
    machine.process.terminate()
    machine.ends(128 + signal.SIGTERM)


def check_pause_disk(checks):
    """Requests that are under way at a pause are neither lost nor done twice."""
    size = 4096 # sectors
    path = file_of(checks, "paused", size * 512)
    machine = checks.machine(f"blk-write:0:{size}:3:8,blk-verify:0:{size}:3:8,sleep:60000",
                             "--disk", f"file={path}")
    machine.wait("guest: ready")
    moments = 0
    for moments in range(1, 200):
        machine.api.put("/v1/pause")
        requests = machine.api.metrics()["devices"][0]["queues"][0]["requests"]
        machine.api.put("/v1/resume")
        if requests >= 2 * size // 8:
            break
    machine.wait("ok blk-verify")
    checks.expect("a disk goes on after pauses in the middle", moments > 1, moments)
    machine.api.put("/v1/kill")
    machine.ends(KILLED)


def check_shutdown(checks):
    machine = checks.machine("power-button:20000")
    machine.wait("ok power-button waits")
    checks.answers("the power button is pressed", machine.api.put("/v1/shutdown"), 204)
    machine.wait("ok power-button pressed")
    machine.ends(0)
    checks.expect("and the guest powers off", True)


def check_config(checks):
    machine = Machine(checks)
    put = machine.api.put
    checks.expect("it waits", machine.api.info()["state"] == "created" and
                  not machine.api.info()["configured"] and machine.api.metrics() == {})
    for command in ("boot", "pause", "resume", "shutdown"):
        checks.answers(f"no {command} before it is configured", put("/v1/" + command), 409,
                       "is not configured")
    for what, body, word in (
            ("nothing", None, "not JSON"), ("no JSON", "{", "not JSON"),
            ("a list", [], "an object"), ("no kernel", {}, "kernel is missing"),
            ("a wrong key", {"kernels": 1}, "'kernels'"),
            ("a key twice", '{"kernel": "a", "kernel": "b"}', "not JSON"),
            ("too many processors", checks.config("", cpus=33), "--cpus 33"),
            ("words for a number", checks.config("", memory="much"), "--memory much"),
            ("a number as a text", checks.config("", memory="64"), "--memory 64: a text"),
            ("a fraction", checks.config("", cpus=1.5), "cpus: an integer"),
            ("a switch for a number", checks.config("", balloon=True), "balloon: an integer"),
            ("a list for a number", checks.config("", hotplug=[1]), "hotplug: an integer"),
            ("a number for a text", {"kernel": 1}, "kernel: a text"),
            ("a number for words", checks.config("", cmdline=7), "cmdline: a text"),
            ("a number for a user", checks.config("", user=0), "user: a text"),
            ("a number for a switch", checks.config("", rng=1), "true or false"),
            ("an object for a list", checks.config("", disk={}), "array"),
            ("a disk without file", checks.config("", disk=[{}]), "file=PATH or"),
            ("a word that disks have not", checks.config("", disk=[{"a": 1}]), "'a=1'"),
            ("a comma", checks.config("", disk=[{"file": "a,b"}]), "comma"),
            ("17 disks", checks.config("", disk=[{"file": "/a"}] * 17), "16 disks"),
            ("the command line's own", checks.config("", api="/x"), "'api'"),
            ("a file that is not there", {"kernel": "/no/kernel"}, "/no/kernel: No such file"),
            ("a disk that is not there", checks.config("", disk=[{"file": "/no/disk"}]),
             "/no/disk: No such file"),
            ("an unknown user", checks.config("", user="nobody-like-this"), "no such user"),
            ("too little memory", checks.config("", memory=2), "too little memory")):
        checks.answers(f"a configuration of {what} is wrong", put("/v1/config", body), 400, word)
    for path in ("config", "boot", "pause", "resume", "shutdown", "kill"):
        checks.answers(f"{path} takes no large body",
                       put("/v1/" + path, b"x" * (LARGE + 1)), 413, "too large")
    for path in ("boot", "pause", "resume", "shutdown", "kill"):
        checks.answers(f"{path} takes no body at all", put("/v1/" + path, "{}"), 400, "no body")
    disk = os.path.join(checks.directory, "disk")
    with open(disk, "wb") as f:
        f.truncate(MIB)
    config = checks.config("blk-write:0:64:1,blk-verify:0:64:1,sleep:60000", rng=True, balloon=2,
                           cpus=2, disk=[{"file": disk, "queues": 2, "readonly": False}])
    checks.answers("it is configured at last", put("/v1/config", config), 204)
    checks.answers("once", put("/v1/config", config), 409)
    info = machine.api.info()
    checks.expect("info tells what it is to be", info["state"] == "created" and
                  info["configured"] and [d["id"] for d in info["devices"]] ==
                  ["disk0", "rng", "balloon"], info)
    checks.answers("not booted, it is not paused", put("/v1/pause"), 409, "is not booted")
    checks.answers("it boots", put("/v1/boot"), 204)
    machine.wait("ok blk-verify")
    disk0 = next(d for d in machine.api.metrics()["devices"] if d["id"] == "disk0")
    checks.expect("metrics count a disk's requests and bytes",
                  [(q["requests"], q["bytes_read"], q["bytes_written"]) for q in
                   disk0["queues"]] == [(1, 0, 64 * 512), (1, 64 * 512, 0)], disk0)
    machine.api.put("/v1/kill")
    machine.ends(KILLED)


def file_of(checks, name, size=MIB):
    path = os.path.join(checks.directory, name)
    with open(path, "wb") as f:
        f.truncate(size)
    return path


# Opens, hands over and forgets it: the machine is the only one that has it then.
def hand(machine, name, path, flags=os.O_RDWR):
    fd = os.open(path, flags)
    machine.api.hand(name, fd)
    os.close(fd)


def listener(checks, name, blocking=False):
    s = socket.socket(socket.AF_UNIX)
    s.bind(os.path.join(checks.directory, name))
    s.listen(1)
    s.setblocking(blocking)
    return s


def ids(machine):
    return [d["id"] for d in machine.api.info()["devices"]]


def links(machine):
    fds = f"/proc/{machine.process.pid}/fd"
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError): # closed meanwhile
            yield os.readlink(os.path.join(fds, fd))


# Without sockets: connections come and go.
def open_files(machine):
    return sorted(link for link in links(machine) if not link.startswith("socket:"))


def has_socket(machine, inode):
    return f"socket:[{inode}]" in links(machine)


# What the machine does by itself, soon.
def comes_true(condition):
    until = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


def can_be_locked(path):
    with open(path, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def check_plug(checks):
    """Disks and network cards that come and go, again and again, in any order."""
    first, second = file_of(checks, "first"), file_of(checks, "second")
    use = "disk:0,blk-write:0:64:{0},blk-verify:0:64:{0},blk-flush,blk-id"
    # the second time the first slot is free, the third time it is not: found second then
    machine = checks.machine(
        ",".join(("plugged:20000", use.format(1), "eject:20000", "plugged:20000", use.format(2),
                  "plugged:20000", "eject:20000", "eject:20000", "devices", "plugged:20000",
                  "disk:0", "blk-verify:0:64:1", "sleep:60000")), "--hotplug", "2")
    ask, put = machine.api.ask, machine.api.put
    machine.api.info() # once it answers, everything is there
    mode = os.stat(machine.path + ".fds").st_mode
    checks.expect("the socket for descriptors is its user's alone", stat.S_IMODE(mode) == 0o600,
                  oct(mode))
    before = open_files(machine)
    machine.wait("ok plugged waits")
    hand(machine, "f", first)
    checks.answers("a disk is plugged in", put("/v1/disks/d", {"file": "f", "serial": "one"}), 204)
    machine.wait("ok plugged slot 1 present")
    machine.wait("ok blk-id one")
    checks.expect("info knows it", ids(machine) == ["d"])
    checks.answers("it is unplugged", ask("DELETE", "/v1/disks/d"), 204)
    machine.wait("ok ejected slot 1 empty")
    checks.expect("and nothing of it is left", open_files(machine) == before,
                  open_files(machine))
    checks.expect("not even its lock", can_be_locked(first))
    hand(machine, "f", second)
    checks.answers("another takes its place", put("/v1/disks/e", {"file": "f", "serial": "two"}),
                   204)
    machine.wait("ok blk-id two")
    with open(first, "rb") as a, open(second, "rb") as b:
        one, two = a.read(64 * 512), b.read(64 * 512)
    checks.expect("each has its own file", any(one) and any(two) and one != two)
    with listener(checks, "vhost") as s:
        inode = os.fstat(s.fileno()).st_ino
        machine.api.hand("n", s.fileno())
        checks.answers("a network card is plugged in", put("/v1/nics/n", {"vhost-user": "n"}), 204)
    machine.wait("ok plugged slot 2 present")
    checks.expect("info knows both", ids(machine) == ["e", "n"] and has_socket(machine, inode))
    checks.answers("no disk is called so", ask("DELETE", "/v1/disks/n"), 404, "there is none")
    checks.answers("nor is it forgotten", put("/v1/disks/n", {"file": "f"}), 409, "already")
    checks.answers("the card is unplugged", ask("DELETE", "/v1/nics/n"), 204)
    machine.wait("ok ejected slot 2 empty")
    checks.answers("and the disk", ask("DELETE", "/v1/disks/e"), 204)
    machine.wait("ok plugged waits")
    checks.expect("again nothing is left", open_files(machine) == before and
                  not has_socket(machine, inode) and
                  not any(line.startswith("ok device") for line in machine.lines), machine.lines)
    hand(machine, "f", first, os.O_RDONLY)
    checks.answers("a read-only disk is plugged in",
                   put("/v1/disks/d", {"file": "f", "readonly": True}), 204)
    machine.wait("ok blk-verify")
    put("/v1/kill")
    machine.ends(KILLED)


def check_plug_wrong(checks):
    machine = checks.machine("sleep:60000", "--hotplug", "1", "--disk",
                             "file=" + file_of(checks, "there"))
    ask, put = machine.api.ask, machine.api.put
    machine.wait("guest: ready")
    good = file_of(checks, "good")
    for kind in ("disks", "nics"):
        for name in ("x" * 32, "a%20b", "." * 40):
            checks.answers(f"{kind} are not called {name[:6]}", put(f"/v1/{kind}/{name}", {}), 400,
                           "letters")
            checks.answers("and so none is unplugged", ask("DELETE", f"/v1/{kind}/{name}"), 400)
        checks.answers(f"{kind} that there are not", ask("DELETE", f"/v1/{kind}/none"), 404)
        checks.answers(f"{kind} have no large body", put(f"/v1/{kind}/a", b"x" * (LARGE + 1)), 413)
        for body in (None, "{", [], {"a": {}}, {"a": 1}, {}):
            checks.answers(f"{kind} are not {body}", put(f"/v1/{kind}/a", body), 400)
    checks.answers("nothing of that name has come", put("/v1/disks/a", {"file": "f"}), 400,
                   "no descriptor of that name")
    checks.answers("no tap is plugged in", put("/v1/nics/a", {"tap": "f"}), 400, "only vhost-user")
    checks.answers("two queues would take a spare that has them",
                   put("/v1/disks/a", {"file": "f", "queues": 2}), 409, "nothing is left")
    for what, path, flags, words, word in (
            ("a file to read only", good, os.O_RDONLY, {}, "not open for reading and writing"),
            ("a file to write only", good, os.O_WRONLY, {"readonly": True}, "for reading"),
            ("no direct file", good, os.O_RDWR, {"direct": True}, "not open with O_DIRECT"),
            ("a folder", checks.directory, os.O_RDONLY, {"readonly": True}, "neither"),
            ("a small file", file_of(checks, "small", 511), os.O_RDWR, {}, "smaller than"),
            ("a terminal", "/dev/null", os.O_RDWR, {}, "neither")):
        hand(machine, "f", path, flags)
        checks.answers(f"{what} is no disk", put("/v1/disks/a", {"file": "f"} | words), 400, word)
    with listener(checks, "blocks", True) as s:
        machine.api.hand("n", s.fileno())
        checks.answers("what blocks is no card", put("/v1/nics/n", {"vhost-user": "n"}), 400,
                       "does not block")
    hand(machine, "n", good)
    checks.answers("nor is a file", put("/v1/nics/n", {"vhost-user": "n"}), 400, "no socket")
    before = open_files(machine)
    with open(good, "rb") as f:
        for name in ("", "a b", "x" * 40, "a\0b"):
            machine.api.hand(name, f.fileno())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect(machine.path + ".fds")
            s.send(b"nothing")
            socket.send_fds(s, [b"two"], [f.fileno(), f.fileno()])
        put("/v1/disks/a", {"file": "two"}) # all was read before this is answered
        checks.expect("what has no name or not one descriptor is closed",
                      open_files(machine) == before, open_files(machine))
        for n in range(40):
            machine.api.hand(f"f{n}", f.fileno())
        put("/v1/disks/a", {"file": "none"})
        checks.expect("at most 16 wait", len(open_files(machine)) == len(before) + 16)
        checks.answers("the oldest was dropped", put("/v1/disks/a", {"file": "f23"}), 400, "f23")
    hand(machine, "f", good)
    checks.answers("the one spare", put("/v1/disks/a", {"file": "f"}), 204)
    hand(machine, "f", good)
    checks.answers("is the last", put("/v1/disks/b", {"file": "f"}), 409, "nothing is left")
    with listener(checks, "one") as s:
        machine.api.hand("n", s.fileno())
        checks.answers("the one spare card", put("/v1/nics/n", {"vhost-user": "n"}), 204)
        machine.api.hand("n", s.fileno())
        checks.answers("is the last", put("/v1/nics/m", {"vhost-user": "n"}), 409, "nothing is")
    for timeout in ("=abc", "=601", "=-1", "=+1", "=1x", "=%201", "=1.5", "=", "", "=" + "9" * 30):
        checks.answers(f"a timeout is not {timeout[:8]}",
                       ask("DELETE", f"/v1/disks/a?timeout{timeout}"), 400, "timeout")
    checks.answers("a timeout may be none", ask("DELETE", "/v1/nics/n?timeout=0"), 504, "not let")
    begin = time.monotonic()
    checks.answers("a guest that does not let go is told of",
                   ask("DELETE", "/v1/disks/a?timeout=1"), 504, "not let go")
    checks.expect("in time", 1 <= time.monotonic() - begin < 5, time.monotonic() - begin)
    put("/v1/pause")
    for path in ("/v1/disks/a", "/v1/nics/n"):
        checks.answers("nor does a paused one", ask("DELETE", path), 409, "does not run")
    put("/v1/kill")
    machine.ends(KILLED)


def check_plug_unasked(checks):
    """A guest lets go of everything, and goes on; what it cannot let go of stays."""
    file = file_of(checks, "unasked")
    machine = checks.machine("disk:0,blk-write:0:64:1,eject-all:50,devices,plugged:20000,devices,"
                             "sleep:60000", "--hotplug", "1", "--rng", "--disk", f"file={file}")
    machine.wait("ok eject-all")
    machine.wait("ok plugged waits")
    checks.expect("it lets go of what it may", ids(machine) == ["rng"], machine.lines)
    checks.expect("and its file is closed", comes_true(lambda: file not in open_files(machine)),
                  open_files(machine))
    for n in range(2): # the former disk's place is a spare's now
        hand(machine, "f", file_of(checks, f"unasked{n}"))
        checks.answers("another is plugged in", machine.api.put(f"/v1/disks/d{n}", {"file": "f"}),
                       204)
    machine.wait("ok plugged slot 1 present")
    machine.api.put("/v1/kill")
    machine.ends(KILLED)


def check_plug_ends(checks):
    """Who waits for the guest is told when there is no guest any more."""
    machine = checks.machine("asked:20000,sleep:60000", "--disk",
                             "file=" + file_of(checks, "ends"))
    seen = []
    waiter = threading.Thread(
        target=lambda: seen.append(machine.api.ask("DELETE", "/v1/disks/disk0?timeout=60")))
    waiter.start()
    machine.wait("ok asked slot 1")
    machine.process.terminate()
    machine.ends(128 + signal.SIGTERM)
    waiter.join(SECONDS)
    checks.expect("who waits for the guest is told of its end", seen and seen[0][0] == 504, seen)


def check_scarcity(checks):
    """What was opened until one fd was too many is closed again."""
    machine = Machine(checks)
    fds = len(os.listdir(f"/proc/{machine.process.pid}/fd"))
    highest = max(map(int, os.listdir(f"/proc/{machine.process.pid}/fd")))
    config = checks.config("devices", cpus=3, rng=True)
    statuses = []
    for limit in range(highest + 2, highest + 40): # one for the connection
        resource.prlimit(machine.process.pid, resource.RLIMIT_NOFILE, (limit, 1024))
        statuses.append(machine.api.put("/v1/config", config)[0])
        if statuses[-1] == 204:
            break
        left = len(os.listdir(f"/proc/{machine.process.pid}/fd"))
        if left > fds + 1:
            checks.expect("a configuration that fails leaves nothing", False, (limit, left, fds))
            break
    checks.expect("too few fds are told, and later enough", statuses[-1] == 204 and
                  set(statuses[:-1]) == {500} and len(statuses) > 5, statuses)
    machine.process.kill()
    machine.process.wait()


def requests_of(machine, name):
    [device] = [d for d in machine.api.metrics()["devices"] if d["id"] == name]
    return sum(queue["requests"] for queue in device["queues"])


def own_network():
    ctypes.CDLL(None).unshare(0x40000000)
    os.spawnlp(os.P_WAIT, "ip", "ip", "tuntap", "add", "limited", "mode", "tap")


# Other limits while a disk waits for its own; and what cannot be one, or have one. The tap is in a
# network namespace of the machine's.
def check_limits(checks):
    path, served = file_of(checks, "limited", MIB), os.path.join(checks.directory, "served")
    write = "blk-write:0:2048:1"
    # pylint: disable=consider-using-with
    daemon = subprocess.Popen(["qemu-storage-daemon", "--blockdev",
                               "driver=null-co,node-name=d,size=1048576", "--export",
                               "vhost-user-blk,id=d,node-name=d,addr.type=unix,"
                               f"addr.path={served}"])
    while not os.path.exists(served) and daemon.poll() is None:
        time.sleep(0.005)
    machine = checks.machine(f"disk:0,{write},{write},{write},sleep:60000", "--disk",
                             f"file={path},bytes_per_s={MIB},burst_bytes=1,queues=2", "--disk",
                             f"vhost-user={served}", "--net", "tap=limited,ops_per_s=10", "--net",
                             f"vhost-user={checks.directory}/nobody,wait=0",
                             preexec_fn=own_network)
    ask = machine.api.ask
    took = [int(machine.wait("ok blk-write").split()[-2]) / 1e6]
    # in the middle of the second, half of whose 32 requests are still to come
    until = time.monotonic() + SECONDS
    while requests_of(machine, "disk0") < 48 and time.monotonic() < until:
        time.sleep(0.005)
    checks.answers("limits go up", ask("PATCH", "/v1/disks/disk0", {"bytes_per_s": 100 * MIB}), 204)
    took.append(int(machine.wait("ok blk-write").split()[-2]) / 1e6)
    checks.answers("and away", ask("PATCH", "/v1/disks/disk0", {"bytes_per_s": 0}), 204)
    took.append(int(machine.wait("ok blk-write").split()[-2]) / 1e6)
    checks.expect("and are kept to", 0.9 < took[0] < 1.5 and 0.3 < took[1] < 0.9 and
                  took[2] < 0.3, took)
    for kind, there in (("disks", "disk0"), ("nics", "net0")):
        for body in (None, "{", [], {"a": 1}, {"ops_per_s": -1}, {"ops_per_s": "1"},
                     {"ops_per_s": 1.5}, {"ops_per_s": 10**12 + 1}, {"ops_per_s": 10**30}):
            checks.answers(f"limits of {kind} are not {body}",
                           ask("PATCH", f"/v1/{kind}/{there}", body), 400)
        checks.answers("what is", ask("PATCH", f"/v1/{kind}/{there}", {"ops_per_s": 1000}), 204)
        checks.answers("nothing has such limits", ask("PATCH", f"/v1/{kind}/none", {}), 404)
        checks.answers("nor such a name", ask("PATCH", f"/v1/{kind}/a%20b", {}), 400)
        checks.answers("nor a large body",
                       ask("PATCH", f"/v1/{kind}/{there}", b"x" * (LARGE + 1)), 413)
    for what in ("disks/disk1", "nics/net1"):
        checks.answers(f"who serves {what} has its own", ask("PATCH", f"/v1/{what}", {}), 409,
                       "another process")
    machine.api.put("/v1/kill")
    machine.ends(KILLED)
    daemon.kill()
    daemon.wait()


def check_errors(checks):
    path = file_of(checks, "cut", 64 * 512)
    machine = Machine(checks)
    config = checks.config("disk:0,blk-refused:read:40:8,blk-refused:write:63:2,"
                           "blk-refused:read:48:8,sleep:60000", disk=[{"file": path}])
    machine.api.put("/v1/config", config)
    os.truncate(path, 40 * 512)
    machine.api.put("/v1/boot")
    for _ in range(3):
        machine.wait("ok blk-refused")
    counted = machine.api.metrics()["devices"][0]["queues"][0]
    checks.expect("what the host could not do is counted, not what is the guest's fault",
                  counted == {"requests": 3, "bytes_read": 0, "bytes_written": 0, "errors": 2},
                  counted)
    machine.api.put("/v1/kill")
    machine.ends(KILLED)
    told = [line for line in machine.lines if line.startswith("insula-vmm: ")]
    checks.expect("and told once", told == ["insula-vmm: disk disk0: read of 4096 bytes at 20480 "
                                            "failed: its file ends before"], told)


def check_paths(checks):
    machine = checks.machine("sleep:60000")
    ask, specification = machine.api.ask, checks.specification
    for path in ("/", "/v1", "/v1/", "/v1/infos", "/v2/info", "/v1/info/", "//v1/info",
                 "/v1/" + "x" * 3000, "/v1/disks", "/v1/disks/", "/v1/disks/a/b"):
        checks.answers(f"there is no {path[:20]}", ask("GET", path), 404)
    for path in specification.whole["paths"]:
        for method in {"GET", "PUT", "POST", "DELETE", "PATCH"} - specification.methods(path):
            checks.answers(f"{path} has no {method}", ask(method, path.replace("{id}", "a")), 405,
                           "; allowed: ")
    # more than it serves at once, none of which says anything
    idle = [socket.socket(socket.AF_UNIX) for _ in range(7)]
    for s in idle:
        s.connect(machine.path)
    checks.expect("beside idle connections it answers", machine.api.info()["state"] == "running")
    for s in idle:
        s.close()
    machine.api.put("/v1/kill")
    machine.ends(KILLED)


def check_seen(checks):
    missing = checks.specification.everything() - checks.specification.seen
    checks.expect("all that openapi.yaml says has been answered", not missing, sorted(missing))


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        checks = Checks(*map(os.path.realpath, sys.argv[1:3]), directory)
        for check in (check_commands, check_pause, check_pause_disk, check_shutdown, check_config,
                      check_plug, check_plug_wrong, check_plug_unasked, check_plug_ends,
                      check_scarcity, check_limits, check_errors, check_paths, check_seen):
            begin = time.monotonic()
            check(checks)
            print(f"# {check.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
