# SPDX-License-Identifier: BSD-3-Clause
# Offloads across port kinds: super-frames and partial checksums of a tap's TCP pass through to
# whoever takes them, and who does not gets whole segments with right checksums. Between a tap and a
# tap, a packet socket on a veth (offloads on and off), on a card without offloads, on a trunk
# (tagged) and on the uplink (translated). Content is compared by its hash; every frame at a card
# without offloads is looked at. Runs in a sandbox.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import cable
import frames
import lab as labs
import netns
import sandbox

RED_VLAN, BULK, BULK_LOOKED_AT = 10, 64 << 20, 4 << 20
# Further hosts in red's network: how each hangs on the switch.
FAR = {"veth": "10.0.0.51", "plain": "10.0.0.52", "behind": "10.0.0.53"}
MACS = {name: f"02:99:00:00:00:{n:02x}" for n, name in enumerate(FAR)}
OFFLOADS = ("rx", "tx", "tso", "gso", "gro", "sg")


def edit(document):
    red = document["tenants"][0]["instances"]
    ways = {"veth": {"type": "packet", "interface": "ins-veth"},
            "plain": {"type": "packet", "interface": "ins-plain"}}
    for name, way in ways.items():
        red.append({"name": name, "nics": [
            {"network": "lan", "mac": MACS[name], "address": FAR[name], **way}]})
    document["trunks"] = [{"name": "lab", "interface": "ins-trunk", "allowed": [RED_VLAN]}]


class OffloadLab(labs.Lab):
    def __init__(self):
        super().__init__(None, sandbox.DIRECTORY)
        self.edit(edit, hidden={"veth", "plain"})
        self.cables = {}

    def build(self):
        super().build()
        for name, address in FAR.items():
            space = f"insdemo-far-{name}"
            netns.create(space)
            if name == "veth":
                netns.veth("", "ins-veth", space, "eth0")
            else:
                self.plain_cable(name, space)
            netns.ip(space, "link", "set", "eth0", "address", MACS[name], "up")
            netns.ip(space, "address", "add", f"{address}/24", "dev", "eth0")
            netns.ip(space, "route", "add", "default", "via", "10.0.0.1")

    # A card without offloads; behind the trunk, a veth whose sender does in software what it
    # cannot.
    def plain_cable(self, name, space):
        far = cable.Tap(space, "eth0")
        if name == "behind":
            netns.create("insdemo-patch")
            netns.veth("", "ins-trunk", "insdemo-patch", "eth0")
            offloads("", "ins-trunk", "off")
            end, vlan = frames.Wire("insdemo-patch", "eth0"), RED_VLAN
        else:
            end, vlan = cable.Tap("", f"ins-{name}"), None
            netns.ip("", "link", "set", f"ins-{name}", "up")
        self.cables[name] = cable.Cable(end, far, vlan)

    def lease(self):
        leases = super().lease()
        self.agents |= netns.agents({name: f"insdemo-far-{name}" for name in FAR})
        self.addresses |= FAR
        return leases


def offloads(space, interface, state):
    words = [word for name in OFFLOADS for word in (name, state)]
    netns.run(*netns.inside(space), "ethtool", "-K", interface, *words)


# One transfer, whole and unchanged; what the switch dropped meanwhile for its offloads' sake.
def transfer(lab, source, target, size):
    before = labs.drops(lab)
    receiving = lab.agents[target].start("receive", senders=1, timeout=30)
    receiving()
    sent = lab.agents[source].call("send", address=lab.addresses[target], bytes=size,
                                   label=source, timeout=30)
    got = receiving()["transfers"][source]
    assert got["bytes"] == size and got["sha256"] == sent["sha256"], f"{source} to {target}: {got}"
    now = labs.drops(lab)
    for reason in ("parse_offload", "tx_offload", "tx_mtu", "parse_l4_header", "no_memory"):
        assert now[reason] == before[reason], f"{source} to {target}: {reason} {now[reason]}"


# The longest frame that came in at an interface during a transfer to it.
def longest(lab, source, target, space):
    wire = frames.Wire(space, "eth0")
    transfer(lab, source, target, BULK)
    size = max(len(frame.data) for frame in wire.drain())
    wire.close()
    return size


def test_tap_to_tap(lab):
    size = longest(lab, "red-1", "red-2", "insdemo-red-2")
    assert size > 8192, f"super-frames were cut: the longest has {size} bytes"
    transfer(lab, "red-2", "red-1", BULK)


