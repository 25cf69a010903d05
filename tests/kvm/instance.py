# SPDX-License-Identifier: BSD-3-Clause
# Instances of kind vm: insulad runs the test guest, one in each of two tenants under the same
# address, beside a network namespace each. Leases, isolation, the commands of `insula instance`,
# and what survives whose death. Runs in a sandbox.
import array
import fcntl
import itertools
import json
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import machine
import netns
import sandbox

TENANTS = {"red": 10, "blue": 20}
ADDRESS, PEER, PREFIX = "10.0.0.11", "10.0.0.12", 24
SECONDS = 20
TIMEOUT_S = 15  # of a guest's stop: more than its power button takes, and less than the test has
FIRST_USER = 0x70000000
KILLS = 100 if os.environ.get("INSULA_TEST_LONG") else 3
TENANT = """  - name: {tenant}
    networks: [{{name: lan, vlan: {vlan}, subnet: 10.0.0.0/24, gateway: 10.0.0.1}}]
    instances:
      - {{name: peer, nics: [{{network: lan, netns: {tenant}, interface: eth0, address: {peer}}}]}}
"""
VM = """      - name: vm
        kind: vm
        kernel: {kernel}
        cmdline: run=dhcp,serve:600 button
        memory: {memory}MiB
        stop_timeout: {timeout}
        restart: {restart}
        nics: [{{network: lan, address: {address}}}]
"""


class Site:
    def __init__(self, lab):
        self.lab, self.file = lab, os.path.join(lab.directory, "site.yaml")
        self.vms = {tenant: {} for tenant in TENANTS}

    def text(self):
        text = "version: 1\ntenants:\n"
        for tenant, vlan in TENANTS.items():
            text += TENANT.format(tenant=tenant, vlan=vlan, peer=PEER)
            if (vm := self.vms[tenant]) is not None:
                keys = {"kernel": machine.GUEST, "memory": 32, "timeout": TIMEOUT_S,
                        "restart": "on-failure", "address": ADDRESS}
                text += VM.format(**keys | vm)
        return text

    def write(self):
        with open(self.file, "w", encoding="ascii") as out:
            out.write(self.text())
        return self.file

    def apply(self):
        return self.lab.apply(self.write())

    def diff(self):
        return self.run("diff", "-f", self.write(), status=1)

    def run(self, *words, status=0):
        done = subprocess.run([self.lab.insula_program, *words], text=True, capture_output=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    def show(self, tenant):
        return json.loads(self.run("instance", "show", f"{tenant}/vm", "-o", "json"))

    def log(self):
        path = os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log")
        with open(path, encoding="utf-8") as file:
            return file.read()

    def console(self, tenant):
        return self.run("instance", "console", "--log", f"{tenant}/vm")

    # Serves, after so many starts of its guest.
    def serves(self, tenant, times=1):
        wait(f"{tenant}/vm serves {times} times",
             lambda: self.console(tenant).count("ok serve listens") >= times)


def wait(what, get, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := get()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


def pings(tenant, count=2):
    done = netns.run(*netns.inside(tenant), "ping", "-n", "-c", str(count), "-i", "0.1", "-W", "1",
                     ADDRESS, check=False)
    return done.stdout.count("bytes from")


def reached(tenant):
    wait(f"{tenant}'s peer reaches its machine", lambda: pings(tenant, 1))


def kill(pid):
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], SECONDS)[0], f"{pid} survived SIGKILL"
    os.close(pidfd)


# One request to a unix socket: the first line of the answer.
def request(path, words, wait_for_answer=True):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(f"{words} HTTP/1.1\r\nHost: us\r\n\r\n".encode())
        return connection.makefile().readline() if wait_for_answer else ""


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_starts(site):
    assert "+ instance red/vm: type vm, cpus 1, memory_mib 32" in site.diff()
    site.apply()
    for tenant in TENANTS:
        netns.ip(tenant, "address", "add", f"{PEER}/{PREFIX}", "dev", "eth0")
        site.serves(tenant)
        assert f"ok dhcp {ADDRESS}/{PREFIX} gateway 10.0.0.1" in site.console(tenant)
        assert pings(tenant) == 2
    rows = {i["name"]: i for i in site.lab.list("instance")}
    assert rows["red/vm"]["state"] == "running" and rows["red/peer"]["state"] == "external", rows
    assert "red/vm" in site.run("instance", "list")


