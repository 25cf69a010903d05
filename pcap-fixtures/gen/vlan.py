# SPDX-License-Identifier: BSD-3-Clause
# Tags: access ports, trunks, native VLAN, QinQ, and what tries to escape by them.
from lib import DB_IP, RED_DB, RED_WEB, WEB_IP, Dot1AD, Dot1Q, Ether, capture, udp

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
