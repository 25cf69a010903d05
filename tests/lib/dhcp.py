# SPDX-License-Identifier: BSD-3-Clause
# Real DHCP clients: one udhcpc per instance, running on as it would in a guest. What it was given
# is read from what its script noted. Called by inside.py.
import json
import os
import time

import netns

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "udhcpc.sh")
DEADLINE_S = 15


class Clients:
    def __init__(self, directory, instances):
        self._leases = os.path.join(directory, "leases")
        os.makedirs(self._leases, exist_ok=True)
        self._processes = {i.name: self._start(i) for i in instances}

    def _start(self, instance):
        env = os.environ | {"INSDEMO_LEASES": self._leases, "INSDEMO_INSTANCE": instance.name}
        command = [*netns.inside(instance.netns), "udhcpc", "-f", "-n", "-t", "10", "-T", "1"]
        command += ["-i", instance.interface, "-s", SCRIPT]
        log = os.path.join(self._leases, instance.name + ".log")
        with open(log, "w", encoding="utf-8") as file:
            return netns.popen(command, stdout=file, stderr=file, env=env)

    # {instance: lease} of those that got one before the deadline or their client gave up.
    def wait(self):
        leases, deadline = {}, time.monotonic() + DEADLINE_S
        while len(leases) < len(self._processes) and time.monotonic() < deadline:
            for name, process in self._processes.items():
                ended = process.poll() is not None
                try:
                    with open(os.path.join(self._leases, name), encoding="utf-8") as file:
                        leases.setdefault(name, json.load(file))
                except FileNotFoundError:
                    if ended:
                        deadline = min(deadline, time.monotonic() + 1)
            time.sleep(0.02)
        return leases

    def log(self, name):
        with open(os.path.join(self._leases, name + ".log"), encoding="utf-8") as file:
            return file.read().strip()

    def stop(self):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(5)