# Each its own user, alone in its PID namespace; sockets that are root's and the switch's.
def test_is_apart(site):
    users = set()
    for tenant in TENANTS:
        about = site.show(tenant)
        status = status_of(about["pid"])
        users.add(status["Uid"])
        assert status["Uid"].split() == [str(FIRST_USER + about["id"])] * 4, status["Uid"]
        assert status["NSpid"].split()[-1] == "1", status["NSpid"]
        folder = os.path.dirname(about["console"])
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert os.stat(os.path.join(folder, "api.sock")).st_mode & 0o077 == 0
    assert len(users) == 2
    for name in os.listdir(os.path.join(os.environ["INSULA_RUN_DIR"], "vm")):
        path = os.path.join(os.environ["INSULA_RUN_DIR"], "vm", name)
        assert os.stat(path).st_uid == 0 and os.stat(path).st_mode & 0o006 == 0, path


# The same address in both: one's is not the other's. The guest takes the power button.
def test_stop_and_start(site):
    site.run("instance", "stop", "blue/vm")
    assert "ok power-button pressed" in site.console("blue")
    assert (pings("red"), pings("blue", 1)) == (2, 0)
    assert site.show("blue")["state"] == "stopped" and "pid" not in site.show("blue")
    assert "blue/vm is stopped: `insula instance start blue/vm` starts it; `insula instance " \
        "console --log blue/vm` prints" in site.run("instance", "console", "blue/vm", status=1)
    terminal = Terminal(site, "blue")
    terminal.read(b"[blue/vm is stopped: this is what it said last, until it is started]")
    terminal.read(b"ok power-button pressed")
    terminal.detach()
    site.apply()  # changes nothing in what is wanted
    assert site.show("blue")["state"] == "stopped"
    assert "blue/vm is running" in site.run("instance", "start", "blue/vm")
    former = site.show("blue")["pid"]
    assert "blue/vm is running" in site.run("instance", "restart", "blue/vm")
    assert site.show("blue")["pid"] != former
    site.serves("blue", 2)
    assert "there is no instance" in site.run("instance", "start", "red/none", status=1)
    assert "others run it" in site.run("instance", "start", "red/peer", status=1)


def test_pause(site):
    site.run("instance", "pause", "red/vm")
    assert site.show("red")["state"] == "paused" and pings("red", 1) == 0
    assert "resume" in site.run("instance", "start", "red/vm", status=1)
    site.run("instance", "resume", "red/vm")
    reached("red")


def in_fifo(path):
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    os.close(fd)
    return count[0]


class Terminal:
    def __init__(self, site, tenant):
        self.ours, its = pty.openpty()
        self.before, self.its, self.seen = termios.tcgetattr(its), its, b""
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([site.lab.insula_program, "instance", "console",
                                         f"{tenant}/vm"], stdin=its, stdout=its, stderr=its)

    def read(self, word):
        while word not in self.seen:
            assert select.select([self.ours], [], [], SECONDS)[0], (word, self.seen)
            self.seen += os.read(self.ours, 4096)

    def detach(self):
        os.write(self.ours, b"\x1d")
        assert self.process.wait(SECONDS) == 0
        assert termios.tcgetattr(self.its) == self.before
        os.close(self.ours)
        os.close(self.its)


