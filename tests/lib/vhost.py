# SPDX-License-Identifier: BSD-3-Clause
# vhost-user in a lab: the demo's policy with one instance's tap replaced by a vhost-user port, and
# a guest for it: testpmd in the instance's namespace carries every frame between the port (DPDK's
# virtio-user, the front end) and a tap there, behind which is the namespace's own network stack.
# Used by tests/net/vhost_guest.py and tests/e2e/linux_guest.py; runs in a sandbox.
import os
import time

import lab as labs
import netns
import yaml

DEMO = os.path.join(labs.ROOT, "tests", "demo.yaml")


def until(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise netns.CommandFailed(f"waited in vain: {what}")
        time.sleep(0.02)
    return result


# Writes the demo's policy to `file`; nics: {instance: keys of its vhost-user nic}.
def write_policy(file, nics):
    with open(DEMO, encoding="utf-8") as demo:
        doc = yaml.safe_load(demo)
    for tenant in doc["tenants"]:
        for instance in tenant["instances"]:
            if (keys := nics.get(instance["name"])) is not None:
                old = instance["nics"][0]
                instance["nics"] = [{"network": old["network"], "address": old["address"],
                                     "type": "vhost-user"} | keys]
    with open(file, "w", encoding="utf-8") as out:
        yaml.safe_dump(doc, out)


# A lab whose `instance` of the demo is behind vhost-user and gets no DHCP client from the lab.
def make_lab(directory, instance, **keys):
    lab = labs.Lab(DEMO, directory)
    lab.without_client = {instance}
    lab.policy_file = os.path.join(directory, "policy.yaml")
    write_policy(lab.policy_file, {instance: keys})
    return lab


def port(lab, instance):
    return next(p for p in lab.list("port") if p["name"].endswith(f"/{instance}.eth0"))


def wait_state(lab, instance, state):
    until(f"port of {instance} is {state}", lambda: port(lab, instance)["state"] == state)


def socket_of(lab, instance):
    return port(lab, instance)["device"].split()[-1]


class Testpmd:
    """listens: the front end listens and the switch connects; else the other way round."""

    def __init__(self, lab, instance, listens=True):
        self.space = next(i for i in lab.policy.instances if i.name == instance)
        self.log = os.path.join(lab.directory, f"testpmd-{instance}.log")
        path, mac = socket_of(lab, instance), port(lab, instance)["mac"]
        if listens and os.path.exists(path):
            os.unlink(path)  # of one that was killed; virtio-user does not replace it
        # No hugepages: without them DPDK's memory is one memfd, which can be shared just as well.
        command = ["stdbuf", "-oL", "dpdk-testpmd", "--no-pci", "--no-huge", "--no-shconf"]
        command += ["-m", "128", "--lcores", "0,1@0-1"]
        command += [f"--vdev=net_virtio_user0,path={path}" + (",server=1" if listens else "")]
        command += [f"--vdev=net_tap0,iface={self.space.interface},mac={mac}"]
        command += ["--", "--auto-start", "--forward-mode=io", "--total-num-mbufs=4096",
                    "--stats-period=3600"]
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = netns.popen([*netns.inside(self.space.netns), *command], stdout=out,
                                       stderr=out)
        try:
            until(f"testpmd runs: {self.log}", self.forwards)
        except netns.CommandFailed as error:
            raise netns.CommandFailed(f"{error}: {self.text()[-3000:]}") from None
        netns.ip(self.space.netns, "link", "set", self.space.interface, "up")

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def forwards(self):
        if self.process.poll() is not None:
            raise netns.CommandFailed("testpmd has ended")
        return "io packet forwarding - ports=2" in self.text()

    # Its tap goes with it.
    def kill(self):
        self.process.kill()
        self.process.wait()
        until("the tap is gone", lambda: self.space.interface not in
              netns.ip(self.space.netns, "-br", "link"))
