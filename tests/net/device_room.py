# SPDX-License-Identifier: BSD-3-Clause
# Room for DPDK devices in the switch: as many as a file may have fit, by a switch that is started
# anew when the one that runs was reckoned for fewer, which `diff` tells; it is kept when they go,
# and found again by another insulad. A device may move to another port in one apply, and as many as
# there can be may be replaced, and a vhost-user socket goes along with its port; an apply that
# fails puts them back. Runs in a sandbox.
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

DEVICES_MAX = 32


def document(first, end):
    found = {"version": 1, "tenants": [laptops.tenant("red", 10, ["10.0.0.11"])]}
    found["tenants"][0]["instances"] += [
        {"name": f"n{n}", "nics": [{"network": "lan", "type": "ethdev",
                                    "devargs": f"net_null{n},no-rx=1"}]}
        for n in range(first, end)]
    return found


def switch():
    [pid] = labs.processes("insula-switch")
    return pid


def wait_up(lab, n):
    deadline = time.monotonic() + 20
    while (states := [p["state"] for p in lab.list("port") if "/n" in p["name"]]) != ["up"] * n:
        assert time.monotonic() < deadline, f"{states}\n{lab.log()[-2000:]}"
        time.sleep(0.1)


def test_room(lab):
    first = switch()
    small = labs.memory_kib(first)
    lab.apply_document(document(0, 4))
    wait_up(lab, 4)
    assert switch() == first, "it had room for four"

    text = lab.try_document("diff", document(0, 5))[1]
    assert "switch insula-switch: device_queues 4 -> 8" in text, text
    lab.apply_document(document(0, 5))
    wait_up(lab, 5)
    assert switch() != first

    # These go before others come.
    lab.apply_document(document(0, 8))
    eight = switch()
    assert lab.try_document("diff", document(8, 16))[1].count("device_queues") == 0
    lab.apply_document(document(8, 16))
    wait_up(lab, 8)
    assert switch() == eight, "the former ones were reckoned with"

    lab.apply_document(document(0, DEVICES_MAX))
    wait_up(lab, DEVICES_MAX)
    status, text = lab.try_document("apply", document(0, DEVICES_MAX + 1))
    assert status == 1 and "more than 32 DPDK devices" in text, text
    wait_up(lab, DEVICES_MAX)

    lab.kill("insula-switch")
    while not labs.processes("insula-switch"):
        time.sleep(0.01)
    wait_up(lab, DEVICES_MAX)

    kept = switch()
    lab.apply_document(document(0, 1))
    wait_up(lab, 1)
    lab.kill("insulad")
    lab.start()
    wait_up(lab, 1)
    assert switch() == kept, "another switch without need"
    assert lab.try_document("diff", document(0, 1)) == (0, "")
    assert not lab.stop_insulad()
    lab.start()
    wait_up(lab, 1)
    assert labs.memory_kib(switch()) < max(small + 16384, 65536), labs.memory_kib(switch())


# A document with an instance `nic` and a trunk, both on DPDK devices; that of the trunk sends
# without end.
def movable(nic, trunk):
    found = document(0, 1)
    found["tenants"][0]["instances"][-1]["name"] = nic
    found["trunks"] = [{"name": trunk, "devargs": "net_null7", "allowed": [10]}]
    return found


