# SPDX-License-Identifier: BSD-3-Clause
# The file is the whole desired state: diff says what apply then does, the same file again does
# nothing, and a running port that is renamed, moved or changed works on as the file now says,
# while tenant blue's datagrams, inside and through SNAT, lose and double none. Runs in a sandbox.
import copy
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

INTERVAL_S = 0.005
STREAMS = ("blue-2", "internet")  # from blue-1
DMZ = {"name": "dmz", "vlan": 11, "subnet": "10.0.1.0/24", "gateway": "10.0.1.1",
       "snat": "internet"}


def first_document():
    uplink = {"name": "internet", "mode": "routed", "address": "198.51.100.9/24",
              "gateway": laptops.ROUTER, "interface": "wlan0"}
    tenants = [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12", "10.0.0.13"], "internet"),
               laptops.tenant("blue", 20, ["10.0.0.11", "10.0.0.12"], "internet")]
    tenants[0]["networks"].append(DMZ)
    return {"version": 1, "uplinks": [uplink], "tenants": tenants}


class Bystander:
    """Blue's streams, from one check to the next."""

    def __init__(self, lab):
        self.lab, self.n = lab, 0
        self.to = {"blue-2": lab.addresses["blue-2"], "internet": laptops.ROUTER}

    def begin(self):
        self.n += 1
        sender = self.lab.agents["blue-1"]
        self.ends = {to: sender.start("stream", label=self.label(to), address=self.to[to],
                                      interval=INTERVAL_S) for to in STREAMS}
        for to in STREAMS:
            self.wait(to, 1)

    def label(self, to):
        return f"{self.n}-{to}"

    def numbers(self, to):
        answer = self.lab.agents[to].call("arrivals", label=self.label(to))
        return [number for number, *_ in answer["arrivals"]]

    def wait(self, to, n):
        deadline = time.monotonic() + 5
        while len(numbers := self.numbers(to)) < n and time.monotonic() < deadline:
            time.sleep(0.01)
        return numbers

    def end(self, what):
        for to, end in self.ends.items():
            self.lab.agents["blue-1"].call("stop_stream", label=self.label(to))
            sent = end()["sent"]
            lost = set(range(sent)) - set(self.wait(to, sent))
            assert not lost, f"{what}: to {to}: {len(lost)} of {sent} lost: {sorted(lost)[:9]}"
            assert len(self.numbers(to)) == sent, f"{what}: to {to}: some arrived twice"


# Diff, apply, and both again; the lines of change.
def make(lab, document):
    status, planned = lab.try_document("diff", document)
    assert status == 1 and planned, f"diff: {status} {planned}"
    done = lab.apply_document(document).splitlines()
    assert done[:-1] == planned.splitlines(), f"diff said {planned}, apply did {done}"
    generation = lab.status()["generation"]
    assert lab.try_document("diff", document) == (0, ""), "applied and yet there is a difference"
    assert lab.apply_document(document) == f"0 changes, generation {generation}\n"
    lab.document = document
    return [line.split(":")[0] for line in done[:-1]]


def ask_again(lab, space, interface="eth0"):
    command = ["udhcpc", "-f", "-q", "-n", "-t", "10", "-T", "1", "-i", interface, "-s",
               os.path.join(labs.LIB, "udhcpc.sh")]
    env = os.environ | {"INSDEMO_LEASES": lab.directory, "INSDEMO_INSTANCE": "again"}
    netns.run(*netns.inside(space), *command, env=env)


def index(space, name="eth0"):
    return netns.ip(space, "-o", "link", "show", name).split(":")[0]


def addresses(space, name="eth0"):
    return netns.ip(space, "-br", "-4", "address", "show", name).split()[2:]


# A TCP probe arrives where it should, or does not arrive.
def reaches(lab, source, target, address):
    return lab.probe("tcp", source, target, address, timeout=2) is not None


def instance(document, name):
    return next(i for t in document["tenants"] for i in t["instances"] if i["name"] == name)


# Its device, its lease and its carrier stay.
def test_rename(lab, document):
    before = index("red-1")
    instance(document, "red-1")["name"] = "web"
    changes = make(lab, document)
    assert changes == ["+ port red/web.eth0", "- port red/red-1.eth0"], changes
    assert index("red-1") == before
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)
    assert reaches(lab, "red-2", "red-1", "10.0.0.11")


# Two swap their names: every device stays where it is.
def test_swap_names(lab, document):
    before = index("red-1"), index("red-2")
    one, two = instance(document, "red-1"), instance(document, "red-2")
    one["name"], two["name"] = two["name"], one["name"]
    assert "anew" not in lab.try_document("diff", document)[1]
    changes = make(lab, document)
    assert changes == ["~ port red/red-2.eth0", "~ port red/red-1.eth0"], changes
    assert (index("red-1"), index("red-2")) == before
    for space in ("red-1", "red-2"):
        ask_again(lab, space)
    assert addresses("red-1") == ["10.0.0.11/24"] and addresses("red-2") == ["10.0.0.12/24"]
    assert reaches(lab, "red-1", "red-2", "10.0.0.12")
    assert reaches(lab, "red-2", "internet", laptops.ROUTER)


def test_other_network(lab, document):
    nic = instance(document, "red-1")["nics"][0]
    nic["network"], nic["address"] = "dmz", "10.0.1.11"
    assert make(lab, document) == ["~ port red/red-1.eth0"]
    assert not reaches(lab, "red-1", "internet", laptops.ROUTER), "the old address still passes"
    ask_again(lab, "red-1")
    assert "10.0.1.11/24" in addresses("red-1")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)
    assert reaches(lab, "red-2", "red-1", "10.0.1.11"), "not routed inside the tenant"


