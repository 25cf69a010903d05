# SPDX-License-Identifier: BSD-3-Clause
# The demo's supervisor: holds the lock, notes what the machine looks like, runs inside.py as the
# first process of a sandbox, and compares afterwards. It ends the sandbox when the front (demo.py)
# is gone and the demo is not being kept. If it is killed itself, the kernel kills the sandbox's
# first process and with it all the rest; what then stays is the directory of the lock, which
# `--stop` removes and the next start takes.
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import sandbox
import snapshot

import lock
import report

OURS = ("insdemo", "insula")
MARK = "INSULA_DEMO_SUPERVISOR"  # in the environment of whatever we start, and what that starts
PATHS = ("/run/insula", "/run/dpdk", "/var/lib/insula", "/run/netns")
STOP_S = 60  # for an orderly stop; then the sandbox is killed


# Whether a difference is the demo's business, on a machine where others work too. In the sandbox
# everything is, and inside.py compares all of it. Here an interface or mount that came or went
# counts if it has one of our names; a process if it is left behind and descends from us, whatever
# its name (another lab on the machine uses the same ones, and ends when it likes); what changed,
# and firewall and files, always.
def ours(line, mark):
    how, kind, name = line.split(": ", 2)
    if kind == "process":
        return how == "left behind" and carries(name.split(" ")[0], mark)
    if how == "changed" or kind in ("file", "nft"):
        return True
    return any(word in line for word in OURS)


# Whether a process has inherited what begins with `mark`. One that is gone by now is not left
# behind.
def carries(pid, mark):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(word.startswith(mark.encode()) for word in file.read().split(b"\0"))
    except OSError:
        return False


class Supervisor:
    def __init__(self, front, options):
        self.front, self.options = front, options
        self.results, self.problems = {}, []
        self.kept = self.silent = self.stopping = False
        self.first, self.process, self.askers, self.pending = 0, None, [], b""
        self.mark = f"{MARK}={os.getpid()}.{time.monotonic_ns()}"
        self.select = selectors.DefaultSelector()
        self.had_netns = os.path.isdir("/run/netns")
        self.before = self.look()

    def look(self):
        return snapshot.network() | snapshot.machine((), PATHS)

    def start(self):
        o = self.options
        env = os.environ | lock.environment() | {MARK: self.mark.partition("=")[2]}
        read_report, write_report = os.pipe()
        command = [sys.executable, os.path.join(HERE, "inside.py"), "--policy", o["policy"],
                   "--insula", os.environ.get("INSULA", f"{o['build']}/control/insula"),
                   "--directory", lock.DIRECTORY, "--report", str(write_report)]
        command += ["--apply", o["apply"]] if o["apply"] else []
        command += ["--keep"] if o["keep"] else []
        self.process = subprocess.Popen(
            sandbox.wrap(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, pass_fds=(write_report,), env=env)
        os.close(write_report)
        return read_report

    def say(self, text):
        if not self.silent:
            try:
                os.write(1, text)
            except OSError:
                self.silent = True  # the terminal or pipe is gone

    # Asks the sandbox's first process to stop; kills it if that takes too long.
    def stop(self, *_):
        if self.stopping:
            return
        self.stopping = True
        if first := self.first_process():
            os.kill(first, signal.SIGTERM)
        else:
            self.process.kill()
        signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.alarm(STOP_S)

    def first_process(self):
        self.first = self.first or sandbox.first_process(self.process.pid)
        return self.first

    # The verdict to the front, once; when the demo is kept, words end here.
    def tell_front(self):
        if self.options["json"]:
            try:
                report.write(self.options["json"], self.results, not self.problems)
            except OSError as error:
                self.problems.append(f"cannot write {self.options['json']}: {error.strerror}")
        ok = not self.problems
        if self.problems:
            self.say("\nNot as it should be:\n".encode())
            self.say("".join(f"  {p}\n" for p in self.problems).encode())
        self.say(b"\nok\n" if ok else b"\nFAILED\n")
        self.tell(self.front)
        if self.kept:
            self.silent = True
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)

    def tell(self, sock):
        verdict = {"exit": 1 if self.problems else 0, "kept": self.kept and not self.stopping,
                   "problems": self.problems}
        try:
            sock.send(json.dumps(verdict).encode())
        except OSError:
            pass  # it is gone, and does not want to know
        sock.close()

    def on_text(self, file):
        text = os.read(file.fileno(), 65536)
        self.say(text)
        if not text:
            self.select.unregister(file)

    def on_report(self, fd):
        part = os.read(fd, 65536)
        *lines, self.pending = (self.pending + part).split(b"\n")
        for line in lines:
            document = json.loads(line)
            self.results, self.problems = document["results"], document["problems"]
            if document["kept"]:
                self.kept = True
                self.select.unregister(self.front)
                self.tell_front()
        if not part:
            self.select.unregister(fd)

    def on_front(self, sock):
        self.select.unregister(sock)  # it never speaks: it has died
        self.stop()

    def on_control(self, server):
        asker, _ = server.accept()
        asker.settimeout(1)
        try:
            question = asker.recv(64)
            if question == b"stop":
                self.askers.append(asker)
                self.stop()
                return
            state = {"supervisor": os.getpid(), "first_process": self.first_process()}
            asker.send(json.dumps(state).encode())
        except OSError:
            pass
        asker.close()

    def run(self, control):
        fd = self.start()
        for source, handler in ((self.process.stdout, self.on_text), (fd, self.on_report),
                                (self.front, self.on_front), (control, self.on_control)):
            self.select.register(source, selectors.EVENT_READ, handler)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)
        reported = False
        while not reported:
            for key, _ in self.select.select():
                key.data(key.fileobj)
            reported = fd not in self.select.get_map()
        self.process.wait()
        signal.alarm(0)
        while self.process.stdout in self.select.get_map():
            self.on_text(self.process.stdout)

    # Differences are given a moment: the kernel takes a dead sandbox apart in the background.
    def check_left(self):
        deadline = time.monotonic() + 10
        while True:
            lines = snapshot.compare(self.before, self.look())
            left = [line for line in lines if ours(line, self.mark)]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.problems += left
        others = [line for line in lines if line not in left
                  and not any(word in line for word in (": sysctl: ", ": process: "))]
        for line in others:
            self.say(f"note, another's doing meanwhile: {line}\n".encode())

    def end(self):
        if not self.results and not self.problems:
            self.problems.append("the demo ended without a report")
        if not self.had_netns and os.path.isdir("/run/netns") and not os.listdir("/run/netns"):
            os.rmdir("/run/netns")
        self.check_left()
        if not self.kept:
            self.tell_front()
        lock.remove()
        for asker in self.askers:
            self.tell(asker)
        return 1 if self.problems else 0


def main():
    front = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(lock.HELD, False)  # held until this process ends
    front.set_inheritable(False)
    supervisor = Supervisor(front, json.loads(sys.argv[2]))
    with lock.listen() as control:
        supervisor.run(control)
    return supervisor.end()


if __name__ == "__main__":
    sys.exit(main())