# Pings the gateway from the tap while `change` runs; every one is answered, but for the last ones,
# for which ping did not wait.
def undisturbed(lab, change):
    command = (*netns.inside("red-1"), "ping", "-n", "-i", "0.01", "10.0.0.1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ping:
        try:
            change()
            time.sleep(0.1)  # a few more
        finally:
            ping.send_signal(signal.SIGINT)
        text = ping.communicate()[0]
    answered = {int(seq) for seq in re.findall(r" icmp_seq=(\d+) ttl", text)}
    sent = int(re.search(r"(\d+) packets transmitted", text).group(1))
    assert answered == set(range(1, len(answered) + 1)) and len(answered) > sent - 4, text


# The switch takes in what the port's device sends.
def assert_forwards(lab, port):
    before = sum(labs.drops(lab, port).values())
    deadline = time.monotonic() + 10
    while sum(labs.drops(lab, port).values()) == before:
        assert time.monotonic() < deadline, f"{port} is not served\n{lab.log()[-2000:]}"
        time.sleep(0.05)


def ports(lab):
    return {p["name"]: p["state"] for p in lab.list("port") if p["type"] == "ethdev"}


def test_move(lab):
    lab.lease_again()  # its tap was made anew
    lab.apply_document(movable("n0", "lab"))
    same = switch()
    assert_forwards(lab, "lab")

    def rename():
        for nic, trunk in (("n0", "lab2"), ("n1", "lab2"), ("n2", "lab3")):
            wanted = movable(nic, trunk)
            status, text = lab.try_document("diff", wanted)
            assert status == 1 and "would fail" not in text, text
            lab.apply_document(wanted)
            assert ports(lab) == {f"red/{nic}.eth0": "up", trunk: "up"}, ports(lab)
            assert_forwards(lab, trunk)

    undisturbed(lab, rename)

    # The two change places, and a nic becomes a trunk.
    wanted = movable("n2", "lab3")
    wanted["trunks"][0]["devargs"] = "net_null0,no-rx=1"
    laptops.nic_of(wanted, "n2")["devargs"] = "net_null7"
    lab.apply_document(wanted)
    assert ports(lab) == {"red/n2.eth0": "up", "lab3": "up"}, ports(lab)
    wanted["trunks"].append({"name": "lab4", "devargs": "net_null7", "allowed": [10]})
    wanted["tenants"][0]["instances"].pop()
    lab.apply_document(wanted)
    assert ports(lab) == {"lab3": "up", "lab4": "up"}, ports(lab)
    assert_forwards(lab, "lab4")
    assert switch() == same


# The last new port cannot be made: by then the former ones have left the switch.
def test_failure(lab):
    lab.apply_document(movable("n0", "lab"))
    wanted = movable("n1", "lab2")
    wanted["tenants"][0]["instances"].append(
        {"name": "unmade", "nics": [{"network": "lan", "type": "ethdev",
                                     "devargs": "net_virtio_user0,path=/nonexistent"}]})

    def fail():
        status, text = lab.try_document("apply", wanted)
        assert status == 1 and "port red/unmade" in text, text
        assert ports(lab) == {"red/n0.eth0": "up", "lab": "up"}, ports(lab)
        assert_forwards(lab, "lab")

    undisturbed(lab, fail)
    assert lab.try_document("diff", movable("n0", "lab")) == (0, "")
    assert not lab.warnings(), lab.warnings()
    lab.apply_document(movable("n1", "lab2"))
    assert_forwards(lab, "lab2")
    lab.apply_document(document(0, 0))


# Old and new ones together are more than DPDK takes, whichever there were before.
def test_replaced(lab):
    n = DEVICES_MAX // 2 + 1
    for first in (0, n, 0):
        lab.apply_document(document(first, first + n))
        wait_up(lab, n)
    former = ports(lab)
    wanted = document(n, 2 * n)
    laptops.nic_of(wanted, f"n{2 * n - 1}")["devargs"] = "net_virtio_user0,path=/nonexistent"
    status, text = lab.try_document("apply", wanted)
    assert status == 1 and f"port red/n{2 * n - 1}" in text, text
    assert ports(lab) == former and set(former.values()) == {"up"}, ports(lab)


def vhost_document(name, n):
    found = document(0, 0)
    found["tenants"][0]["networks"][0]["subnet"] = "10.0.0.0/16"
    found["tenants"][0]["instances"] += [
        {"name": f"{name}{i}", "nics": [{"network": "lan", "type": "vhost-user"}]}
        for i in range(n)]
    return found


# librte_vhost has room for 1,023: those that go make way for those that come, and are back when
# the apply fails.
def test_vhost_replaced(lab):
    lab.apply_document(vhost_document("a", 600))
    failing = vhost_document("b", 600)
    failing["tenants"][0]["instances"].append(
        {"name": "last", "nics": [{"network": "lan", "type": "ethdev",
                                   "devargs": "net_virtio_user0,path=/nonexistent"}]})
    before = sorted((p["name"], p["device"], p["state"]) for p in lab.list("port"))
    status, text = lab.try_document("apply", failing)
    assert status == 1 and "/nonexistent" in text, text
    assert before == sorted((p["name"], p["device"], p["state"]) for p in lab.list("port"))
    text = lab.apply_document(vhost_document("b", 600))
    assert "because" not in text, text[-2000:]
    assert sum("vhost-user" in p["device"] for p in lab.list("port")) == 600
    lab.apply_document(document(0, 0))


def socket_document(name, path, server):
    found = document(0, 0)
    found["tenants"][0]["instances"].append(
        {"name": name, "nics": [{"network": "lan", "type": "vhost-user", "socket": path,
                                 "server": server}]})
    return found


# A socket goes to a renamed instance, which keeps it, and back when the apply fails.
def test_socket_moves(lab):
    for server in (True, False):
        path = f"{sandbox.DIRECTORY}/{'server' if server else 'client'}/socket"
        os.mkdir(os.path.dirname(path), 0o777)
        os.chmod(os.path.dirname(path), 0o777)
        device = f"vhost-user {'server' if server else 'client'} {path}"

        def has(name, path=path, server=server, device=device):
            [port] = [p for p in lab.list("port") if p["name"] != "red/red-1.eth0"]
            assert port["name"] == f"red/{name}.eth0" and port["device"] == device, port
            assert os.path.exists(path) == server

        lab.apply_document(socket_document("a", path, server))
        has("a")
        wanted = socket_document("b", path, server)
        text = lab.try_document("diff", wanted)[1]
        assert "because" not in text, text
        assert "because" not in lab.apply_document(wanted)
        has("b")
        failing = socket_document("c", path, server)
        failing["tenants"][0]["instances"] += document(0, 1)["tenants"][0]["instances"][1:]
        laptops.nic_of(failing, "n0")["devargs"] = "net_virtio_user0,path=/nonexistent"
        status, text = lab.try_document("apply", failing)
        assert status == 1 and "/nonexistent" in text, text
        has("b")
    lab.apply_document(document(0, 0))


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(document(0, 0))
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
