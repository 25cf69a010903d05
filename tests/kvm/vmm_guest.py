#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The machine without devices, proved by the test guest on this host's /dev/kvm: how it boots,
# sleeps and ends, and that it ends whatever its guest, its terminal and its readers do; what it
# says when it cannot start. Called by test_vmm_guest.sh.
import array
import fcntl
import os
import pty
import random
import resource
import signal
import subprocess
import sys
import tempfile
import termios
import time

import machine

SECONDS = 30
REBOOTS = 100
KILLS = 30
F_SETPIPE_SZ = 1031
PAGE = 4096
FLOOD_LINE = "%08x flood flood flood flood flood flood flood flood flood"


class Checks:
    def __init__(self):
        self.failed = 0

    def expect(self, what, good, seen=""):
        print(("ok   " if good else "FAIL ") + what + ("" if good else f": {seen}"), flush=True)
        self.failed += not good


class Host:
    vmm, guest = machine.VMM, machine.GUEST

    def command(self, commands, *options):
        return machine.command(commands, *options, memory_mib=16, vmm=self.vmm, kernel=self.guest,
                               reboots=True)

    def start(self, commands, *options, **popen):
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **popen}
        return subprocess.Popen(self.command(commands, *options), **popen)

    def run(self, commands, *options, **popen):
        """The guest's lines and the exit status."""
        with self.start(commands, *options, **popen) as vmm:
            out = vmm.communicate(timeout=SECONDS)[0]
        return out.decode().splitlines(), vmm.returncode


