# SPDX-License-Identifier: BSD-3-Clause
# Network namespaces for the tests: made inside a sandbox (sandbox.py), so nothing of them is on the
# host. A Host plays one machine; its Agent (agent.py) probes and records. Used by tests/demo and
# tests/net.
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

LIB = os.path.dirname(os.path.abspath(__file__))
MARK = "INSULA_TEST_HELPER"
ENDED = {"failed": True, "error": "it has ended"}


class CommandFailed(Exception):
    pass


# Runs a command to its end; its output is the error's text when it fails.
def run(*command, check=True, timeout=60, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, timeout=timeout, **options)
    if check and done.returncode:
        text = (done.stderr.strip() + "\n" + done.stdout.strip()).strip()
        raise CommandFailed(f"{' '.join(command)}: exit {done.returncode}: {text}")
    return done


# Starts a helper of the test's own, which kill_helpers() finds again: by a mark in its environment,
# so that none is missed when the test is interrupted between starting and noting it.
def popen(command, env=None, **options):
    env = (os.environ if env is None else env) | {MARK: str(os.getpid())}
    return subprocess.Popen(command, env=env, **options)


# Kills what is left of the helpers and waits until they are gone.
def kill_helpers(deadline_s=10):
    mark, deadline = f"{MARK}={os.getpid()}".encode(), time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        found = False
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found = True
                        os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass  # gone meanwhile, or a zombie
        if not found:
            return
        time.sleep(0.02)


# The prefix that runs a command inside namespace `netns` ("" = the sandbox's own).
def inside(netns):
    return ("ip", "netns", "exec", netns) if netns else ()


def ip(netns, *words):
    return run("ip", *(("-n", netns) if netns else ()), *words).stdout


def create(netns):
    run("ip", "netns", "add", netns)
    ip(netns, "link", "set", "lo", "up")


# One pair of interfaces between two namespaces ("" = the sandbox's own), both up. Without IPv6
# link-local addresses: those appear a second or two later, in the middle of a comparison.
def veth(netns_a, name_a, netns_b, name_b):
    words = ["link", "add", name_a, *(("netns", netns_a) if netns_a else ())]
    words += ["type", "veth", "peer", "name", name_b, *(("netns", netns_b) if netns_b else ())]
    run("ip", *words)
    for space, name in ((netns_a, name_a), (netns_b, name_b)):
        ip(space, "link", "set", name, "addrgenmode", "none")
        ip(space, "link", "set", name, "up")


class Agent:
    """An agent.py in a namespace. start() gives a Pending; call() waits for its answer."""

    def __init__(self, name, netns):
        self.name, self.netns = name, netns
        self._pending, self._next, self._lock = {}, 1, threading.Lock()
        self._ended = False
        first = self._pending[0] = queue.Queue()
        self._process = popen(
            [*inside(netns), sys.executable, os.path.join(LIB, "agent.py"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wait(first, 20)

    def _read(self):
        for line in self._process.stdout:
            answer = json.loads(line)
            self._pending[answer["id"]].put(answer["result"])
        with self._lock:
            self._ended = True
            for answers in self._pending.values():
                answers.put(ENDED)

    def _wait(self, answers, timeout):
        try:
            result = answers.get(timeout=timeout)
        except queue.Empty:
            raise CommandFailed(f"agent in {self.netns}: no answer in {timeout} s") from None
        if result.get("failed"):
            raise CommandFailed(f"agent in {self.netns}: {result['error']}")
        return result

    # Gives a function that waits for the next answer to this command.
    def start(self, command, timeout=30, **args):
        with self._lock:
            number, self._next = self._next, self._next + 1
            answers = self._pending[number] = queue.Queue()
            if self._ended:
                raise CommandFailed(f"agent in {self.netns}: {ENDED['error']}")
            args |= {"id": number, "command": command, "timeout": timeout}
            print(json.dumps(args), file=self._process.stdin, flush=True)
        return lambda wait=timeout + 15: self._wait(answers, wait)

    def call(self, command, timeout=30, **args):
        return self.start(command, timeout, **args)()

    def stop(self):
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


# Agents of several namespaces, started at once: {name: netns} -> {name: Agent}.
def agents(names):
    made, errors, over = {}, [], threading.Event()

    def make(name, netns):
        try:
            if not over.is_set():
                made[name] = Agent(name, netns)
        except (CommandFailed, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=item, daemon=True) for item in names.items()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        # Interrupted: none may start an agent behind the back of the one who now cleans up. A
        # thread that is not seen alive yet will see that it is over.
        over.set()
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join()
        raise
    if errors:
        for agent in made.values():
            agent.stop()
        raise errors[0]
    return made
