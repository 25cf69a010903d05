# SPDX-License-Identifier: BSD-3-Clause
# Virtual machines in the demo, one in each tenant: `kind: vm` instances added to the file, with the
# test guest (tests/kvm) for a kernel, as it runs on any /dev/kvm. It takes probes by its serial
# console and says there what reached it: an agent as those in the namespaces. Called by inside.py.
import ipaddress
import json
import os
import queue
import re
import socket
import threading
import time

import yaml

import netns

KVM = "/dev/kvm"
GUEST = os.path.join("tests", "kvm", "guest", "insula-test-guest")
SECONDS = 3600  # of a demo that --keep leaves, at most
LEASE_S = 20


# The test guest's path and "", or "" and why there are no machines.
def find_guest(insula):
    build = os.path.dirname(os.path.dirname(insula))
    guest = os.path.join(build, GUEST)
    try:
        os.close(os.open(KVM, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return "", f"{KVM}: {error.strerror}"
    return (guest, "") if os.path.exists(guest) else ("", f"{guest} is not built")


# The last one that nobody has.
def _free_address(network, tenant):
    hosts = ipaddress.ip_network(network["subnet"])
    taken = {str(nic.get("address", "")) for i in tenant.get("instances") or []
             for nic in i.get("nics") or []} | {str(network["gateway"])}
    first, _, last = str(network.get("pool", "")).partition("-")
    for number in range(int(hosts.broadcast_address) - 1, int(hosts.network_address), -1):
        address = ipaddress.ip_address(number)
        pooled = first and ipaddress.ip_address(first) <= address <= ipaddress.ip_address(last)
        if str(address) not in taken and not pooled:
            return str(address)
    raise ValueError(f"network {network['name']} has no address left for a machine")


def _machine(name, network, address, guest):
    return {"name": name, "kind": "vm", "kernel": guest, "memory": "32MiB", "stop_timeout": 5,
            "cmdline": f"run=dhcp,obey:{SECONDS} button name={name}",
            "nics": [{"network": network["name"], "address": address}]}


# The file with a machine TENANT-vm in the first network of each tenant that has a gateway, written
# to `target`.
def write(source, target, guest):
    with open(source, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    for tenant in document["tenants"]:
        routed = [n for n in tenant.get("networks") or [] if "gateway" in n]
        name = f"{tenant['name'][:28]}-vm"
        if routed and all(i["name"] != name for i in tenant.get("instances") or []):
            tenant.setdefault("instances", []).append(
                _machine(name, routed[0], _free_address(routed[0], tenant), guest))
    with open(target, "w", encoding="utf-8") as file:
        yaml.safe_dump(document, file, sort_keys=False)


class Machine:
    """A machine as probes.matrix takes it: start() and call(), as netns.Agent has them."""

    def __init__(self, lab, instance):
        self.name, self.seen = instance.name, {"ping": {}, "tcp": {}, "udp": {}}
        self._lines, self._next, self._answers = [], 1, {}
        self._lock, self._said = threading.Lock(), threading.Condition()
        about = json.loads(lab.insula("instance", "show", f"{instance.tenant}/{instance.name}",
                                      "-o", "json"))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(about["console"])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self._socket.makefile(encoding="ascii", errors="replace") as file:
            for line in file:
                words = line.split()
                with self._said:
                    self._lines.append(line.strip())
                    if words[:1] == ["seen"] and len(words) >= 3:
                        self.seen[words[1]].setdefault(words[2], []).append(words[-1])
                    elif words[:1] == ["done"] and len(words) >= 2:
                        self._answers.setdefault(words[1], queue.Queue()).put(words[2:])
                    self._said.notify_all()

    # The lease, as its console tells it; None if there is none in time.
    def lease(self):
        deadline = time.monotonic() + LEASE_S
        pattern = re.compile(r"ok dhcp (\S+)/\d+ gateway (\S+) lease (\d+)")
        with self._said:
            while not any(line == "ok obey listens" for line in self._lines):
                if not self._said.wait(deadline - time.monotonic()):
                    return None
            found = [m for m in map(pattern.match, self._lines) if m]
        return {"address": found[-1][1], "router": found[-1][2], "lease_s": int(found[-1][3])}

    def console(self):
        return " | ".join(self._lines[-5:])

    def start(self, command, timeout=30, **args):
        with self._said:
            number, self._next = str(self._next), self._next + 1
            answers = self._answers.setdefault(number, queue.Queue())
        words = [f"probe-{command}", number, args["address"], args["nonce"]]
        words += [str(args["count"])] if command == "ping" else []
        with self._lock:
            self._socket.sendall((":".join(words) + "\n").encode())
        return lambda wait=timeout + 15: self._wait(command, args["nonce"], answers, wait)

    def _wait(self, command, nonce, answers, seconds):
        try:
            words = answers.get(timeout=seconds)
        except queue.Empty:
            raise netns.CommandFailed(
                f"{self.name}: no answer in {seconds} s: {self.console()}") from None
        if command == "ping":
            return {"answered": int(words[0])}
        return {"answered": words[1:] == [nonce], "who": words[0] if words else ""}

    def call(self, command, timeout=30, **args):
        if command == "collect":
            with self._said:
                return {kind: dict(nonces) for kind, nonces in self.seen.items()}
        return self.start(command, timeout, **args)()

    def stop(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
