# SPDX-License-Identifier: BSD-3-Clause
# HOSTILE.md D where a tenant's port is concerned: a guest sends frames that are malformed, spoofed
# or not a guest's business. Each is a named drop at its port and nobody sees a byte of it; nothing
# dies, the neighbour's traffic goes on, and the log stays short. Cases carry their numbers; what a
# VLAN trunk sends is in tests/net/trunk.py. Runs in a sandbox.
import os
import random
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import dhcp_frames
import frames
import lab as labs
import netns
import sandbox
from frames import ARP, BROADCAST, ICMP, IPV4, IPV6, QINQ, TCP, UDP, VLAN

PORT, OWN, PEER, GATEWAY = "red/red-1.eth0", "10.0.0.11", "10.0.0.12", "10.0.0.1"
OUTSIDE = "198.51.100.1"
MARK = b"hostile tenant"
LOG_LINES = 5  # of all cases together


# No storm limit on the attacker's port: it would hide the other reasons.
def edit(document):
    document["tenants"][0]["instances"][0]["nics"][0]["storm_pps"] = 0


class Attack:
    def __init__(self, lab):
        self.lab = lab
        spaces = {i.name: i.netns for i in lab.policy.instances}
        macs = {row["name"].split("/")[1].split(".")[0]: row["mac"]
                for row in lab.list("port") if "/" in row["name"]}
        self.mac, self.peer, self.stranger = macs["red-1"], macs["red-2"], macs["blue-1"]
        self.gateway = self.resolve(spaces["red-2"])
        netns.ip(spaces["red-1"], "address", "flush", "dev", "eth0")  # only what is sent here
        netns.run(*netns.inside(spaces["red-1"]), "sysctl", "-qw",
                  "net.ipv6.conf.all.disable_ipv6=1")
        self.wire = frames.Wire(spaces["red-1"], "eth0")
        self.neighbour = frames.Wire(spaces["red-2"], "eth0")
        self.others = {name: frames.Wire(spaces[name], "eth0") for name in ("blue-1", "blue-2")}
        self.others["internet"] = frames.Wire(labs.INTERNET_NETNS, "eth0")
        self.processes = {name: labs.processes(name) for name in ("insulad", "insula-switch")}
        self.log_lines = self.count_log()

    @staticmethod
    def resolve(space):
        netns.run(*netns.inside(space), "ping", "-c", "1", "-W", "5", GATEWAY)
        words = netns.ip(space, "neighbour", "show", GATEWAY).split()
        return words[words.index("lladdr") + 1]

    @staticmethod
    def count_log():
        path = os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log")
        with open(path, encoding="utf-8", errors="replace") as file:
            return sum(1 for _ in file)

    def is_mine(self, frame):
        return MARK in frame.data or frame.src == self.mac

    # Nothing of the attacker came to another tenant or beyond the uplink.
    def check_others(self):
        for name, wire in self.others.items():
            leaked = [f for f in wire.drain() if self.is_mine(f)]
            assert not leaked, f"{name} saw {leaked}"

    def check_alive(self):
        for name, pids in self.processes.items():
            assert labs.processes(name) == pids, f"{name} died"
        nonce = os.urandom(16).hex()
        answer = self.lab.agents["red-2"].call("ping", timeout=5, nonce=nonce, count=1,
                                               interval=0.1, address=OUTSIDE)
        assert answer["answered"], "the neighbour's traffic stopped"

    # Each of `sent` is dropped for `reason`, and seen by nobody.
    def dropped(self, reason, *sent):
        for wire in (self.neighbour, *self.others.values()):
            wire.drain()
        new = labs.new_drops(self.lab, PORT, reason, len(sent), lambda: self.wire.send(*sent))
        assert new == len(sent), f"{reason}: {new} for {len(sent)}"
        leaked = [f for f in self.neighbour.drain() if self.is_mine(f)]
        assert not leaked, f"{reason}: the neighbour saw {leaked}"
        self.check_others()

    # This one is legitimate: the neighbour gets it, as `check` wants it, and nobody else does.
    def passes(self, frame, check=lambda frame: True):
        self.neighbour.drain()
        self.wire.send(frame)
        found = self.neighbour.wait(lambda f: MARK in f.data, 3)
        assert found and check(found), f"{found}"
        self.check_others()

    def to_peer(self, packet, kind=IPV4, tags=(), src=None, dst=None):
        return frames.eth(dst or self.peer, src or self.mac, kind, packet, tags)


