# SPDX-License-Identifier: BSD-3-Clause
# Tags: access ports, trunks, native VLAN, QinQ, and what tries to escape by them.
from lib import (APP_IP, BROADCAST, DB_IP, GATEWAY, RED_DB, RED_WEB, ROUTER, SERVER_IP, UPLINK,
                 UPLINK_IP, WEB_IP, At, Dot1AD, Dot1Q, Ether, arp, capture, ping, tcp, udp)

LAB = "02:1a:b0:00:00:01"  # behind a trunk


def tagged(frame, *tags):
    head = Ether(src=frame.src, dst=frame.dst)
    for tag in tags:
        head = head / tag
    inner = frame.payload
    return head / inner


@capture
def access_tagged():
    frame = udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield tagged(frame, Dot1Q(vlan=10))
    yield tagged(frame, Dot1Q(vlan=0, prio=5))
    yield tagged(frame, Dot1Q(vlan=10), Dot1Q(vlan=20))


@capture
def trunk_tagged():
    frame = udp(LAB, RED_WEB, "10.0.0.77", WEB_IP)
    yield tagged(frame, Dot1Q(vlan=10))
    yield tagged(frame, Dot1Q(vlan=10, prio=3))
    yield tagged(frame, Dot1Q(vlan=40))
    yield tagged(frame, Dot1Q(vlan=30))
    yield tagged(frame, Dot1Q(vlan=10), Dot1Q(vlan=20))
    yield frame


@capture
def trunk_native():
    frame = udp(LAB, RED_WEB, "10.0.0.77", WEB_IP)
    yield frame
    yield tagged(frame, Dot1Q(vlan=10))


@capture
def trunk_qinq():
    frame = udp(LAB, RED_WEB, "10.0.0.77", WEB_IP)
    yield tagged(frame, Dot1AD(vlan=500), Dot1Q(vlan=10))
    yield tagged(frame, Dot1AD(vlan=501), Dot1Q(vlan=10))
    yield tagged(frame, Dot1Q(vlan=10))


@capture
def trunk_bad_vid():
    frame = udp(LAB, RED_WEB, "10.0.0.77", WEB_IP)
    yield tagged(frame, Dot1Q(vlan=4095))
    yield tagged(frame, Dot1Q(vlan=0))


@capture
def trunk_learning():
    for last in range(6):  # its limit is 4
        yield tagged(udp(f"02:1a:b0:00:00:{last:02x}", RED_WEB, "10.0.0.77", WEB_IP),
                     Dot1Q(vlan=10))
    # a MAC that is a port's, and one behind the trunk it came from
    yield tagged(udp(RED_WEB, "02:1a:b0:00:00:01", WEB_IP, "10.0.0.77"), Dot1Q(vlan=10))
    yield tagged(udp("02:1a:b0:00:00:01", "02:1a:b0:00:00:02", "10.0.0.77", "10.0.0.78"),
                 Dot1Q(vlan=10))


# --- access ports

TWENTY = "02:00:00:00:14:11"  # red/db in policies/trunks.yaml, VLAN 20
GATE10, GATE20 = "10.0.0.1", "10.0.1.1"


def lab_to(mac, ip, *tags, **more):
    return tagged(udp(LAB, mac, "10.0.0.77", ip, **more), *tags)


def at_access(*tags):
    return tagged(udp(RED_WEB, RED_DB, WEB_IP, DB_IP), *tags)


@capture
def access_priority():
    for prio in range(8):
        yield at_access(Dot1Q(vlan=0, prio=prio))


@capture
def access_vids():  # H-36: its own VLAN, the next, another's, the last and the reserved one
    for vid in (1, 10, 11, 20, 4094, 4095):
        yield at_access(Dot1Q(vlan=vid))


@capture
def access_stacked():  # H-36
    yield at_access(Dot1Q(vlan=0), Dot1Q(vlan=20))
    yield at_access(Dot1Q(vlan=0), Dot1Q(vlan=0))


@capture
def access_stag():  # H-36
    yield at_access(Dot1AD(vlan=0))
    yield at_access(Dot1AD(vlan=10))
    yield at_access(Dot1AD(vlan=0), Dot1Q(vlan=10))


@capture
def triple():  # H-36
    yield at_access(Dot1Q(vlan=0), Dot1Q(vlan=0), Dot1Q(vlan=0))
    yield at_access(Dot1Q(vlan=10), Dot1Q(vlan=20), Dot1Q(vlan=30))
    yield at_access(Dot1AD(vlan=10), Dot1AD(vlan=10), Dot1Q(vlan=10))


