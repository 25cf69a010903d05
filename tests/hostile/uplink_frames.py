# SPDX-License-Identifier: BSD-3-Clause
# HOSTILE.md D where the uplink is concerned: what the world sends unasked, malformed or in somebody
# else's name is a named drop at the uplink; no tenant sees a byte of it, also not through a mapping
# that is open for somebody else, and the tenants' own traffic goes on. Runs in a sandbox.
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import frames
import lab as labs
import netns
import sandbox
from frames import ARP, BROADCAST, ICMP, IPV4, IPV6, TCP, UDP

PORT, MARK, MAC = "internet", b"hostile world", "0e:00:00:00:00:66"
OWN, WORLD, OTHER = "198.51.100.2", "198.51.100.1", "198.51.100.66"
ZERO = "00:00:00:00:00:00"


class Attack:
    def __init__(self, lab):
        self.lab = lab
        self.wire = frames.Wire(labs.INTERNET_NETNS, "eth0")
        self.tenants = {i.name: frames.Wire(i.netns, "eth0") for i in lab.policy.instances}
        netns.run(*netns.inside(labs.INTERNET_NETNS), "ping", "-c", "1", "-W", "5", OWN)
        words = netns.ip(labs.INTERNET_NETNS, "neighbour", "show", OWN).split()
        self.uplink = words[words.index("lladdr") + 1]
        self.processes = {name: labs.processes(name) for name in ("insulad", "insula-switch")}

    def check_tenants(self):
        for name, wire in self.tenants.items():
            leaked = [f for f in wire.drain() if MARK in f.data or f.src == MAC]
            assert not leaked, f"{name} saw {leaked}"

    def check_alive(self):
        for name, pids in self.processes.items():
            assert labs.processes(name) == pids, f"{name} died"
        for name in ("red-1", "blue-2"):
            answer = self.lab.agents[name].call("udp", timeout=6, address=WORLD,
                                                nonce=os.urandom(8).hex())
            assert answer["answered"], f"{name}: {answer}"

    def dropped(self, reason, *sent):
        for wire in self.tenants.values():
            wire.drain()
        labs.new_drops(self.lab, PORT, reason, len(sent), lambda: self.wire.send(*sent))
        self.check_tenants()

    def to_uplink(self, packet, kind=IPV4, tags=(), src=MAC, dst=None):
        return frames.eth(dst or self.uplink, src, kind, packet, tags)


def datagram(src=OTHER, dst=OWN, sport=4000, dport=4001, **words):
    return frames.ipv4(src, dst, UDP, frames.udp(src, dst, sport, dport, MARK), **words)


def unreachable(src, quoted):
    body = bytes(4) + quoted
    return frames.ipv4(src, OWN, ICMP, b"\3\1" + frames.csum(
        b"\3\1\0\0" + body + b"\0" * (len(body) % 2)).to_bytes(2, "big") + body)


def test_h35_malformed(a):
    good = datagram()
    a.dropped("parse_ipv4_header", *map(a.to_uplink, [
        *(datagram(ihl=n) for n in (0, 4, 15)), *(good[:n] for n in range(20)),
        *(datagram(total=n) for n in (0, 19, len(good) + 1, 65535))]))
    a.dropped("parse_ipv4_csum", a.to_uplink(datagram(checksum=1)))
    a.dropped("parse_ipv4_options", a.to_uplink(datagram(ihl=6, options=b"\x83\3\4\0")))
    a.dropped("parse_l4_header", *(a.to_uplink(frames.ipv4(OTHER, OWN, proto, b"\0" * n))
                                   for proto in (TCP, UDP, ICMP) for n in range(8)))
    a.dropped("parse_martian", a.to_uplink(datagram(src="127.0.0.1")),
              a.to_uplink(datagram(src="224.0.0.1")), a.to_uplink(datagram(dst="127.0.0.1")))


def test_h36_not_ours(a):
    a.dropped("vlan_tagged_on_access", *(a.to_uplink(datagram(dst="10.0.0.11"), tags=[(kind, vid)])
                                         for kind in (0x8100, 0x88A8) for vid in (10, 20, 4095)))
    a.dropped("fdb_unknown_unicast", a.to_uplink(datagram(), dst="02:00:00:00:00:99"))
    a.dropped("guard_src_mac", a.to_uplink(datagram(), src=a.uplink))
    a.dropped("parse_src_multicast", a.to_uplink(datagram(), src=BROADCAST))
    a.dropped("guard_non_ip", *(a.to_uplink(MARK, kind) for kind in (0x8847, 0x88CC, 0x9100)))
    a.dropped("guard_ipv6", a.to_uplink(b"\x60\0\0\0\0\0\x3b\x40" + b"\xfe\x80" + b"\1" * 30, IPV6))