def test_tap_and_packet(lab):
    size = longest(lab, "red-1", "veth", "insdemo-far-veth")
    assert size > 8192, f"super-frames were cut: the longest has {size} bytes"
    size = longest(lab, "veth", "red-1", "insdemo-red-1")
    assert size > 8192, f"super-frames were cut: the longest has {size} bytes"


# The veth loses its offloads, at one end, at the other, at both.
def test_packet_offloads_off(lab):
    ends = (("", "ins-veth"), ("insdemo-far-veth", "eth0"))
    for off in ((0,), (1,), (0, 1)):
        for index in off:
            offloads(*ends[index], "off")
        for source, target in (("red-1", "veth"), ("veth", "red-1")):
            transfer(lab, source, target, BULK // 4)
        if 0 in off:
            wire = frames.Wire("insdemo-far-veth", "eth0")
            transfer(lab, "red-1", "veth", BULK_LOOKED_AT)
            seen = wire.drain()
            wire.close()
            bad = [f for f in seen if not f.checksums_right() or len(f.data) > cable.FRAME_MAX]
            assert seen and not bad, f"{len(bad)} of {len(seen)} are not as on a wire: {bad[0]}"
        for index in off:
            offloads(*ends[index], "on")


def looked_at(lab, name, *sources):
    wire = lab.cables[name]
    for source in sources:
        count = wire.count
        transfer(lab, source, name, BULK_LOOKED_AT)
        assert wire.count - count >= BULK_LOOKED_AT // 1460, "the frames went another way"
        transfer(lab, name, source, BULK_LOOKED_AT)
    assert not wire.faults, f"{len(wire.faults)} faults, the first: {wire.faults[0]}"


# The kernel does it: the interface behind the packet socket has no offloads.
def test_plain_card(lab):
    looked_at(lab, "plain", "red-1", "veth")


# Behind the trunk each segment has its tag.
def test_trunk(lab):
    looked_at(lab, "behind", "red-1", "veth")


# Datagrams, whose partial checksums must be made whole, too.
def test_udp(lab):
    for name in FAR:
        answer = lab.agents["red-1"].call("udp", timeout=5, address=FAR[name], nonce="0" * 16)
        assert answer["answered"], f"{name}: {answer}"
    faults = [fault for wire in lab.cables.values() for fault in wire.faults]
    assert not faults, faults[0]


# Translated on its way out: the checksum follows, whole or partial.
def test_uplink(lab):
    uplink = lab.policy.uplink.interface
    for state in ("on", "off"):
        offloads("", uplink, state)
        wire = frames.Wire(labs.INTERNET_NETNS, "eth0")
        for source in ("red-1", "plain"):
            transfer(lab, source, "internet", BULK_LOOKED_AT)
        seen = wire.drain()
        wire.close()
        if state == "off":
            bad = [f for f in seen if not f.checksums_right() or len(f.data) > cable.FRAME_MAX]
            assert seen and not bad, f"{len(bad)} of {len(seen)} are not as on a wire: {bad[0]}"
    offloads("", uplink, "on")


# A DPDK driver that asks for what the switch's sandbox withholds is refused; nothing dies of it.
def test_refused_device(lab):
    switch, before = labs.processes("insula-switch"), lab.policy_file

    def with_device(document):
        edit(document)
        document["tenants"][0]["instances"].append({"name": "ether", "nics": [
            {"network": "lan", "type": "ethdev", "devargs": "net_af_packet0,iface=ins-veth"}]})

    lab.edit(with_device, hidden={"veth", "plain", "ether"})
    try:
        lab.apply(lab.policy_file)
        raise AssertionError("a DPDK device without the right to open a socket was taken")
    except netns.CommandFailed as error:
        for words in ("net_af_packet0", "nothing", "CAP_NET_RAW", "`type: packet`"):
            assert words in str(error), error
    finally:
        lab.edit(edit, hidden={"veth", "plain"})
    assert lab.policy_file == before and labs.processes("insula-switch") == switch
    transfer(lab, "red-1", "veth", BULK_LOOKED_AT)


def main():
    with OffloadLab() as lab:
        passed = labs.run_cases(globals(), lab)
    for wire in lab.cables.values():
        wire.stop()
    return passed


sys.exit(0 if main() else 1)