def datagram(src=OWN, dst=PEER, sport=4000, dport=4001, payload=MARK, **words):
    return frames.ipv4(src, dst, UDP, frames.udp(src, dst, sport, dport, payload), **words)


def test_h35_ipv4_header(a):
    good = datagram()
    lies = [datagram(ihl=ihl) for ihl in (0, 1, 4, 15)]
    lies += [datagram(version=v) for v in (0, 5, 6, 15)]
    lies += [datagram(total=t) for t in (0, 19, len(good) + 1, 65535)]
    lies += [good[:n] for n in range(20)]
    a.dropped("parse_ipv4_header", *map(a.to_peer, lies))
    a.dropped("parse_ipv4_csum", a.to_peer(datagram(checksum=0)), a.to_peer(datagram(checksum=1)))
    a.dropped("parse_ipv4_options", a.to_peer(datagram(ihl=6, options=b"\x94\x04\0\0")),
              a.to_peer(datagram(ihl=15, options=b"\x01" * 40)))


def test_h35_ipv6_header(a):
    def packet(version=6, size=None, body=MARK, next_header=17):
        size = len(body) if size is None else size
        return struct.pack("!IHBB", version << 28, size, next_header, 64) + b"\xfe\x80" + bytes(
            13) + b"\1" + b"\xfe\x80" + bytes(13) + b"\2" + body

    lies = [packet(version=4), packet(size=len(MARK) + 1), packet(size=65535), packet()[:39]]
    a.dropped("parse_ipv6_header", *(a.to_peer(p, IPV6) for p in lies))
    a.dropped("parse_l4_header", a.to_peer(packet(body=b"\0" * 7), IPV6))
    a.dropped("guard_ipv6", a.to_peer(packet(next_header=59), IPV6),
              a.to_peer(packet(next_header=0), IPV6))


def test_h35_l4_header(a):
    def of(proto, body):
        return a.to_peer(frames.ipv4(OWN, PEER, proto, body))

    segment = frames.tcp(OWN, PEER, 1, 2, MARK)
    a.dropped("parse_l4_header",
              *(of(UDP, frames.udp(OWN, PEER, 1, 2, MARK, size=n)) for n in (0, 7, 100, 65535)),
              *(of(TCP, frames.tcp(OWN, PEER, 1, 2, b"", offset=n)) for n in (0, 4, 6, 15)),
              *(of(UDP, b"\0" * n) for n in range(8)), *(of(ICMP, b"\x08" * n) for n in range(8)),
              *(of(TCP, segment[:n]) for n in range(20)))


# Lawful but odd (CVE-2023-1668, CVE-2020-35498): carried as it is, without what was never in it,
# and the next flow is judged by its own headers.
def test_h35_odd_but_lawful(a):
    a.passes(a.to_peer(frames.ipv4(OWN, PEER, 0, MARK)), lambda f: f.proto == 0)
    a.dropped("policy_deny", a.to_peer(frames.ipv4(OWN, OUTSIDE, 0, MARK), dst=a.gateway))
    packet = datagram()
    padded = a.to_peer(packet) + b"\xee" * (1514 - 14 - len(packet))
    a.passes(padded, lambda f: f.payload.rstrip(b"\0") == packet)
    a.passes(a.to_peer(datagram(sport=4001, dport=4000)))


def test_h35_short(a):
    a.dropped("parse_too_short", *(frames.eth(a.peer, a.mac, kind, b"\0" * n)
                                   for kind in (VLAN, QINQ) for n in range(4)))
    a.dropped("parse_arp", *(frames.eth(a.peer, a.mac, ARP, b"\0" * n) for n in range(28)))


