# SPDX-License-Identifier: BSD-3-Clause
# Sessions inside a tenant: answers, the same tuple again, what ends, what is nobody's answer.
from lib import (BLUE_DB, BLUE_WEB, DB_IP, GATEWAY, IP, RED_DB, RED_WEB, SERVER_IP, WEB_IP, At,
                 Ether, capture, ping, tcp, udp)


@capture
def web_udp():
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def db_udp():
    yield At(0.1)
    yield udp(RED_DB, RED_WEB, DB_IP, WEB_IP, sport=5000, dport=4000)


@capture
def db_udp_late():
    # The session is over; but inside a tenant anybody may begin one.
    yield At(130)
    yield udp(RED_DB, RED_WEB, DB_IP, WEB_IP, sport=5000, dport=4000)


@capture
def web_ping():
    yield ping(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def db_ping():
    yield At(0.1)
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, "echo-reply")


@capture
def db_ping_wrong():
    yield At(0.1)
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, "echo-reply", ident=8)


@capture
def db_ping_time():
    yield At(59)
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, "echo-reply")
    yield At(121)
    yield ping(RED_DB, RED_WEB, DB_IP, WEB_IP, "echo-reply")


@capture
def web_tcp():
    yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S", seq=1)
    yield At(0.2)
    yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "A", seq=2, ack=10)
    yield At(1)
    yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "R", seq=2)
    yield At(2)
    yield tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S", seq=5001)


@capture
def db_tcp():
    yield At(0.1)
    yield tcp(RED_DB, RED_WEB, DB_IP, WEB_IP, "SA", sport=80, dport=4000, seq=9, ack=2)
    yield At(2.1)
    yield tcp(RED_DB, RED_WEB, DB_IP, WEB_IP, "SA", sport=80, dport=4000, seq=99, ack=5002)


@capture
def web_gre():
    yield Ether(src=RED_WEB, dst=RED_DB) / IP(src=WEB_IP, dst=DB_IP, id=1, proto=47) / bytes(24)


@capture
def db_gre():
    yield At(0.1)
    yield Ether(src=RED_DB, dst=RED_WEB) / IP(src=DB_IP, dst=WEB_IP, id=1, proto=47) / bytes(24)


@capture
def blue_web():
    yield At(0.01)
    yield udp(BLUE_WEB, BLUE_DB, WEB_IP, DB_IP, data=b"blue")


@capture
def blue_db():
    yield At(0.11)
    yield udp(BLUE_DB, BLUE_WEB, DB_IP, WEB_IP, sport=5000, dport=4000, data=b"blue")


@capture
def two_ways():
    # One tuple by the gateway, then straight to the neighbour: both arrive.
    yield udp(RED_WEB, GATEWAY, WEB_IP, DB_IP)
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, DB_IP)


@capture
def other_kind():
    # To the neighbour's MAC but an outside address: bridged, as it says. The same tuple through the
    # uplink would need a second session of that name.
    yield udp(RED_WEB, RED_DB, WEB_IP, SERVER_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def other_kind_later():
    # No port was taken for the session that could not be.
    yield udp(RED_WEB, RED_DB, WEB_IP, SERVER_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, sport=4002)


@capture
def other_kind_at_once():
    # At one time, yet one after the other: the first takes the only port, and the bridged session
    # is there when the third is routed.
    for sport, dst in ((4002, GATEWAY), (4000, RED_DB), (4000, GATEWAY)):
        yield At(0)
        yield udp(RED_WEB, dst, WEB_IP, SERVER_IP, sport=sport)


@capture
def other_way_at_once():
    # The tuple of a translated session to the neighbour's MAC, at the same time.
    for dst in (GATEWAY, RED_DB):
        yield At(0)
        yield udp(RED_WEB, dst, WEB_IP, SERVER_IP)


@capture
def many_web():
    # One more than the port may begin, and one that is there already.
    for sport in (4000, 4001, 4002, 4003, 4004, 4000):
        yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP, sport=sport)


@capture
def many_out():
    # What may not begin asks for no external port: that none is left is not why it is dropped.
    for dport in (5000, 5001, 5002, 5003):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, dport=dport)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, sport=4002)


@capture
def other_way_and_many():
    # The second, of the first's tuple to the neighbour's MAC, begins nothing: three more may begin.
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield udp(RED_WEB, RED_DB, WEB_IP, SERVER_IP)
    for dport in (5001, 5002, 5003):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, dport=dport)


@capture
def many_db():
    # The tenant has two left.
    yield At(1)
    for sport in (6000, 6001, 6002):
        yield udp(RED_DB, RED_WEB, DB_IP, WEB_IP, sport=sport)


@capture
def many_blue():
    # Another tenant has its own.
    yield At(2)
    yield udp(BLUE_WEB, BLUE_DB, WEB_IP, DB_IP)


@capture
def other_mac():
    # The session's packets go to the MAC they name, not to where the first went.
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
    yield udp(RED_WEB, "02:00:00:00:99:99", WEB_IP, DB_IP)
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)
