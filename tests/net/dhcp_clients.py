# SPDX-License-Identifier: BSD-3-Clause
# Real DHCP clients, udhcpc and ISC dhclient, against the built-in server: all four states of
# REQUEST, RELEASE and NAK on configured ports; a `clients: many` port with a pool of its own, whose
# leases outlive insulad. Runs in a sandbox.
import dataclasses
import os
import signal
import sys
import time

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import dhcp
import dhcp_frames
import frames
import lab as labs
import netns
import sandbox

SCRIPT = os.path.join(os.path.dirname(HERE), "lib", "dhclient.sh")
POOL = [f"10.1.0.{n}" for n in range(100, 103)]


@dataclasses.dataclass(frozen=True)
class Client:
    name: str
    netns: str
    interface: str = "eth0"


# The demo's policy and, in red, a network with a pool of three on one port for many clients.
def policy_file():
    with open(os.path.join(labs.ROOT, "tests", "demo.yaml"), encoding="utf-8") as file:
        document = yaml.safe_load(file)
    red = document["tenants"][0]
    red["networks"].append({"name": "desks", "vlan": 30, "subnet": "10.1.0.0/24", "mtu": 1400,
                            "gateway": "10.1.0.1", "pool": f"{POOL[0]}-{POOL[-1]}", "lease": 600})
    red["instances"].append({"name": "desks", "nics": [
        {"network": "desks", "netns": "insdemo-desks", "clients": "many"}]})
    path = os.path.join(sandbox.DIRECTORY, "policy.yaml")
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(document, file)
    return path


def test_what_a_lease_says(lab):
    want = {"address": "10.0.0.11", "prefix_len": "24", "router": "10.0.0.1",
            "dns": "198.51.100.1", "mtu": "1500", "lease_s": "3600", "server": "10.0.0.1"}
    for name in ("red-1", "blue-1"):
        lease = lab.clients.lease(name)
        assert {k: lease[k] for k in want} == want, lease


def test_leases_are_listed(lab):
    listed = sorted(row["address"] for row in lab.list("lease"))
    assert listed.count("10.0.0.11") == 2 and listed.count("10.0.0.12") == 2, listed


# RENEWING: a unicast REQUEST with ciaddr.
def test_udhcpc_renews(lab):
    lab.clients.signal("red-1", signal.SIGUSR1)
    lease = lab.clients.wait_one("red-1")
    assert lease["event"] == "renew" and lease["address"] == "10.0.0.11", lease


def wait_state(lab, port, state):
    deadline = time.monotonic() + 10
    while True:
        [row] = [row for row in lab.list("lease") if row["port"] == port]
        if row["state"] == state:
            return row
        assert time.monotonic() < deadline, row
        time.sleep(0.02)


# It is listed as released meanwhile. (RELEASE is said once, by unicast, and the kernel may have to
# ask for the gateway's MAC first, with an address that is about to go: hence the ping.)
def test_udhcpc_releases_and_asks_again(lab):
    space = next(i.netns for i in lab.policy.instances if i.name == "red-2")
    netns.run(*netns.inside(space), "ping", "-c", "1", "-W", "5", "10.0.0.1")
    wait_state(lab, "red/red-2.eth0", "bound")
    lab.clients.release("red-2")
    assert wait_state(lab, "red/red-2.eth0", "released")["expires_s"] == 0
    lab.clients.signal("red-2", signal.SIGUSR1)
    lease = lab.clients.wait_one("red-2")
    assert lease["event"] == "bound" and lease["address"] == "10.0.0.12", lease
    wait_state(lab, "red/red-2.eth0", "bound")


def dhclient(lab, name, *words, edit=None):
    space = next(i.netns for i in lab.policy.instances if i.name == name)
    leases = os.path.join(lab.directory, f"dhclient-{name}.leases")
    if edit:
        with open(leases, encoding="utf-8") as file:
            text = file.read()
        assert edit[0] in text, text
        with open(leases, "w", encoding="utf-8") as file:
            file.write(text.replace(*edit))
    pid = os.path.join(lab.directory, f"dhclient-{name}.pid")
    return netns.run(*netns.inside(space), "dhclient", "-4", "-v", "-sf", SCRIPT, "-lf", leases,
                     "-pf", pid, "-cf", "/dev/null", *words, "eth0", timeout=60).stderr


def in_order(text, *parts):
    at = 0
    for part in parts:
        at = text.find(part, at)
        assert at >= 0, f"no '{part}' in its place in:\n{text}"