def test_h35_fragments(a):
    sent = [datagram(frag=f) for f in (0x2000, 0x2001, 1, 0x1FFF, 0x3FFF)]
    a.dropped("policy_fragment", *map(a.to_peer, sent))


def test_h35_martians(a):
    pairs = [("127.0.0.1", PEER), ("224.0.0.1", PEER), ("255.255.255.255", PEER),
             (OWN, "127.0.0.1"), (OWN, "0.0.0.0")]
    a.dropped("parse_martian", *(a.to_peer(datagram(src=s, dst=d)) for s, d in pairs))


def test_h36_tags(a):
    def tagged(*tags):
        return a.to_peer(datagram(), tags=tags)

    own, other = (VLAN, 10), (VLAN, 20)
    a.dropped("vlan_tagged_on_access", tagged(own), tagged(other), tagged((VLAN, 4095)),
              tagged((QINQ, 20)), tagged(own, other), tagged((QINQ, 10), other))
    a.dropped("vlan_too_many_tags", tagged((VLAN, 0), other), tagged((VLAN, 0), (VLAN, 0)),
              tagged(own, other, other), tagged((QINQ, 0), (VLAN, 0), other, own))
    a.dropped("vlan_bad_outer", tagged((QINQ, 0)))
    a.passes(tagged((VLAN, 7 << 13)), lambda f: not f.tags)  # a priority tag is a guest's right


def test_h36_other_ethertypes(a):
    kinds = (0x8847, 0x8848, 0x8863, 0x8864, 0x9100, 0x0600, 0xFFFF, 0x88A7)
    a.dropped("guard_non_ip", *(a.to_peer(MARK, kind) for kind in kinds))
    a.dropped("parse_ethertype", *(a.to_peer(b"\xaa\xaa\x03\0\0\0\x08\0" + datagram(), kind)
                                   for kind in (0, 8, 46, 1500, 0x5FF)))


def test_h36_source_mac(a):
    bad = ("00:00:00:00:00:00", BROADCAST, "01:00:5e:00:00:01", "33:33:00:00:00:01")
    a.dropped("parse_src_multicast", *(a.to_peer(datagram(), src=mac) for mac in bad))
    a.dropped("guard_src_mac", *(a.to_peer(datagram(src=ip), src=mac)
                                 for mac in (a.peer, a.gateway, a.stranger, "02:00:00:00:00:99")
                                 for ip in (OWN, PEER, GATEWAY)))


def test_h36_reserved_destinations(a):
    sent = [a.to_peer(datagram(), dst=f"01:80:c2:00:00:{n:02x}") for n in range(16)]
    a.dropped("parse_reserved_dst", *sent)


# H-41: LLDP, slow protocols, PAUSE, BPDU; and where else somebody might listen for them.
def test_h41_control_protocols(a):
    a.dropped("parse_reserved_dst",
              a.to_peer(MARK, 0x88CC, dst="01:80:c2:00:00:0e"),
              a.to_peer(MARK, 0x8809, dst="01:80:c2:00:00:02"),
              a.to_peer(MARK, 0x8808, dst="01:80:c2:00:00:01"),
              a.to_peer(b"\x42\x42\x03" + MARK, 38, dst="01:80:c2:00:00:00"))
    a.dropped("guard_non_ip", a.to_peer(MARK, 0x88CC), a.to_peer(MARK, 0x8808, dst=BROADCAST))
    a.dropped("parse_ethertype",
              a.to_peer(b"\xaa\xaa\x03\0\0\x0c\x20\0" + MARK, 100, dst="01:00:0c:cc:cc:cc"))


def test_h37_mac_flood(a):
    pick = random.Random(37)
    a.dropped("guard_src_mac", *(a.to_peer(datagram(), src="02" + "".join(
        f":{pick.randrange(256):02x}" for _ in range(5))) for _ in range(500)))
    a.passes(a.to_peer(datagram()))


def test_h37_addresses(a):
    spoofed = (PEER, GATEWAY, "10.0.0.99", "198.51.100.2", OUTSIDE, "0.0.0.0", "240.0.0.1")
    a.dropped("guard_src_ipv4", *(a.to_peer(datagram(src=ip), dst=mac) for ip in spoofed
                                  for mac in (a.peer, a.gateway, BROADCAST)))