@capture
def access_other_tpid():  # H-36: tags of other vendors are no tags, and no IP either
    inner = b"\0\x0a\x08\0" + bytes(udp(RED_WEB, RED_DB, WEB_IP, DB_IP).payload)
    for tpid in (0x9100, 0x9200, 0x9300, 0x88E7):
        yield Ether(src=RED_WEB, dst=RED_DB, type=tpid) / inner


@capture
def access_priority_guarded():
    tag = Dot1Q(vlan=0, prio=7)
    yield tagged(udp(RED_DB, RED_WEB, WEB_IP, DB_IP), tag)
    yield tagged(udp(RED_WEB, RED_DB, DB_IP, DB_IP), tag)
    yield tagged(arp(RED_WEB, 1, RED_WEB, GATE10, DB_IP), tag)


@capture
def access_priority_gateway():  # is answered, without a tag
    tag = Dot1Q(vlan=0, prio=5)
    yield tagged(arp(RED_WEB, 1, RED_WEB, WEB_IP, GATE10), tag)
    yield tagged(ping(RED_WEB, GATEWAY, WEB_IP, GATE10), tag)


@capture
def uplink_tagged():
    frame = udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    for tag in (Dot1Q(vlan=10), Dot1Q(vlan=0), Dot1AD(vlan=10)):
        yield tagged(frame, tag)


# --- trunks: what comes in


@capture
def trunk_stacked():  # H-36
    for outer, inner in ((10, 10), (10, 0), (0, 10)):
        yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=outer), Dot1Q(vlan=inner))


@capture
def trunk_stag():  # H-36
    yield lab_to(RED_WEB, WEB_IP, Dot1AD(vlan=10))
    yield lab_to(RED_WEB, WEB_IP, Dot1AD(vlan=500), Dot1Q(vlan=10))


@capture
def native_priority():
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=0, prio=5))


@capture
def native_other():
    yield lab_to(TWENTY, APP_IP, Dot1Q(vlan=20))


@capture
def native_hop():  # H-36
    yield lab_to(TWENTY, APP_IP, Dot1Q(vlan=10), Dot1Q(vlan=20))
    yield lab_to(TWENTY, APP_IP, Dot1Q(vlan=0), Dot1Q(vlan=20))
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=10))


@capture
def native_vids():
    for vid in (30, 40, 4095):
        yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=vid))


@capture
def qinq_inner():
    outer = Dot1AD(vlan=500)
    yield lab_to(RED_WEB, WEB_IP, outer)
    for vid in (0, 30, 4095):
        yield lab_to(RED_WEB, WEB_IP, outer, Dot1Q(vlan=vid))
    yield lab_to(RED_WEB, WEB_IP, outer, Dot1AD(vlan=10))
    yield lab_to(RED_WEB, WEB_IP, outer, Dot1Q(vlan=10), Dot1Q(vlan=20))


@capture
def qinq_order():  # H-36: the right tags in the wrong places
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=500), Dot1Q(vlan=10))
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=10), Dot1AD(vlan=500))
    yield lab_to(RED_WEB, WEB_IP, Dot1AD(vlan=10), Dot1Q(vlan=500))


@capture
def qinq_twenty():
    yield lab_to(TWENTY, APP_IP, Dot1AD(vlan=500), Dot1Q(vlan=20))


@capture
def allowed_ends():  # policies/vlans.yaml: [1, 100-102, 4094]; 101 is nobody's
    for vid, mac, ip in ((1, "01", "10.1.0.11"), (100, "64", "10.100.0.11"),
                         (102, "66", "10.102.0.11"), (4094, "fe", "10.94.0.11")):
        yield lab_to(f"02:00:00:00:{mac}:11", ip, Dot1Q(vlan=vid))
    for vid in (2, 99, 101, 103, 4093):
        yield lab_to("02:00:00:00:64:11", "10.100.0.11", Dot1Q(vlan=vid))


@capture
def qinq_native():  # policies/vlans.yaml: outer 600, native 102
    high, low = ("02:00:00:00:66:11", "10.102.0.11"), ("02:00:00:00:64:11", "10.100.0.11")
    outer = Dot1AD(vlan=600)
    yield lab_to(*high, outer)
    yield lab_to(*high, outer, Dot1Q(vlan=0))
    yield lab_to(*low, outer, Dot1Q(vlan=100))
    yield lab_to(*high, outer, Dot1Q(vlan=102))
    yield lab_to(*high)


