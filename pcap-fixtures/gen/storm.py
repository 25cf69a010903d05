# SPDX-License-Identifier: BSD-3-Clause
# What a port may flood: broadcast and multicast under the storm limit (policies/storm.yaml: 10 a
# second, 128 at once), MACs behind a trunk under its learning limit (policies/limits.yaml: 2).
from lib import (APP_IP, BROADCAST, DB_IP, GATEWAY_IP, GSO_UDP, RED_APP, RED_DB, RED_WEB, WEB_IP,
                 At, Dot1Q, Vnet, arp, capture, udp)
from vlan import LAB, tagged

BURST = 128


def at_once(number, make, seconds=0.0):
    for _ in range(number):
        yield At(seconds)
        yield make()


def web_asks(who=DB_IP):
    return arp(RED_WEB, 1, RED_WEB, WEB_IP, who)


def db_asks():
    return arp(RED_DB, 1, RED_DB, DB_IP, WEB_IP)


@capture
def refilled():  # after a second ten more
    yield from at_once(BURST + 2, web_asks)
    yield from at_once(12, web_asks, 1.0)


@capture
def unicast_passes():
    yield from at_once(BURST + 2, web_asks)
    yield from at_once(5, lambda: udp(RED_WEB, RED_DB, WEB_IP, DB_IP))


@capture
def multicast_counts():
    def group():
        return udp(RED_WEB, "01:00:5e:00:00:fb", WEB_IP, "224.0.0.251", data=b"")

    yield from at_once(BURST // 2, web_asks)
    yield from at_once(BURST // 2, group)
    yield web_asks()
    yield group()


@capture
def guarded_first():  # what guard drops has taken nothing of what may be flooded
    yield from at_once(BURST + 2, lambda: udp(RED_WEB, BROADCAST, DB_IP, "10.0.0.255"))
    yield At(0)
    yield web_asks()


@capture
def web():
    yield from at_once(BURST + 2, web_asks)


@capture
def db():
    yield At(0.01)
    yield db_asks()


@capture
def super_frames():  # each is what it becomes on the wire: three frames
    yield from at_once(43, lambda: Vnet(udp(RED_WEB, BROADCAST, WEB_IP, "10.0.0.255",
                                            data=bytes(4000)), GSO_UDP, 1400))
    yield At(0)
    yield web_asks()


@capture
def super_frames_full():  # what fills two frames to the last byte is two
    yield from at_once(BURST // 2, lambda: Vnet(udp(RED_WEB, BROADCAST, WEB_IP, "10.0.0.255",
                                                    data=bytes(200)), GSO_UDP, 100))
    yield At(0)
    yield web_asks()


@capture
def unlimited():
    yield from at_once(BURST + 12, db_asks)


@capture
def answers_count():  # questions to the gateway are broadcasts, too
    yield from at_once(BURST + 2, lambda: web_asks(GATEWAY_IP))


@capture
def trunk():
    yield from at_once(BURST + 2, lambda: tagged(arp(LAB, 1, LAB, "10.0.1.77", APP_IP),
                                                 Dot1Q(vlan=20)))


# --- learning


def behind(number):
    return f"02:1a:b0:00:{number >> 8:02x}:{number & 255:02x}"


def speaks(number, vlan=10, dst=RED_WEB, dst_ip=WEB_IP, src_ip="10.0.0.77", **more):
    return tagged(udp(behind(number), dst, src_ip, dst_ip, **more), Dot1Q(vlan=vlan))


@capture
def mac_flood():  # H-37: the two that were first stay
    for number in range(300):
        yield speaks(number)
    yield speaks(0)
    yield speaks(1)


@capture
def mac_limit_of_port():  # over all VLANs together
    yield speaks(0, 10)
    yield speaks(1, 20, RED_APP, APP_IP, "10.0.1.77")
    yield speaks(2, 10)
    yield speaks(2, 20, RED_APP, APP_IP, "10.0.1.77")


@capture
def mac_age():  # after 300 s of silence, and a sweep through the table, there is room again
    yield speaks(0)
    yield speaks(1)
    yield At(100)
    yield speaks(2)
    yield At(400)
    yield speaks(2)
    yield speaks(3)
    yield speaks(4)


@capture
def mac_kept():  # who speaks is known for another 300 s, and his place is not free
    yield speaks(0)
    yield speaks(1)
    yield At(10)
    yield speaks(0)
    yield speaks(1)
    yield At(305)
    yield speaks(2)
    yield speaks(0)


@capture
def mac_kept_web():
    yield At(304)
    yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=6000)


@capture
def mac_expired():  # between 300 s and the next sweep: not known any more, but still its place
    yield At(0.3)
    yield speaks(0)
    yield speaks(1)
    yield At(300.5)
    yield speaks(0)


@capture
def mac_expired_web():
    yield At(300.4)
    yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=6000)


@capture
def mac_spoof():  # H-36: a port's MAC, the gateway's; a port's in a VLAN that it is not in
    frame = udp(RED_WEB, "02:99:00:00:00:01", WEB_IP, "10.0.0.99")
    yield tagged(frame, Dot1Q(vlan=10))
    frame.src = "06:00:00:00:00:00"
    yield tagged(frame, Dot1Q(vlan=10))
    yield tagged(udp(RED_WEB, RED_APP, "10.0.1.99", APP_IP), Dot1Q(vlan=20))


@capture
def moves_lab():
    yield speaks(0)


@capture
def moves_spare():
    yield At(2)
    yield speaks(0)


@capture
def moves_at_once():  # 0.2 s after he was heard behind the other trunk
    yield At(0.2)
    yield speaks(0)


@capture
def moves_at_once_web():
    yield At(0.3)
    yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=6000)


@capture
def moves_web():  # the answer follows, session or not
    for at in (1, 3):
        yield At(at)
        yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=5000, dport=4000)
        yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=6000 + at)


@capture
def forgotten_lab():
    yield speaks(0)


@capture
def forgotten_web():  # known, then unknown: to all trunks, since nobody knows
    for at in (290, 302):
        yield At(at)
        yield udp(RED_WEB, behind(0), WEB_IP, "10.0.0.77", sport=6000 + at)