# SELECTING, then RELEASE; INIT-REBOOT with the right address, and with a wrong one.
def test_dhclient(lab):
    lab.clients.kill("blue-1")
    text = dhclient(lab, "blue-1", "-1")
    in_order(text, "DHCPDISCOVER", "DHCPOFFER of 10.0.0.11 from 10.0.0.1", "DHCPREQUEST",
             "DHCPACK of 10.0.0.11", "script: BOUND 10.0.0.11")
    text = dhclient(lab, "blue-1", "-x")  # ends it without a word
    text = dhclient(lab, "blue-1", "-1")
    assert "DHCPDISCOVER" not in text, text
    in_order(text, "DHCPREQUEST for 10.0.0.11", "DHCPACK of 10.0.0.11", "script: REBOOT 10.0.0.11")
    dhclient(lab, "blue-1", "-x")
    text = dhclient(lab, "blue-1", "-1", edit=("10.0.0.11", "10.0.0.77"))
    in_order(text, "DHCPREQUEST for 10.0.0.77", "DHCPNAK", "DHCPDISCOVER", "DHCPACK of 10.0.0.11")
    in_order(dhclient(lab, "blue-1", "-r"), "DHCPRELEASE of 10.0.0.11")
    in_order(dhclient(lab, "blue-1", "-1"), "DHCPACK of 10.0.0.11")
    assert lab.agents["blue-2"].call("tcp", timeout=5, address="10.0.0.11",
                                     nonce="after dhclient".replace(" ", "-"))["answered"]
    dhclient(lab, "blue-1", "-x")


# The address of a configured port in use elsewhere: somebody has to mend that.
def test_decline(lab):
    [port] = [p for p in lab.list("port") if p["name"] == "red/red-1.eth0"]
    client = dhcp_frames.Client(frames.Wire("insdemo-red-1", "eth0"), 1, "10.0.0.1")
    client.mac, client.address = port["mac"], port["address"]
    client.decline()
    said = f"{port['mac']} on port red/red-1.eth0 declined 10.0.0.11, which somebody else uses " \
        "already: it is the port's own"
    path, deadline = os.path.join(lab.directory, "state", "insulad.log"), time.monotonic() + 5
    while True:
        with open(path, encoding="utf-8") as log:
            if said in log.read():
                break
        assert time.monotonic() < deadline, "nothing is said of it"
        time.sleep(0.02)


# A bridge behind the port, with as many clients as the pool holds addresses, and then one more.
def test_pool(lab):
    space = "insdemo-desks"
    netns.ip(space, "link", "add", "br0", "type", "bridge")
    for port in ("eth0", "br0"):
        netns.ip(space, "link", "set", port, "up")
    netns.ip(space, "link", "set", "eth0", "master", "br0")
    desks = [Client(f"desk-{n}", f"insdemo-desk-{n}") for n in range(len(POOL) + 1)]
    for number, desk in enumerate(desks):
        netns.create(desk.netns)
        netns.veth(space, f"p{number}", desk.netns, "eth0")
        netns.ip(space, "link", "set", f"p{number}", "master", "br0")
    clients = dhcp.Clients(os.path.join(lab.directory, "desks"), desks[:-1])
    leases = clients.wait()
    assert sorted(row["address"] for row in leases.values()) == POOL, leases
    assert {row["mtu"] for row in leases.values()} == {"1400"}, leases
    late = dhcp.Clients(os.path.join(lab.directory, "late"), desks[-1:], tries=2)
    assert not late.wait(), "the pool gave more addresses than it has"
    # They are acknowledged only once durable: insulad's death loses none.
    os.kill(labs.processes("insulad")[0], signal.SIGKILL)
    lab.start()
    listed = [row["address"] for row in lab.list("lease")]
    assert all(address in listed for address in POOL), listed
    clients.signal("desk-0", signal.SIGUSR1)
    assert clients.wait_one("desk-0")["address"] == leases["desk-0"]["address"]
    # They reach each other and the gateway.
    for space, target in (("insdemo-desk-0", leases["desk-1"]["address"]),
                          ("insdemo-desk-0", "10.1.0.1"), ("insdemo-desk-2", "10.1.0.1")):
        netns.run(*netns.inside(space), "ping", "-c", "1", "-W", "5", target)
    # A released address goes to the next who asks. (RELEASE is said once, by unicast; were the
    # gateway's MAC not known from the ping, udhcpc's kernel might forget it with the address.)
    clients.release("desk-2")
    heir = dhcp.Clients(os.path.join(lab.directory, "heir"), desks[-1:])
    assert heir.wait_one("desk-3")["address"] == leases["desk-2"]["address"]
    heir.stop()
    clients.stop()


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    lab.read(policy_file())
    lab.without_client = {"desks"}
    with lab:
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test(lab)
                print(f"ok {name}", flush=True)


main()