def test_h37_arp(a):
    zero = "00:00:00:00:00:00"
    a.dropped("guard_arp",
              *(frames.arp(op, a.mac, spa, zero, PEER, dst, a.mac)
                for op in (1, 2) for spa in (GATEWAY, PEER, "10.0.0.99", "0.0.0.0", OUTSIDE)
                for dst in (BROADCAST, a.peer) if (op, spa) != (1, "0.0.0.0")),
              frames.arp(2, a.peer, OWN, zero, PEER, BROADCAST, a.mac),
              frames.arp(1, a.gateway, GATEWAY, zero, PEER, BROADCAST, a.mac))
    a.dropped("parse_arp", *(frames.arp(op, a.mac, OWN, zero, PEER) for op in (0, 3, 4, 65535)))
    # Nor was the gateway or the neighbour led astray.
    assert a.resolve("insdemo-red-2") == a.gateway


# RA and NA, plain and behind extension headers and in fragments (RFC 7113).
def test_h37_nd(a):
    def packet(next_header, body):
        return struct.pack("!IHBB", 6 << 28, len(body), next_header, 255) + (
            b"\xfe\x80" + bytes(13) + b"\1" + b"\xff\2" + bytes(13) + b"\1" + body)

    for kind in (134, 136, 135, 133, 137):
        message = struct.pack("!BBH", kind, 0, 0) + bytes(12) + MARK
        hop = struct.pack("!BBHI", 58, 0, 0x0104, 0) + message
        fragment = struct.pack("!BBHI", 58, 0, 1, 7) + message
        a.dropped("guard_ipv6", *(a.to_peer(p, IPV6, dst="33:33:00:00:00:01") for p in (
            packet(58, message), packet(0, hop), packet(60, hop), packet(44, fragment))))


def test_h37_dhcp_server(a):
    offer = dhcp_frames.payload(a.peer, 7, [(53, b"\2")]).replace(b"\1\1\6", b"\2\1\6", 1) + MARK
    sent = [datagram(sport=67, dport=68, dst=dst, payload=offer)
            for dst in (PEER, "255.255.255.255")]
    a.dropped("guard_dhcp_server", *(a.to_peer(p, dst=mac) for p in sent
                                     for mac in (a.peer, BROADCAST)))
    a.dropped("policy_fragment", a.to_peer(datagram(sport=67, dport=68, payload=offer,
                                                    frag=0x2000)))


def dhcp(a, options=((53, b"\1"),), xid=9, raw=None, **words):
    body = dhcp_frames.payload(a.mac, xid, options, **words) if raw is None else raw
    any_, all_ = dhcp_frames.ANY, dhcp_frames.EVERYONE
    return a.to_peer(datagram(any_, all_, 68, 67, body), dst=BROADCAST)


def test_h43_truncated_at_every_byte(a):
    whole = dhcp_frames.payload(a.mac, 9, [(12, b"name"), (61, b"\0id"), (55, b"\1\3"),
                                           (53, b"\1")])
    # Whole but for End is understood; 4 to 1 bytes of type 53 missing is not.
    a.dropped("service_dhcp_malformed", *(dhcp(a, raw=whole[:n]) for n in range(len(whole) - 1)))


def test_h43_lying_options(a):
    loops = [[(52, b"\1")], [(52, b"\3"), (52, b"\3")], [(52, b"\0")], [(52, b"\4")]]
    sized = [(53, b""), (53, b"\1\1"), (50, b"\1\2\3"), (54, b"\1" * 5), (57, b"\1"), (61, b""),
             (53, b"\0"), (53, b"\x09"), (53, b"\xff")]
    full = payload_with_file(a, bytes([52, 1, 3]))
    sent = [dhcp(a, [(53, b"\1"), *extra]) for extra in loops[1:]]
    sent += [dhcp(a, [option, (53, b"\1")]) for option in sized if option[0] != 53]
    sent += [dhcp(a, [option]) for option in sized if option[0] == 53]
    sent += [dhcp(a, [(53, b"\1")], end=bytes([12, 200])), dhcp(a, raw=full), dhcp(a, [])]
    a.dropped("service_dhcp_malformed", *sent)


