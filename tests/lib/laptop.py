# SPDX-License-Identifier: BSD-3-Clause
# A lab whose host is a laptop: in the sandbox's own network namespace, with /etc and /run of its
# own, an interface towards a namespace that plays the internet, and policies given as Python
# values. Used by tests/net.
import json
import os
import select
import signal
import subprocess
import time

import yaml

import dhcp
import lab as labs
import netns
import policy as policies
import sandbox

OWN, ROUTER = "198.51.100.2", "198.51.100.1"
PRIVATE = "/run/private"


# Before a Laptop is made: files that are the host's stay as they are.
def private_files():
    netns.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    netns.run("cp", "-a", "/etc", PRIVATE)
    netns.run("mount", "--bind", PRIVATE, "/etc")
    os.makedirs("/run/lock")


# A tenant `name` with network lan on `vlan`, and one tap instance per address, each in a namespace
# called like the instance.
def tenant(name, vlan, addresses, snat="", **network):
    lan = {"name": "lan", "vlan": vlan, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"} | network
    nics = {f"{name}-{n}": {"network": "lan", "address": a, "netns": f"{name}-{n}"}
            for n, a in enumerate(addresses, 1)}
    return {"name": name, "networks": [lan | ({"snat": snat} if snat else {})],
            "instances": [{"name": n, "nics": [nic]} for n, nic in nics.items()]}


# The first nic of an instance of a document.
def nic_of(document, instance):
    return next(i["nics"][0] for t in document["tenants"] for i in t["instances"]
                if i["name"] == instance)


class Laptop(labs.Lab):
    def __init__(self, directory=sandbox.DIRECTORY):
        super().__init__(None, directory)
        self.file = os.path.join(directory, "policy.yaml")
        self.policy, self.document = None, None

    # Namespaces for all of the document's instances, the internet, the cable to it.
    def build_for(self, document):
        self.document = document
        instances = [
            policies.Instance(name=i["name"], tenant=t["name"], network="lan", vlan=0, routed=True,
                              netns=nic["netns"], interface=nic.get("interface", "eth0"),
                              address=nic.get("address", ""), snat="")
            for t in document["tenants"] for i in t["instances"] for nic in i["nics"][:1]]
        uplink = policies.Uplink("internet", "wlan0", OWN, ROUTER, 24)
        self.policy = policies.Policy(uplink=uplink, instances=tuple(instances))
        self.build()

    def go_online(self):
        netns.ip("", "address", "add", f"{OWN}/24", "dev", "wlan0")
        netns.ip("", "route", "add", "default", "via", ROUTER)

    # Instead of its own interface the internet has a bridge, with room for a second cable.
    def bridge_the_internet(self):
        space = labs.INTERNET_NETNS
        netns.ip(space, "link", "add", "br0", "type", "bridge")
        netns.ip(space, "link", "set", "br0", "up")
        netns.ip(space, "address", "flush", "dev", "eth0")
        netns.ip(space, "link", "set", "eth0", "master", "br0")
        netns.ip(space, "address", "add", f"{ROUTER}/24", "dev", "br0")

    # That cable, for the switch.
    def plug_in(self):
        netns.veth("", "up0", labs.INTERNET_NETNS, "eth1")
        netns.ip(labs.INTERNET_NETNS, "link", "set", "eth1", "master", "br0")

    # A test's life: starts, applies the document and gets leases, if wanted; runs the test_* of
    # `names`; stops. False if a case failed or stopping met with something to complain of.
    def run_cases(self, names, apply=True):
        try:
            self.start()
            if apply:
                self.apply_document(self.document)
                self.lease()
            done = labs.run_cases(names, self)
        finally:
            errors = self.stop()
        assert not errors, errors
        return done

    # insula stop; agents and DHCP clients go on. What it complained of.
    def stop_insulad(self):
        self.started = False
        return netns.run(self.insula_program, "stop", timeout=30).stderr

    def write(self, document):
        with open(self.file, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        return self.file

    # insula apply or diff of a document; (exit status, what it printed and complained).
    def try_document(self, word, document):
        done = subprocess.run([self.insula_program, word, "-f", self.write(document)], text=True,
                              capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    # What insulad answers to it.
    def json_of(self, word, document):
        done = subprocess.run([self.insula_program, word, "-f", self.write(document), "-o", "json"],
                              text=True, capture_output=True, timeout=60, check=False)
        return json.loads(done.stdout)

    def apply_document(self, document):
        status, text = self.try_document("apply", document)
        assert status == 0, text
        return text

    def status(self):
        return json.loads(self.insula("status", "-o", "json"))

    def warnings(self):
        return self.status()["warnings"]

    def log(self):
        with open(os.path.join(self.directory, "state", "insulad.log"), encoding="utf-8") as file:
            return file.read()

    # kill -9, and waits until it is dead.
    def kill(self, program):
        [pid] = labs.processes(program)
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], 10)[0], f"{program} survived SIGKILL"
        os.close(pidfd)

    def space(self, name):
        return next(i.netns for i in self.policy.instances if i.name == name)

    # Ends the DHCP clients and starts them anew.
    def lease_again(self):
        self.clients.stop()
        for name in [i.name for i in self.with_client()]:
            os.unlink(os.path.join(self.directory, "leases", name))
        self.clients = dhcp.Clients(self.directory, self.with_client())
        return self.clients.wait()

    # A probe from `name` to an agent elsewhere that must arrive there: where it came from. None if
    # it was not answered.
    def probe(self, proto, name, to, address, timeout=3):
        nonce = os.urandom(16).hex()
        args = {"count": 1, "interval": 0.2} if proto == "ping" else {}
        args |= {"timeout": timeout, "address": address, "nonce": nonce}
        answer = self.agents[name].call(proto, **args)
        if not answer["answered"]:
            return None
        deadline = time.monotonic() + 5  # the kernel answers a ping before the agent has seen it
        while nonce not in (seen := self.agents[to].call("collect")[proto]):
            if time.monotonic() > deadline:
                break
        assert nonce in seen, f"{proto} {name} -> {to}: answered, but not by {to}"
        return seen[nonce] if proto == "ping" else seen[nonce][0].split(":")[0]