def test_console(site):
    first = Terminal(site, "red")
    first.read(b"ok serve listens")
    raw = termios.tcgetattr(first.its)[3]
    assert not raw & (termios.ICANON | termios.ECHO | termios.ISIG)
    second = Terminal(site, "red")
    second.read(b"1 other is attached")
    fifo = os.path.join(os.path.dirname(site.show("red")["console"]), "in")
    os.write(second.ours, b"x" * 500)  # more than a serial port's buffer: this guest takes none
    wait("what was typed is there", lambda: in_fifo(fifo) > 400)
    assert site.show("red")["terminals"] == 2
    more = []
    for number in range(2, 8):
        more.append(Terminal(site, "red"))
        more[-1].read(b"%d others are attached" % number)
    refused = Terminal(site, "red")
    refused.read(b"8 terminals are attached to it already")
    assert refused.process.wait(SECONDS) == 1
    for terminal in (*more, second):
        terminal.detach()
    # A new insulad takes over the terminal, too.
    [insulad] = labs.processes("insulad")
    kill(insulad)
    site.lab.start()
    first.seen = b""
    first.read(b"ok serve listens")
    first.detach()


# The console's last lines are in the log.
def test_machine_killed(site):
    former = site.show("red")["pid"]
    kill(former)
    wait("it is started again", lambda: site.show("red").get("pid", former) != former)
    reached("red")
    about = site.show("red")
    assert about["restarts"] == 1 and about["state"] == "running", about
    log = site.log()
    assert f"insula-vmm (pid {former}) ended after" in log, log  # adopted: whose child it was died
    assert "error console red/vm: ok serve listens" in log, log


# Its machines go on, and the next one has them: the exit of one, too.
def test_insulad_killed(site):
    [insulad] = labs.processes("insulad")
    former = {tenant: site.show(tenant)["pid"] for tenant in TENANTS}
    folder = os.path.dirname(site.show("red")["console"])
    kill(insulad)
    assert (pings("red"), pings("blue")) == (2, 2)
    os.unlink(os.path.join(folder, "pid"))  # a hint only, as one killed in a start has none
    with open(os.path.join(folder, "log"), encoding="utf-8"):  # and others may read that
        site.lab.start()
    assert {tenant: site.show(tenant)["pid"] for tenant in TENANTS} == former
    assert site.show("red")["state"] == "running"
    # Powered off by itself: not to be started again, though nobody has its exit status.
    path = os.path.join(os.path.dirname(site.show("blue")["console"]), "api.sock")
    assert " 204 " in request(path, "PUT /v1/shutdown")
    wait("it is off", lambda: site.show("blue")["state"] == "stopped")
    assert site.show("blue")["wanted"] == "stopped"
    site.run("instance", "start", "blue/vm")
    reached("blue")


# Wanted is what was wanted before, and what ended meanwhile is started.
def test_both_killed(site):
    [insulad] = labs.processes("insulad")
    site.run("instance", "stop", "--force", "blue/vm")
    assert site.console("blue").splitlines()[-1] == "ok serve listens"
    red = site.show("red")["pid"]
    kill(insulad)
    kill(red)
    site.lab.start()
    wait("it is started", lambda: site.show("red")["state"] == "running")
    assert site.show("red")["pid"] != red
    assert site.show("blue")["state"] == "stopped"
    site.run("instance", "start", "blue/vm")
    reached("red")
    reached("blue")


def test_switch_killed(site):
    former = site.show("red")["pid"]
    [switch] = labs.processes("insula-switch")
    kill(switch)
    for tenant in TENANTS:
        reached(tenant)
    assert site.show("red")["pid"] == former


# A change is told, restarts the one and not the other; a policy changes without.
def test_changes(site):
    former = {tenant: site.show(tenant)["pid"] for tenant in TENANTS}
    site.vms["red"] = {"memory": 48, "restart": "always"}
    assert "memory_mib 32 -> 48, restart on-failure -> always; its guest is shut down and started" \
        in site.diff()
    site.apply()
    wait("red is another", lambda: site.show("red").get("pid", former["red"]) != former["red"])
    assert "--memory\x0048" in open(f"/proc/{site.show('red')['pid']}/cmdline",
                                    encoding="ascii").read()
    assert site.show("blue")["pid"] == former["blue"]
    reached("red")
    former = site.show("red")["pid"]
    site.vms["red"]["restart"] = "never"
    assert "its guest" not in site.diff()
    site.apply()
    assert site.show("red")["pid"] == former
    kill(former)
    wait("it is not started again", lambda: site.show("red")["state"] == "failed")
    assert "was killed by signal 9" in site.show("red")["trouble"]
    site.run("instance", "start", "red/vm")
    reached("red")