# Option 52 says that the file field holds options, and there is another 52: a loop.
def payload_with_file(a, inside):
    body = dhcp_frames.payload(a.mac, 9, [(53, b"\1"), (52, b"\1")])
    return body[:108] + inside.ljust(128, b"\xff") + body[236:]


# Starvation takes other identities; a configured port has one.
def test_h43_starvation(a):
    stolen = [dhcp_frames.payload(f"02:00:00:00:01:{n:02x}", 9, [(53, b"\1")])
              for n in range(100)]
    a.dropped("service_dhcp_malformed", *(dhcp(a, raw=body) for body in stolen))
    a.dropped("guard_src_mac", *(a.to_peer(datagram(
        "0.0.0.0", "255.255.255.255", 68, 67, body), dst=BROADCAST,
        src=f"02:00:00:00:01:{n:02x}") for n, body in enumerate(stolen)))


# The same question gets the same bytes, whatever went before; where nothing is said there is 0.
def test_h43_nothing_uninitialised(a):
    def answer():
        a.wire.drain()
        a.wire.send(dhcp(a, [(53, b"\1"), (55, b"\1")], xid=9))  # so short that it is padded
        frame = a.wire.wait(lambda f: dhcp_frames.is_answer(f)
                            and dhcp_frames.Answer(f).xid == 9, 3)
        assert frame, "no offer"
        return frame.data

    first = answer()
    for fill in (b"\xaa", b"\x55"):
        junk = dhcp(a, [(53, b"\1"), (12, fill * 60), (61, fill * 60), (250, fill * 200)], xid=10)
        a.wire.send(*[junk] * 20)
        again = answer()
        assert again[:18] == first[:18] and again[20:24] == first[20:24], "MACs or IP header"
        assert again[26:] == first[26:], "the answer depends on what others asked"
    bootp = first[42:]
    assert bootp[44:236] == bytes(192), "sname and file are not empty"
    assert bootp[34:44] == bytes(10), "chaddr's padding"
    at = 240
    while bootp[at] != 255:
        at += 2 + bootp[at + 1]
    assert len(bootp) > at + 1 and not any(bootp[at + 1 :]), "behind End"


def random_frame(pick, a):
    body = bytearray(pick.choice([datagram(), frames.arp(1, a.mac, OWN, a.mac, PEER)[14:],
                                  frames.ipv4(OWN, PEER, TCP, frames.tcp(OWN, PEER, 1, 2, MARK))]))
    for _ in range(pick.randrange(1, 6)):
        body[pick.randrange(len(body))] = pick.randrange(256)
    kind = pick.choice([IPV4, IPV4, ARP, IPV6, VLAN, QINQ, pick.randrange(65536)])
    return a.to_peer(bytes(body[: pick.randrange(len(body) + 1)]), kind,
                     dst=pick.choice([a.peer, a.gateway, BROADCAST, "01:00:5e:00:00:fb"]))


# Whatever else: thousands of damaged frames, of which other tenants see none.
def test_h35_to_h44_damage(a):
    pick = random.Random(44)
    for _ in range(40):
        a.wire.send(*(random_frame(pick, a) for _ in range(100)))
        a.check_alive()
        a.check_others()
    a.neighbour.drain()


# Lawful broadcast and multicast stay in the segment.
def test_h37_stays_in_the_segment(a):
    a.passes(a.to_peer(datagram(dst="255.255.255.255"), dst=BROADCAST))
    a.passes(a.to_peer(datagram(dst="224.0.0.251"), dst="01:00:5e:00:00:fb"))
    a.passes(a.to_peer(datagram(dst="10.0.0.255"), dst=BROADCAST))


def test_h44_log(a):
    a.check_alive()
    grown = a.count_log() - a.log_lines
    assert grown <= LOG_LINES, f"the log grew by {grown} lines"


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    lab.edit(edit)
    with lab:
        return labs.run_cases(globals(), Attack(lab))


sys.exit(0 if main() else 1)
