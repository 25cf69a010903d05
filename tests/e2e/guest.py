# SPDX-License-Identifier: BSD-3-Clause
# Asks guest_agent.c: in a guest, by its console, which insulad serves and which is connected to
# anew when insulad dies; or in a network namespace, by its standard input and output. Used by
# instances_inside.py.
import json
import os
import queue
import re
import socket
import subprocess
import threading
import time

import netns

PATIENCE_S = 60
# Whole ones: the kernel may have said something in their midst.
ANSWER = re.compile(r"@(\d+)(.*) \.$")
LEASE = re.compile(r"@lease (.*) \.$")


class Failed(Exception):
    pass


def wait(what, get, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while not (found := get()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found


class Agent:
    def __init__(self, name, address):
        self.name, self.address = name, address
        self.lines, self._answers, self._next = [], {}, 1
        self._lock = threading.Lock()

    def _take(self, line):
        self.lines.append(line)
        if (found := ANSWER.search(line)) and (answer := self._answers.get(found[1])):
            answer.put(found[2].split())

    # Gives a function that waits for the answer's words; None if none comes in time.
    def start(self, *words):
        with self._lock:
            number, self._next = str(self._next), self._next + 1
            answer = self._answers[number] = queue.Queue()
            self._put((" ".join((number, *map(str, words))) + "\n").encode())

        def get(seconds=PATIENCE_S):
            try:
                return answer.get(timeout=seconds)
            except queue.Empty:
                return None
        return get

    def ask(self, *words, seconds=PATIENCE_S):
        if (answer := self.start(*words)(seconds)) is None:
            raise Failed(f"{self.name} does not answer '{words}': {self.lines[-12:]}")
        return answer


class Neighbour(Agent):
    """In a namespace of the host's."""

    def __init__(self, name, address, space, program):
        super().__init__(name, address)
        self._process = netns.popen([*netns.inside(space), program, "-"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        wait(f"{name} is ready", lambda: "@ready ." in self.lines)

    def _put(self, data):
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _read(self):
        for line in self._process.stdout:
            self._take(line.decode().strip())


class Guest(Agent):
    """An instance TENANT/NAME."""

    def __init__(self, lab, name, address):
        super().__init__(name, address)
        self.lab, self._socket = lab, None
        self._path = wait(f"{name} has a console", lambda: self.show().get("console"))
        threading.Thread(target=self._read, daemon=True).start()

    def show(self):
        return json.loads(self.lab.insula("instance", "show", self.name, "-o", "json"))

    def state(self):
        return self.show()["state"]

    def _put(self, data):
        wait(f"the console of {self.name} is there", lambda: self._socket)
        try:
            self._socket.sendall(data)
        except OSError:
            pass  # who asks hears no answer

    def _read(self):
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(self._path)
                    self._socket = connection
                    with connection.makefile(encoding="ascii", errors="replace") as file:
                        for line in file:
                            self._take(line.strip())
            except OSError:
                pass
            self._socket = None
            time.sleep(0.1)

    # Its boot's id, its uptime in s, its processors and its nic's rings; None if it is silent.
    def about(self, seconds=3):
        found = self.start("about")(seconds)
        return found and (found[0], float(found[1]), int(found[2]), int(found[3]))

    # Waits until it answers, in another boot than `former`, and has its lease.
    def wait_boot(self, former=None):
        boot = wait(f"{self.name} is up", lambda: (a := self.about()) and a[0] != former and a, 120)
        wait(f"{self.name} has its address", self.lease)
        return boot[0]

    # What it said so far is of a boot that ends.
    def forget(self):
        self.lines = []

    def lease(self):
        found = [m[1].split() for m in map(LEASE.search, self.lines) if m]
        return found and found[-1]


def log_of_insulad():
    with open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"),
              encoding="utf-8", errors="replace") as file:
        return file.read()
