# SPDX-License-Identifier: BSD-3-Clause
# Real DHCP clients: one udhcpc per instance, running on as it would in a guest. What it was given
# is read from what its script noted. Called by inside.py.
import json
import os
import signal
import time

import netns

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "udhcpc.sh")
DEADLINE_S = 15


class Clients:
    def __init__(self, directory, instances, tries=10):
        self._tries = tries
        self._leases = os.path.join(directory, "leases")
        os.makedirs(self._leases, exist_ok=True)
        self._processes = {i.name: self._start(i) for i in instances}

    def _start(self, instance):
        env = os.environ | {"INSDEMO_LEASES": self._leases, "INSDEMO_INSTANCE": instance.name}
        command = [*netns.inside(instance.netns), "udhcpc", "-f", "-n", "-O", "mtu"]
        command += ["-t", str(self._tries), "-T", "1", "-i", instance.interface, "-s", SCRIPT]
        log = os.path.join(self._leases, instance.name + ".log")
        with open(log, "w", encoding="utf-8") as file:
            return netns.popen(command, stdout=file, stderr=file, env=env)

    # What `name`'s script noted last; None before its first lease.
    def lease(self, name):
        try:
            with open(os.path.join(self._leases, name), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    # {instance: lease} of those that got one before the deadline or their client gave up.
    def wait(self):
        leases, deadline = {}, time.monotonic() + DEADLINE_S
        while len(leases) < len(self._processes) and time.monotonic() < deadline:
            running = [p for p in self._processes.values() if p.poll() is None]
            leases = {n: found for n in self._processes if (found := self.lease(n))}
            if not running:
                break
            time.sleep(0.02)
        return leases

    # Sends a signal to the client (USR1 = renew, USR2 = release) and forgets the old lease.
    def signal(self, name, number):
        try:
            os.unlink(os.path.join(self._leases, name))
        except FileNotFoundError:
            pass
        self._processes[name].send_signal(number)

    # Releases the lease. Of two signals that are pending the client sees the lower number first,
    # so a renew waits until this is done.
    def release(self, name):
        word = "entering released state"
        seen = self.log(name).count(word)
        self.signal(name, signal.SIGUSR2)
        deadline = time.monotonic() + DEADLINE_S
        while self.log(name).count(word) == seen:
            if time.monotonic() > deadline:
                raise netns.CommandFailed(f"{name}: no release: {self.log(name)}")
            time.sleep(0.02)

    def wait_one(self, name):
        deadline = time.monotonic() + DEADLINE_S
        while not (lease := self.lease(name)):
            if time.monotonic() > deadline:
                raise netns.CommandFailed(f"{name}: no lease: {self.log(name)}")
            time.sleep(0.02)
        return lease

    # Ends one client without a word to the server, as a guest that crashed would.
    def kill(self, name):
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name):
        with open(os.path.join(self._leases, name + ".log"), encoding="utf-8") as file:
            return file.read().strip()

    def stop(self):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(5)