# Whom it is for, by address, does not matter: nobody asked.
def test_h42_unsolicited(a):
    targets = (OWN, "10.0.0.11", "10.0.0.12", "10.0.0.1", "198.51.100.255", "255.255.255.255")
    a.dropped("policy_uplink_unsolicited",
              *(a.to_uplink(datagram(src=src, dst=dst), dst=mac) for dst in targets
                for mac in (None, BROADCAST) for src in (OTHER, WORLD, "10.0.0.12")))
    a.dropped("guard_src_ipv4", *(a.to_uplink(datagram(src=OWN, dst=dst)) for dst in targets))
    syn = frames.ipv4(OTHER, OWN, TCP, frames.tcp(OTHER, OWN, 80, 4001))
    reply = frames.ipv4(OTHER, OWN, ICMP, frames.echo(0, 77, 1, MARK))
    a.dropped("policy_uplink_unsolicited", a.to_uplink(syn), a.to_uplink(reply))
    smurf = frames.ipv4(OTHER, OWN, ICMP, frames.echo(8, 77, 1, MARK))
    a.dropped("policy_uplink_unsolicited", a.to_uplink(smurf, dst=BROADCAST))


def test_h42_fragments(a):
    a.dropped("policy_fragment", *(a.to_uplink(datagram(frag=f)) for f in (0x2000, 1, 0x1FFF)))


# An open mapping is for the one it was opened to: another host or port does not get in, nor does an
# ICMP error about a packet that was never sent; one about a packet that was sent does, but from no
# address of the receiver's own network.
def test_h42_others_mapping(a):
    nonce = os.urandom(8).hex()
    assert a.lab.agents["red-1"].call("udp", timeout=6, address=WORLD, nonce=nonce,
                                      source_port=5009)["answered"]
    peer = a.lab.agents["internet"].call("collect")["udp"][nonce][0]
    port = int(peer.rpartition(":")[2])
    a.dropped("policy_uplink_unsolicited",
              a.to_uplink(datagram(src=OTHER, sport=7007, dport=port)),
              a.to_uplink(datagram(src=WORLD, sport=7006, dport=port)))
    inner = [datagram(src=OWN, dst=OTHER, sport=port, dport=7007),
             datagram(src=OWN, dst=WORLD, sport=port, dport=9),
             datagram(src="10.0.0.11", dst=WORLD, sport=5009, dport=7007)]
    a.dropped("policy_not_first", *(a.to_uplink(unreachable(OTHER, i)) for i in inner))
    sent = datagram(src=OWN, dst=WORLD, sport=port, dport=7007)
    a.dropped("guard_src_ipv4", *(a.to_uplink(unreachable(src, sent))
                                  for src in ("10.0.0.11", "10.0.0.12", "10.0.0.1", OWN)))


# Nobody else has the uplink's address, and what others say of theirs draws no tenant's traffic.
def test_h37_arp(a):
    a.dropped("guard_arp", *(frames.arp(op, MAC, OWN, ZERO, target, dst, MAC) for op in (1, 2)
                             for target in (OWN, WORLD) for dst in (BROADCAST, a.uplink)))
    a.dropped("parse_arp", *(a.to_uplink(b"\0" * n, ARP) for n in range(28)))
    a.dropped("service_arp_unwanted", *(frames.arp(1, MAC, OTHER, ZERO, target, BROADCAST, MAC)
                                        for target in ("10.0.0.1", "10.0.0.11", WORLD)))


def test_h35_to_h44_damage(a):
    pick = random.Random(42)
    for _ in range(20):
        for _ in range(100):
            body = bytearray(pick.choice([datagram(), datagram(dst="10.0.0.11"),
                                          frames.ipv4(OTHER, OWN, TCP, frames.tcp(
                                              OTHER, OWN, 1, 2, MARK))]))
            for _ in range(pick.randrange(1, 6)):
                body[pick.randrange(len(body))] = pick.randrange(256)
            kind = pick.choice([IPV4, IPV4, ARP, IPV6, 0x8100, pick.randrange(65536)])
            a.wire.send(a.to_uplink(bytes(body[: pick.randrange(len(body) + 1)]), kind,
                                    dst=pick.choice([None, BROADCAST, "01:00:5e:00:00:01"])))
        a.check_tenants()
    a.check_alive()


def main():
    with labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY) as lab:
        return labs.run_cases(globals(), Attack(lab))


sys.exit(0 if main() else 1)