def test_other_tenant(lab, document):
    moved = instance(document, "red-3")
    document["tenants"][0]["instances"].remove(moved)
    document["tenants"][1]["instances"].append(moved)
    changes = make(lab, document)
    assert "+ port blue/red-3.eth0" in changes and "- port red/red-3.eth0" in changes, changes
    ask_again(lab, "red-3")
    assert reaches(lab, "red-3", "blue-2", "10.0.0.12"), "blue's 10.0.0.12 is not reached"
    assert reaches(lab, "blue-1", "red-3", "10.0.0.13")
    assert not reaches(lab, "red-1", "red-3", "10.0.0.13"), "red still reaches it"


def test_vlan(lab, document):
    document["tenants"][0]["networks"][0]["vlan"] = 4000
    assert make(lab, document) == ["~ network red/lan"]
    assert reaches(lab, "red-1", "red-2", "10.0.0.12")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)


def test_mac(lab, document):
    nic = instance(document, "red-1")["nics"][0]
    nic["mac"] = "02:aa:bb:cc:dd:01"
    assert make(lab, document) == ["~ port red/red-1.eth0"]
    assert nic["mac"] in netns.ip("red-1", "link", "show", "eth0")
    ask_again(lab, "red-1")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)
    netns.ip("red-2", "neigh", "flush", "all")
    assert reaches(lab, "red-2", "red-1", "10.0.0.11")


def test_address(lab, document):
    instance(document, "red-1")["nics"][0]["address"] = "10.0.0.99"
    assert make(lab, document) == ["~ port red/red-1.eth0"]
    netns.ip("red-1", "address", "flush", "dev", "eth0")
    ask_again(lab, "red-1")
    assert addresses("red-1") == ["10.0.0.99/24"]
    assert reaches(lab, "red-2", "red-1", "10.0.0.99")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)


def test_mtu_and_queues(lab, document):
    document["tenants"][0]["networks"][0]["mtu"] = 1300
    make(lab, document)
    assert "mtu 1300" in netns.ip("red-1", "link", "show", "eth0")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)
    for queues in (2, 1):
        instance(document, "red-1")["nics"][0]["queues"] = queues
        planned = lab.try_document("diff", document)[1]
        assert planned.endswith("; tap eth0 in netns red-1 is made anew: the addresses and routes "
                                "on it go\n"), planned
        make(lab, document)
        assert not addresses("red-1"), "made anew, and yet its addresses are there"
        ask_again(lab, "red-1")
        assert reaches(lab, "red-1", "internet", laptops.ROUTER), f"{queues} queues"


# Another device, another namespace: the old ones are gone.
def test_device(lab, document):
    nic = instance(document, "red-1")["nics"][0]
    nic["interface"] = "lan0"
    assert "; tap eth0 in netns red-1 is removed: " in lab.try_document("diff", document)[1]
    assert make(lab, document) == ["~ port red/red-1.eth0"]
    shown = netns.ip("red-1", "-br", "link")
    assert "lan0" in shown and "eth0" not in shown, shown
    ask_again(lab, "red-1", "lan0")
    assert reaches(lab, "red-1", "internet", laptops.ROUTER)
    netns.create("elsewhere")
    nic["netns"] = "elsewhere"
    make(lab, document)
    assert "lan0" not in netns.ip("red-1", "link")
    ask_again(lab, "elsewhere", "lan0")
    assert "10.0.0.11/24" in addresses("elsewhere", "lan0")


# What the file no longer names is removed, and only that.
def test_removed(lab, document):
    red = document["tenants"][0]
    red["instances"].remove(instance(document, "red-1"))
    assert make(lab, document) == ["- port red/red-1.eth0"]
    assert "eth0" not in netns.ip("red-1", "link")
    assert reaches(lab, "red-2", "internet", laptops.ROUTER)
    red["networks"].remove(DMZ)
    assert make(lab, document) == ["- network red/dmz"]
    document["tenants"].remove(red)
    changes = make(lab, document)
    assert changes == ["- port red/red-3.eth0", "- port red/red-2.eth0", "- network red/lan",
                       "- tenant red"], changes
    assert [p["name"] for p in lab.list("port") if p["name"].startswith("red")] == []
    assert not [s for s in lab.list("session") if s["from"].startswith("red")]


# The order of things and what is not data make no difference.
def test_same_in_other_words(lab, document):
    generation = lab.status()["generation"]
    for tenant in document["tenants"]:
        tenant["instances"].reverse()
    document["tenants"].reverse()
    assert lab.try_document("diff", document) == (0, "")
    assert lab.apply_document(document) == f"0 changes, generation {generation}\n"
    assert lab.insula("config") == open(lab.file, encoding="utf-8").read().rstrip()


def reset(lab):
    lab.apply_document(first_document())
    for space in ("red-1", "red-2", "red-3"):
        netns.ip(space, "address", "flush", "dev", "eth0")
        ask_again(lab, space)


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(first_document())
    try:
        lab.start()
        make(lab, first_document())
        lab.lease()
        bystander = Bystander(lab)
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                bystander.begin()
                test(lab, copy.deepcopy(first_document()))
                reset(lab)
                bystander.end(name)
                print(f"ok {name}", flush=True)
    finally:
        lab.stop()


main()