def fails(*command, **options):
    """Exit status and message of a command that has nothing to say to standard output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, check=False, **options)
    return done.returncode, done.stderr.strip(), done.stdout


def status_kib(pid, key):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))


def wait_until(what, condition):
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {SECONDS} s: {what}")
        time.sleep(0.01)


def check_guest(checks, host):
    for cpus in ("1", "2", "32"):
        lines, status = host.run("devices,sleep:20", "--no-reboot", "--cpus", cpus)
        naps = [line.split() for line in lines if line.startswith("ok sleep")]
        checks.expect(f"with {cpus} processors it boots, sleeps and ends", status == 0 and
                      lines[0] == "guest: ready" and lines[-1] == "guest: done", (status, lines))
        checks.expect("its timer ends its sleep",
                      naps and int(naps[0][2]) >= 20000 and int(naps[0][4]) <= 3, naps)
    lines, status = host.run("fault", "--no-reboot")
    checks.expect("an exception is told", status == 0 and any(
        line.startswith("fail exception vector 6 ") and "ring 3" in line for line in lines), lines)
    lines, status = host.run("panic", stderr=subprocess.STDOUT)
    checks.expect("a panic ends it", status == 1 and lines[1:] == [
        "ok panic begins, offered 1", "insula-vmm: the guest's kernel has panicked"],
        (status, lines))
    lines, status = host.run("triple-fault", "--no-reboot", stderr=subprocess.STDOUT)
    checks.expect("a triple fault is a reset, and told", status == 0 and lines == [
        "guest: ready", "ok triple-fault begins",
        "insula-vmm: a triple fault resets the guest"], lines)


def check_reboots(checks, host):
    """What one boot leaves behind a hundred would show: fds, memory."""
    with host.start("devices") as vmm:
        seen = {}
        for n, line in enumerate(line for line in vmm.stdout if b"ready" in line):
            if n in (10, REBOOTS):
                seen[n] = (len(os.listdir(f"/proc/{vmm.pid}/fd")), status_kib(vmm.pid, "RssAnon"))
            if n == REBOOTS:
                break
        vmm.terminate()
        vmm.communicate(timeout=SECONDS)
    checks.expect("it reboots by itself", REBOOTS in seen, seen)
    (fds, kib), (fds_later, kib_later) = seen[10], seen[REBOOTS]
    checks.expect(f"{REBOOTS} reboots leave no fd behind", fds == fds_later, seen)
    checks.expect("nor memory", kib_later <= kib + 128, seen)
    with host.start("triple-fault") as vmm:
        ready = [line for _, line in zip(range(9), vmm.stdout) if b"ready" in line]
        vmm.terminate()
        vmm.communicate(timeout=SECONDS)
    checks.expect("a triple fault reboots it", len(ready) >= 4, ready)
    begin = time.monotonic()
    lines, status = host.run("triple-fault", stderr=subprocess.STDOUT)
    checks.expect("one after the other ends it, in two lines", status == 1 and
                  lines.count("guest: ready") == 5 and
                  [line for line in lines if line.startswith("insula-vmm: ")] == [
                      "insula-vmm: a triple fault resets the guest",
                      "insula-vmm: 5 triple faults, each within a second of the guest's start: "
                      "the machine ends"],
                  (status, lines, time.monotonic() - begin))


def check_signals(checks, host):
    """At any moment, whatever it does: ended, at once, by what was sent."""
    chance = random.Random(4)
    odd = []
    for n in range(KILLS):
        kind = chance.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP))
        # the fifth triple fault, which ends it, is later than any signal
        commands = chance.choice(("sleep:60000", "exit-storm:60000", "devices",
                                  "sleep:60,triple-fault"))
        cpus = chance.choice("129")
        with host.start(commands, "--cpus", cpus, stdout=subprocess.DEVNULL) as vmm:
            time.sleep(chance.uniform(0, 0.15)) # the moment is what is varied
            vmm.send_signal(kind)
            status = vmm.wait(SECONDS)
        # before it watches for them, signals end it as they end everyone
        allowed = {-kind} if kind == signal.SIGKILL else {-kind, 128 + kind}
        if status not in allowed:
            odd.append((n, kind, commands, status))
    checks.expect(f"{KILLS} signals at any moment end it", not odd, odd)


def pipe_of_a_page():
    ours, its = os.pipe()
    fcntl.fcntl(its, F_SETPIPE_SZ, PAGE)
    return ours, its


def in_pipe(fd):
    n = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, n)
    return n[0]


def check_reader(checks, host):
    """Who does not read holds up the guest, but neither the machine nor its end."""
    ours, its = pipe_of_a_page()
    with host.start("serial-flood:16", "--no-reboot", stdout=its) as vmm:
        os.close(its)
        wait_until("the pipe is full", lambda: in_pipe(ours) >= PAGE - 1)
        with os.fdopen(ours, encoding="ascii") as reader:
            lines = reader.read().splitlines()
        status = vmm.wait(SECONDS)
    flood = [FLOOD_LINE % n for n in range(256)]
    checks.expect("a late reader gets all", status == 0 and
                  lines == ["guest: ready", *flood, "ok serial-flood", "guest: done"],
                  (status, len(lines), lines[-3:]))

    ours, its = pipe_of_a_page()
    with host.start("serial-flood:60000", stdout=its) as vmm:
        os.close(its)
        wait_until("the pipe is full", lambda: in_pipe(ours) >= PAGE - 1)
        before = status_kib(vmm.pid, "RssAnon")
        ticks = cpu_ticks(vmm.pid)
        wait_until("the guest goes on", lambda: cpu_ticks(vmm.pid) > ticks + 20)
        grown = status_kib(vmm.pid, "RssAnon") - before
        vmm.terminate()
        status = vmm.wait(SECONDS)
    os.close(ours)
    checks.expect("a flood that nobody reads takes no memory", grown < 64, grown)
    checks.expect("and can be ended", status == 128 + signal.SIGTERM, status)

    ours, its = pipe_of_a_page()
    with host.start("serial-flood:8", "--no-reboot", stdout=its) as vmm:
        os.close(its)
        wait_until("the pipe is full", lambda: in_pipe(ours) >= PAGE - 1)
        os.close(ours)
        checks.expect("a reader that has gone stops nothing", vmm.wait(SECONDS) == 0)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))


def seconds_used(host, given):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with host.start("sleep:1000", "--no-reboot", stdin=subprocess.PIPE) as vmm:
        vmm.communicate(given, timeout=SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check_input(checks, host):
    without, used = seconds_used(host, b""), seconds_used(host, b"x" * 1000)
    checks.expect("input that the guest does not take costs nothing", used < without + 0.1,
                  (without, used))
    for closed in ("<&-", ">&-", "<&- >&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh",
                               *host.command("sleep:1", "--no-reboot")], timeout=SECONDS,
                              stdout=subprocess.DEVNULL, check=False)
        checks.expect(f"it runs with {closed}", done.returncode == 0, done.returncode)


def check_terminal(checks, host):
    ours, its = pty.openpty()
    before = termios.tcgetattr(its)
    with host.start("sleep:60000", stdin=its, stdout=its) as vmm:
        seen = b""
        while b"guest: ready" not in seen:
            seen += os.read(ours, 100)
        raw = termios.tcgetattr(its)[3]
        os.write(ours, b"\x01x")
        status = vmm.wait(SECONDS)
    checks.expect("a terminal is raw", not raw & (termios.ICANON | termios.ECHO | termios.ISIG))
    checks.expect("Ctrl-A x ends it", status == 0, status)
    checks.expect("and the terminal is as it was", termios.tcgetattr(its) == before)
    os.close(ours)
    os.close(its)


def check_neighbour(checks, host):
    with host.start("exit-storm:60000", stdout=subprocess.DEVNULL) as storm:
        lines, status = host.run("sleep:20,sleep:20", "--no-reboot")
        checks.expect("beside an exit storm another guest runs",
                      status == 0 and lines[-1] == "guest: done", lines)
        checks.expect("and the storm still does", storm.poll() is None, storm.returncode)
        storm.terminate()
        checks.expect("until it is ended", storm.wait(SECONDS) == 128 + signal.SIGTERM)


def check_usage(checks, host):
    kernel = ("--kernel", host.guest)
    for words, says in (
            (("--cpus", "0"), "--cpus 0: 1 to 32 are allowed"),
            (("--cpus", "33"), "--cpus 33: 1 to 32 are allowed"),
            (("--cpus", "2x"), "--cpus 2x: 1 to 32 are allowed"),
            (("--memory", "65"), "--memory 65: an even number of MiB"),
            (("--memory", "0"), "--memory 0: an even number of MiB from 2"),
            (("--memory", "-2"), "--memory -2: an even number of MiB"),
            (("--memory", "18446744073709551618"), "an even number of MiB"),
            (("word",), "'word': no such argument"),
            (("--wrong",), "unrecognized option '--wrong'")):
        status, message, _ = fails(host.vmm, *kernel, *words)
        checks.expect(f"{' '.join(words)} is refused", status == 2 and says in message,
                      (status, message))
    status, message, _ = fails(host.vmm)
    checks.expect("a kernel is asked for", status == 2 and "--kernel is missing" in message,
                  message)


def check_refusals(checks, host):
    guest = host.command("sleep:1", "--no-reboot")
    with tempfile.NamedTemporaryFile() as empty, tempfile.NamedTemporaryFile() as large:
        large.truncate(64 << 20)
        cases = (
            ("a kernel that is not there", [host.vmm, "--kernel", "/no/kernel"],
             ["/no/kernel: No such file or directory"]),
            ("a folder", [host.vmm, "--kernel", "/tmp"], ["/tmp: "]),
            ("an empty file", [host.vmm, "--kernel", empty.name], [empty.name + ": "]),
            ("an initrd that is not there", [*guest, "--initrd", "/no/initrd"],
             ["/no/initrd: No such file or directory"]),
            ("too little memory", [*guest, "--memory", "2"],
             [host.guest + ": too little memory: ", " the guest has 2"]),
            ("an initrd larger than memory", [*guest, "--initrd", large.name],
             [large.name + ": ", " memory"]),
            ("hugepages that there are not", [*guest, "--hugepages", "--memory", "1048576"],
             ["guest memory of ", " in hugepages: Cannot allocate memory", "vm.nr_hugepages"]),
            ("memory larger than a file may be",
             ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *guest],
             ["guest memory of 16 MiB: File too large; see `ulimit -f`"]),
            ("no /dev/kvm", ["unshare", "--mount", "sh", "-c",
                             'mount -t tmpfs none /dev && exec "$@"', "sh", *guest],
             ["/dev/kvm: No such file or directory", "modprobe"]),
            ("a /dev/kvm for others", ["setpriv", "--reuid=65534", "--regid=65534",
                                       "--clear-groups", "--bounding-set=-all", *guest],
             ["/dev/kvm: Permission denied", "group kvm"]))
        for what, command, says in cases:
            status, message, out = fails(*command)
            checks.expect(f"{what} is refused in one line", status == 1 and not out and
                          message.startswith("insula-vmm: ") and "\n" not in message and
                          all(word in message for word in says), (status, message))


def check_scarcity(checks, host):
    """Each fd of its start is the one too many once."""
    statuses, odd = [], []
    for n in range(4, 40):
        limit = (n, n)
        status, message, _ = fails(
            *host.command("sleep:1", "--no-reboot", "--cpus", "3"),
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_NOFILE, limit))
        statuses.append(status)
        if status != 0 and (status != 1 or "Too many open files" not in message):
            odd.append((n, status, message))
        if status == 0:
            break
    checks.expect("too few fds are told, at whichever it stops", not odd and len(statuses) > 6 and
                  statuses[-1] == 0, (statuses, odd))


def main():
    checks = Checks()
    host = Host()
    for check in (check_guest, check_usage, check_refusals, check_scarcity, check_input,
                  check_terminal, check_reader, check_neighbour, check_signals, check_reboots):
        begin = time.monotonic()
        check(checks, host)
        print(f"# {check.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