# --- trunks: what goes out, and between VLANs


@capture
def out_flood():
    yield udp(RED_WEB, BROADCAST, WEB_IP, "10.0.0.255")


@capture
def out_flood_twenty():
    yield udp(TWENTY, BROADCAST, APP_IP, "10.0.1.255")


@capture
def out_native_inside():
    yield udp("02:00:00:00:66:11", BROADCAST, "10.102.0.11", "10.102.0.255")


@capture
def out_last():
    yield udp("02:00:00:00:fe:11", BROADCAST, "10.94.0.11", "10.94.0.255")


@capture
def priority_carried():  # into every tag of the way out
    yield lab_to(BROADCAST, "10.0.0.255", Dot1Q(vlan=10, prio=5))


@capture
def unknown_unicast():  # to the other trunks of the VLAN, to no port
    yield lab_to("02:99:00:00:00:01", "10.0.0.99", Dot1Q(vlan=10))


@capture
def other_vlan():  # H-36: the MAC of a port of VLAN 20 is unknown in VLAN 10
    yield lab_to(TWENTY, APP_IP, Dot1Q(vlan=10))


@capture
def learned_lab():
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=10))


@capture
def learned_web():
    yield At(0.1)
    yield udp(RED_WEB, LAB, WEB_IP, "10.0.0.77", sport=5000, dport=4000)
    yield udp(RED_WEB, LAB, WEB_IP, "10.0.0.77", sport=7)


# A connection that idles for longer than a MAC is remembered, whose far end then is elsewhere.
def with_lab(flags, back=False):
    if back:
        return tcp(LAB, RED_WEB, "10.0.0.77", WEB_IP, flags, sport=80, dport=5000)
    return tcp(RED_WEB, LAB, WEB_IP, "10.0.0.77", flags, sport=5000)


@capture
def aged_lab():
    yield lab_to(RED_WEB, WEB_IP, Dot1Q(vlan=10))
    yield At(0.2)
    yield tagged(with_lab("SA", back=True), Dot1Q(vlan=10))


@capture
def aged_web():
    yield At(0.1)
    yield with_lab("S")
    yield At(0.3)
    yield with_lab("A")
    yield At(312)
    yield with_lab("PA")


@capture
def aged_native():
    yield At(311)
    yield with_lab("A", back=True)


# A host behind the trunk where its peer comes to be, who was behind another when they began.
OTHER = "02:1a:b0:00:00:02"


def to_other():
    return tagged(udp(LAB, OTHER, "10.0.0.77", "10.0.0.78"), Dot1Q(vlan=10))


@capture
def home_native():
    yield udp(OTHER, BROADCAST, "10.0.0.78", "10.0.0.255")


@capture
def home_lab():
    yield At(0.1)
    yield to_other()
    yield to_other()
    yield tagged(udp(OTHER, BROADCAST, "10.0.0.78", "10.0.0.255"), Dot1Q(vlan=10))
    yield At(0.2)
    yield to_other()  # they hear each other without us


@capture
def routed():  # from VLAN 10 to 20
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)


@capture
def routed_lab():
    yield lab_to(GATEWAY, APP_IP, Dot1Q(vlan=10))


@capture
def routed_db():
    # Who is behind a trunk is no configured host: nothing is routed to there.
    yield At(0.1)
    yield udp(TWENTY, GATEWAY, APP_IP, "10.0.0.77", sport=5000, dport=4000)


def asks(*tags, who=GATE10):
    yield tagged(arp(LAB, 1, LAB, "10.0.0.77", who), *tags)
    if tags:
        tags[-1].prio = 3
    yield tagged(ping(LAB, GATEWAY, "10.0.0.77", who), *tags)


@capture
def gateway_tagged():
    yield from asks(Dot1Q(vlan=10))


@capture
def gateway_native():
    yield from asks()


@capture
def gateway_qinq():
    yield from asks(Dot1AD(vlan=500), Dot1Q(vlan=10))


@capture
def gateway_other_vlan():  # VLAN 20's gateway does not answer for VLAN 10's
    yield tagged(arp(LAB, 1, LAB, "10.0.1.77", GATE10), Dot1Q(vlan=20))
