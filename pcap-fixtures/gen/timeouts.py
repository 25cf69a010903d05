# SPDX-License-Identifier: BSD-3-Clause
# How long a session may be silent: of each kind and state one that is spoken to just before its
# time is over, which goes on, and one just after. With policies/one_port.yaml all of them have
# the external port 40000; they differ by whom they are with. Other protocols do not go out: there
# policies/few_sessions.yaml (four a port) shows when one has ended.
from lib import (DB_IP, GATEWAY, IP, RED_DB, RED_WEB, ROUTER, SERVER_IP, UPLINK, UPLINK_IP, WEB_IP,
                 At, Ether, capture, ping, router_answers, tcp)
from nat import PORT, back, out

BEFORE, AFTER = -0.1, 0.6  # of the second in which a session ends
OTHER_SERVER_IP = "203.0.113.8"

# Ports of the server: the first of two answers in time.
UDP_NEW, UDP_ESTABLISHED = (5000, 5001), (5002, 5003)
NEW, ESTABLISHED, CLOSING, RESET, FINISHED = (80, 81), (82, 83), (84, 85), (86, 87), (88, 89)


def out_tcp(flags, *pairs, seq=101, ack=501):
    for pair in pairs:
        for port in pair:
            yield tcp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, flags, dport=port, seq=seq, ack=ack)


def back_tcp(port, flags, seq=501, ack=101):
    return tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, flags, sport=port, dport=PORT, seq=seq,
               ack=ack)


@capture
def udp_out():
    yield out(dport=UDP_NEW[0])
    yield At(0.1)
    for port in (UDP_NEW[1], *UDP_ESTABLISHED):
        yield out(dport=port)


@capture
def udp_back():
    # RFC 4787 REQ-5: 2 min at least; 5 min recommended, which those get who were answered.
    yield At(0.05)
    yield router_answers()
    yield At(0.2)
    for port in UDP_ESTABLISHED:
        yield back(sport=port)
    for seconds, ports in (120, UDP_NEW), (300, UDP_ESTABLISHED):
        yield At(seconds + BEFORE)
        yield back(sport=ports[0])
        yield At(seconds + AFTER)
        yield back(sport=ports[1])


@capture
def tcp_out():
    opened = ESTABLISHED, CLOSING, RESET, FINISHED
    first, *more = out_tcp("S", NEW, *opened, seq=100, ack=0)
    yield first  # waits for the router's MAC
    yield At(0.1)
    yield from more
    yield At(0.3)
    yield from out_tcp("A", *opened)
    yield At(0.4)
    yield from out_tcp("FA", CLOSING, FINISHED)
    yield from out_tcp("R", RESET, ack=0)


@capture
def tcp_back():
    # RFC 5382 REQ-5: 2 h 4 min where both are there, else 4 min.
    yield At(0.05)
    yield router_answers()
    yield At(0.2)
    for pair in ESTABLISHED, CLOSING, RESET, FINISHED:
        for port in pair:
            yield back_tcp(port, "SA", seq=500)
    yield At(0.5)
    for port in FINISHED:
        yield back_tcp(port, "FA", ack=102)
    for which, seconds in enumerate((240 + BEFORE, 240 + AFTER)):
        yield At(seconds)
        yield back_tcp(NEW[which], "SA", seq=500)
        for pair in CLOSING, RESET, FINISHED:
            yield back_tcp(pair[which], "A", seq=502, ack=102)
    yield At(7440 + BEFORE)
    yield back_tcp(ESTABLISHED[0], "A")
    yield At(7440 + AFTER)
    yield back_tcp(ESTABLISHED[1], "A")


@capture
def ping_out():
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield At(0.1)
    yield ping(RED_WEB, GATEWAY, WEB_IP, OTHER_SERVER_IP)


@capture
def ping_back():
    # RFC 5508 REQ-2: 60 s.
    yield At(0.05)
    yield router_answers()
    for seconds, src in (60 + BEFORE, SERVER_IP), (60 + AFTER, OTHER_SERVER_IP):
        yield At(seconds)
        yield ping(ROUTER, UPLINK, src, UPLINK_IP, "echo-reply", ident=PORT)


@capture
def other():
    # Four, as many as a port may have; the fifth has a place when they have ended, after 10 min.
    def of(proto):
        return Ether(src=RED_WEB, dst=RED_DB) / IP(
            src=WEB_IP, dst=DB_IP, id=1, proto=proto) / bytes(24)

    for proto in (47, 50, 89, 132):
        yield of(proto)
    for seconds in (600 + BEFORE, 600 + AFTER):
        yield At(seconds)
        yield of(51)