# What cannot be started is tried again, with a pause that grows; what is not there is no apply.
def test_failures(site):
    site.vms["red"] = {"kernel": "/no/kernel"}
    text = site.run("apply", "-f", site.write(), status=1)
    assert "site.yaml:7: instance red/vm: kernel /no/kernel: No such file" in text, text
    bad = os.path.join(site.lab.directory, "bad")
    with open(bad, "w", encoding="ascii") as file:
        file.write("no kernel\n" * 1000)
    site.vms["red"] = {"kernel": bad}
    site.apply()
    about = wait("it fails again and again", lambda: (a := site.show("red"))["restarts"] > 2 and a)
    assert f"{bad}: " in about["trouble"], about
    assert f"instance red/vm: {about['trouble']}" in site.run("status")
    assert pings("blue") == 2
    pauses = [int(line.split()[-2]) for line in site.log().splitlines()
              if "instance red/vm: starting it again in" in line]
    assert pauses[-3:] == sorted(set(pauses[-3:])), pauses


# The guest is not alone in knowing that the host's disk is full.
def test_full_disk(site):
    def about():
        return json.loads(site.run("instance", "show", "blue/full", "-o", "json"))

    folder = os.path.join(site.lab.directory, "small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    disk, filler = os.path.join(folder, "disk"), os.path.join(folder, "filler")
    for name, size in ((disk, 8 << 20), (filler, 0)):
        with open(name, "wb") as file:
            file.truncate(size)
    os.posix_fallocate(fd := os.open(filler, os.O_RDWR), 0, 64 << 10)
    os.close(fd)
    site.run("instance", "create", "blue/full", "--kernel", machine.GUEST, "--memory", "32MiB",
             "--stop-timeout", "1", "--disk", disk, "--cmdline",
             "run=disk:0,blk-refused:write:8000:8,sleep:600000")
    told = wait("it is told", lambda: about().get("trouble"))
    assert told == ("disk disk0: write of 4096 bytes at 4096000 failed: "
                    "No space left on device"), told
    assert told in site.log() and about()["state"] == "running"
    site.run("instance", "delete", "blue/full")
    wait("it is gone", lambda: len(labs.processes("insula-vmm")) == 2)
    subprocess.run(["umount", "--lazy", folder], check=True) # a ring may still have the file


# Who has filled the disk with the state can be stopped, which is told not to be stored.
def test_full_state(site):
    def mount(size):
        netns.run("mount", "-o", f"remount,size={size}", sandbox.DIRECTORY)

    def stored():
        return "not_stored" not in site.show("blue")

    before, now = os.statvfs(sandbox.DIRECTORY), site.show("blue")["pid"]
    mount((before.f_blocks - before.f_bfree) * before.f_frsize)
    try:
        text = site.run("instance", "pause", "blue/vm", status=1)
        assert text.startswith("blue/vm is paused\n") and pings("blue", 1) == 0, text
        assert "that it is to be paused is not stored: " in text and "disk is full" in text, text
        assert "the next start of insulad would let it go on" in text, text
        site.run("instance", "resume", "blue/vm")
        for force in (["--force"], []):
            text = site.run("instance", "stop", *force, "blue/vm", status=1)
            assert text.startswith("blue/vm is stopped\n") and "start it again" in text, text
            assert not os.path.exists(f"/proc/{now}") and "not_stored" in site.show("blue")
            assert "blue/vm: that it is to be stopped is not stored" in site.run("status")
            site.run("instance", "start", "blue/vm")
            assert stored()
            reached("blue")
            now = site.show("blue")["pid"]
        site.run("instance", "stop", "--force", "blue/vm", status=1)
    finally:
        mount(before.f_blocks * before.f_frsize)
    wait("it is stored", stored)
    kill(labs.processes("insulad")[0])
    site.lab.start()
    assert site.show("blue")["state"] == "stopped"
    site.run("instance", "start", "blue/vm")
    reached("blue")


# The fds that insulad may have beyond those that it has; None: as many as it likes.
def allow_fds(n):
    [insulad] = labs.processes("insulad")
    taken = set(map(int, os.listdir(f"/proc/{insulad}/fd")))
    _, most = resource.prlimit(insulad, resource.RLIMIT_NOFILE)
    free = (fd for fd in range(most) if fd not in taken)
    soft = most if n is None else next(itertools.islice(free, n, None))
    resource.prlimit(insulad, resource.RLIMIT_NOFILE, (soft, most))


# What there is no fd for has a reason, takes commands, and runs as soon as there is; what runs
# already is left alone.
def test_without_fds(site):
    def about():
        return json.loads(site.run("instance", "show", "blue/new", "-o", "json"))

    former = site.show("blue")["pid"]
    allow_fds(5)
    text = site.run("instance", "create", "blue/new", "--kernel", machine.GUEST, "--memory",
                    "32MiB", "--cmdline", "run=sleep:600000", "--stop-timeout", "1", status=1)
    assert "blue/new is failed: " in text and "Too many open files" in text, text
    assert about()["trouble"] in site.run("status") and about()["wanted"] == "started"
    site.run("instance", "stop", "blue/new")
    assert about()["state"] == "stopped" and "trouble" not in about()
    assert "Too many open files" in site.run("instance", "start", "blue/new", status=1)
    allow_fds(None)
    wait("it runs", lambda: about()["state"] == "running")
    assert "trouble" not in about()
    path = os.path.join(site.lab.directory, "as-it-is")
    with open(path, "w", encoding="ascii") as file:
        file.write(site.run("config"))
    assert "instance" not in site.run("diff", "-f", path)
    assert site.show("blue")["pid"] == former
    site.run("instance", "delete", "blue/new")
    wait("it is gone", lambda: len(labs.processes("insula-vmm")) == 2)


# By the way of the file: what is applied last says so, and nothing else in it changes.
def test_create_and_delete(site):
    site.vms["red"] = {}
    site.apply()
    before = site.run("config")
    text = site.run("instance", "create", "blue/new", "--kernel", machine.GUEST, "--cmdline",
                    "run=dhcp,obey:600 button", "--memory", "32MiB", "--network",
                    "lan=10.0.0.13", "--stop-timeout", str(TIMEOUT_S))
    assert "+ instance blue/new: type vm" in text and "blue/new is running" in text, text
    assert "blue/new already" in site.run("instance", "create", "blue/new", "--kernel",
                                          machine.GUEST, status=1)
    assert site.run("instance", "create", "blue/bad", "--kernel", machine.GUEST, "--memory", "7",
                    status=1).startswith('memory "7" is not a number')
    link = os.path.join(site.lab.directory, "link")
    os.symlink(machine.GUEST, link)
    assert f"disk {link} is the same file as {machine.GUEST}" in site.run(
        "instance", "create", "blue/bad", "--kernel", machine.GUEST, "--disk", machine.GUEST,
        "--disk", link, status=1)
    assert "there is no tenant green" in site.run("instance", "create", "green/a", status=1)
    wait("it has its lease", lambda: "ok dhcp 10.0.0.13/24" in site.run(
        "instance", "console", "--log", "blue/new"))
    # What is typed is the guest's: this one takes it.
    typed = subprocess.run([site.lab.insula_program, "instance", "console", "blue/new"], text=True,
                           input="ping:10.0.0.12:2\n", capture_output=True, timeout=SECONDS,
                           check=False)
    assert typed.returncode == 0, typed
    wait("it pings", lambda: "ok ping 10.0.0.12 2 of 2" in site.run(
        "instance", "console", "--log", "blue/new"))
    now = site.run("config").splitlines()
    assert [line for line in now if line not in before.splitlines()] == [
        line for line in now if "name: new" in line]
    assert "- instance blue/new" in site.run("instance", "delete", "blue/new")
    assert site.run("config") == before


# Under another name it is another machine, which waits until the one has let go of the disk.
def test_renamed(site):
    before, disk = site.run("config"), os.path.join(site.lab.directory, "disk")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    site.run("instance", "create", "blue/one", "--kernel", machine.GUEST, "--memory", "32MiB",
             "--network", "lan", "--stop-timeout", "1", "--restart", "never", "--disk", disk,
             "--cmdline", "run=blk-write:0:8:1,blk-flush,sleep:60000")  # no power button
    with open(site.file, "w", encoding="ascii") as file:
        file.write(site.run("config").replace("name: one", "name: two"))
    site.lab.apply(site.file)
    assert len(labs.processes("insula-vmm")) == 3  # of which the one has not powered off
    assert "pid" not in json.loads(site.run("instance", "show", "blue/two", "-o", "json"))
    wait("the other one runs", lambda: json.loads(site.run(
        "instance", "show", "blue/two", "-o", "json"))["state"] == "running")
    assert "has not powered off in time" in site.log().split("generation")[-1]
    with open(site.file, "w", encoding="ascii") as file:
        file.write(before)
    site.lab.apply(site.file)
    wait("it is gone", lambda: len(labs.processes("insula-vmm")) == 2)


def test_deleted(site):
    folder = os.path.dirname(site.show("blue")["console"])
    pid = site.show("blue")["pid"]
    site.vms["red"], site.vms["blue"] = {}, None
    assert "- instance blue/vm" in site.apply()
    wait("its folder is gone", lambda: not os.path.exists(folder))
    assert len([n for n in os.listdir(os.path.dirname(folder)) if n.endswith(".net")]) == 1
    assert not os.path.exists(f"/proc/{pid}")
    assert "there is no instance" in site.run("instance", "show", "blue/vm", status=1)
    reached("red")


# Killed at any moment of a start: there is never a second machine, nor one that nobody knows.
def test_killed_in_starts(site):
    for number in range(KILLS):
        site.run("instance", "stop", "--force", "red/vm")
        [insulad] = labs.processes("insulad")
        pidfd = os.pidfd_open(insulad)
        with socket.socket(socket.AF_UNIX) as api:
            api.connect(os.path.join(os.environ["INSULA_RUN_DIR"], "insulad.sock"))
            api.sendall(b"POST /v1/instances/red/vm/start HTTP/1.1\r\nHost: insulad\r\n\r\n")
            time.sleep(number * 0.02 / KILLS)  # the moments that are looked for
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        site.lab.start()
        site.run("instance", "start", "red/vm")
        assert labs.processes("insula-vmm") == [site.show("red")["pid"]]
    found = sum("instance red/vm " in line and line.endswith("runs on")
                for line in site.log().splitlines())
    print(f"# {found} of {KILLS} were found", flush=True)


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    site = Site(lab)
    for tenant in TENANTS:
        netns.create(tenant)
    lab.start()
    good = labs.run_cases(globals(), site)
    begin = time.monotonic()
    kill(labs.processes("insulad")[0])  # `insula stop` has to do without it
    errors = lab.stop()
    if "the guest has powered off" not in site.log().split("cleaning up")[-1]:
        errors.append("no power button was pressed")
    left = labs.processes("insula-vmm") + labs.processes("insulad")
    if left or os.path.exists(os.environ["INSULA_RUN_DIR"]):
        errors.append(f"left behind: {left} {os.path.exists(os.environ['INSULA_RUN_DIR'])}")
    print(f"stopped in {time.monotonic() - begin:.1f} s", *errors, sep="\n", flush=True)
    if not good or errors:
        print(site.log())
    sys.exit(not good or bool(errors))


if __name__ == "__main__":
    main()
