# SPDX-License-Identifier: BSD-3-Clause
# Through the uplink: source NAT and its answers, the neighbour behind it, what comes unasked. The
# external port is the switch's to choose; with seed 0 it is what reply() was told.
from lib import (APP_IP, BLUE_WEB, BROADCAST, DB_IP, GATEWAY, GSO_TCP4, GSO_UDP, ICMP, IP, RED_APP,
                 RED_DB, RED_WEB, ROUTER, ROUTER_IP, SERVER_IP, TCP, UDP, UPLINK, UPLINK_IP, WEB_IP,
                 At, Ether, Vnet, arp, capture, ping, router_answers, tcp, udp)

UDP_PORT = 46418  # of red/web 4000/udp
TCP_PORT = 48741


@capture
def udp_out():
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield At(0.1)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def udp_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.2)
    yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, sport=5000, dport=UDP_PORT)


@capture
def unresolved():
    # Nobody answers for the router: three wait, the rest and in the end all are dropped.
    for _ in range(5):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def unresolved_back():
    yield At(5)
    yield tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "S", dport=22)


@capture
def burst_out():
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    # At one time: the question for the second's next hop leaves behind the first.
    for dst in (SERVER_IP, "198.51.100.50", SERVER_IP):
        yield At(0.2)
        yield udp(RED_WEB, GATEWAY, WEB_IP, dst)
    yield At(5)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def router():
    yield At(0.05)
    yield router_answers()


@capture
def unsolicited():
    yield tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "S", dport=22)
    yield udp(ROUTER, UPLINK, SERVER_IP, "198.51.100.77")
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, UPLINK_IP)


@capture
def tcp_unreachable_out():
    yield tcp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "S")


@capture
def tcp_unreachable_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    quoted = tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=TCP_PORT, ttl=60).payload
    error = ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    error[ICMP].remove_payload()
    error[ICMP].type, error[ICMP].code, error[ICMP].id, error[ICMP].seq = 3, 1, 0, 0
    yield error / bytes(quoted)


@capture
def many_endpoints():
    for port in range(4000, 4004):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, sport=port)


@capture
def no_ports():
    yield Ether(src=RED_WEB, dst=GATEWAY) / IP(src=WEB_IP, dst=SERVER_IP, id=1, proto=47) / bytes(8)


# --- policies/one_port.yaml: whoever is behind the uplink has port 40000; two_ports: or 40001

PORT = 40000


def out(sport=4000, dport=5000, dst=SERVER_IP, src=RED_WEB, **more):
    return udp(src, GATEWAY, WEB_IP, dst, sport=sport, dport=dport, **more)


def back(sport=5000, dport=PORT, src=SERVER_IP, **more):
    return udp(ROUTER, UPLINK, src, UPLINK_IP, sport=sport, dport=dport, **more)


def tcp_out(flags, **more):
    return tcp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, flags, **more)


def tcp_back(flags, **more):
    return tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, flags, sport=80, dport=PORT, **more)


@capture
def one_out():
    yield out()


@capture
def one_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield back()


@capture
def no_checksum_out():
    frame = out()
    frame[UDP].chksum = 0
    yield frame


@capture
def no_checksum_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    frame = back()
    frame[UDP].chksum = 0
    yield frame


@capture
def wrong_checksum():
    # Updated, not recomputed: what was wrong inside is wrong outside.
    frame = out()
    frame[UDP].chksum = 0x1234
    yield frame
    frame = tcp_out("S")
    frame[TCP].chksum = 0x1234
    yield frame


@capture
def checksum_ffff():
    # The two bytes that make the translated datagram's sum zero, which UDP writes as ffff.
    outside = Ether(bytes(udp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, sport=PORT, data=bytes(2))))
    yield out(data=outside[UDP].chksum.to_bytes(2, "big"))


@capture
def checksum_between():
    # Half-way through the translation, new address and old port, the sum is zero.
    half = Ether(bytes(udp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, sport=4000, data=bytes(2))))
    yield out(data=half[UDP].chksum.to_bytes(2, "big"))


@capture
def endpoint_out():
    # RFC 4787 REQ-1: one endpoint inside, two outside, one port.
    yield out()
    yield out(dst="203.0.113.8", dport=53)


@capture
def endpoint_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield back(src="203.0.113.8", sport=53)
    yield back()


@capture
def filter_back():
    # Only those answer who were asked, by the port that was asked.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield back(sport=5001)
    yield back(src="203.0.113.8")
    yield back(dport=PORT + 1)
    yield tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "S", sport=5000, dport=PORT)


@capture
def tenants_red():
    yield At(0.1)
    yield out()


@capture
def tenants_blue():
    yield At(0.2)
    yield out(src=BLUE_WEB)


@capture
def tenants_back():
    yield At(0.15)
    yield router_answers()
    yield At(0.3)
    yield back(dport=40001, data=b"blue")
    yield back(dport=40000, data=b"red")


@capture
def parity():
    # RFC 4787 REQ-4: an odd port becomes an odd one, an even one an even one.
    yield out(sport=4001)
    yield out(sport=4000)


@capture
def parity_gone():
    yield out(sport=4001)
    yield out(sport=4003)


@capture
def exhausted():
    yield out(sport=4000)
    yield out(sport=4002)
    yield out(sport=4004)
    yield out(sport=4000, dport=5001)  # whose mapping there is


@capture
def last_ports():
    # policies/hundred_ports.yaml: each is found, also the last ones; then there is none.
    for n in range(101):
        yield out(sport=4000 + n)


@capture
def exhausted_other():
    yield At(0.5)
    yield out(src=BLUE_WEB)


@capture
def spaces():
    # RFC 5508, 5382: identifiers, TCP and UDP ports are three spaces.
    yield out()
    yield tcp_out("S")
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, ident=8)


@capture
def held():
    # 120 s without an answer end the session, 120 s more its port is nobody else's.
    yield out()
    yield At(200)
    yield out(sport=4002)
    yield At(260)
    yield out(sport=4002)


@capture
def held_for_owner():
    yield out()
    yield At(200)
    yield out(dport=5001)


@capture
def held_again():
    # In use again, so not free when what was held would have become so.
    yield out()
    yield At(200)
    yield out(dport=5001)
    yield At(260)
    yield out(sport=4002)


@capture
def held_same_port():
    # policies/hundred_ports.yaml: the owner has the port he had.
    yield out()
    yield At(200)
    yield out(dport=5001)


@capture
def neighbours_web():
    yield out()


@capture
def neighbours_db():
    # One port inside, two who have it: two ports outside.
    yield At(0.1)
    yield udp(RED_DB, GATEWAY, DB_IP, SERVER_IP)


# --- echo


@capture
def ping_out():
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def ping_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", ident=PORT)
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", ident=7)


@capture
def ping_late():
    # 60 s (RFC 5508 REQ-2): one in time, which begins them anew, and one too late.
    yield At(0.05)
    yield router_answers()
    yield At(58)
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", ident=PORT)
    yield At(120)
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", ident=PORT)


def echo_of_zeros(src, dst, src_ip, dst_ip, kind, ident, size):
    frame = Ether(src=src, dst=dst) / IP(src=src_ip, dst=dst_ip, id=1)
    return frame / ICMP(type=kind, id=ident, seq=0) / bytes(size)


@capture
def ping_zeros_out():
    yield echo_of_zeros(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "echo-request", 0, 0)


@capture
def ping_zeros_back():
    # Translated, nothing but zeros is left to sum: a receiver takes ffff for its sum, but not 0.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    for size in (0, 32):
        yield echo_of_zeros(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", PORT, size)


@capture
def not_to_be_told_apart():
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "timestamp-request")
    frame = out()
    for proto in (47, 50, 132):
        yield Ether(src=RED_WEB, dst=GATEWAY) / IP(
            src=WEB_IP, dst=SERVER_IP, id=1, proto=proto) / bytes(24)


@capture
def reply_unasked():
    yield ping(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "echo-reply")


# --- time


@capture
def udp_in_time():
    yield At(0.05)
    yield router_answers()
    yield At(118)
    yield back()
    yield At(410)  # answered: 300 s from here
    yield back()
    yield At(715)
    yield back()


@capture
def udp_late():
    yield At(0.05)
    yield router_answers()
    yield At(122)
    yield back()


@capture
def refreshed_out():
    # RFC 4787 REQ-6: what goes out keeps the way in open.
    for n in range(4):
        yield At(100 * n)
        yield out()


@capture
def refreshed_back():
    # The router is asked each time whether he is still there: 5 s after he was used again.
    for seconds in (0.05, 106, 206, 306):
        yield At(seconds)
        yield router_answers()
    yield At(390)
    yield back()


# --- TCP


@capture
def tcp_out_handshake():
    yield tcp_out("S", seq=100)
    yield At(0.2)
    yield tcp_out("A", seq=101, ack=501)
    yield tcp_out("PA", seq=101, ack=501, data=b"GET / HTTP/1.0\r\n\r\n")


@capture
def tcp_back_handshake():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("SA", seq=500, ack=101)
    yield At(0.3)
    yield tcp_back("PA", seq=501, ack=119, data=b"HTTP/1.0 204\r\n\r\n")


@capture
def tcp_back_simultaneous():
    # RFC 5382 REQ-2: both sides open.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("S", seq=500)
    yield tcp_back("SA", seq=500, ack=101)


@capture
def tcp_back_new():
    # RFC 5382 REQ-5: 4 min for one half open.
    yield At(0.05)
    yield router_answers()
    yield At(238)
    yield tcp_back("SA", seq=500, ack=101)


@capture
def tcp_back_new_late():
    yield At(0.05)
    yield router_answers()
    yield At(242)
    yield tcp_back("SA", seq=500, ack=101)


@capture
def tcp_back_established():
    # RFC 5382 REQ-5: 2 h 4 min.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("SA", seq=500, ack=101)
    yield At(7438)
    yield tcp_back("PA", seq=501, ack=119, data=b"still here")
    yield At(7438 + 7442)
    yield tcp_back("PA", seq=511, ack=119, data=b"too late")


@capture
def tcp_out_fin():
    yield tcp_out("S", seq=100)
    yield At(0.2)
    yield tcp_out("FA", seq=101, ack=501)
    yield At(0.4)
    yield tcp_out("A", seq=102, ack=502)


@capture
def tcp_back_fin():
    # The last ACKs still pass; 4 min later nothing does.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("SA", seq=500, ack=101)
    yield At(0.3)
    yield tcp_back("FA", seq=501, ack=102)
    yield At(243)
    yield tcp_back("A", seq=502, ack=102)


@capture
def tcp_back_rst():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("SA", seq=500, ack=101)
    yield At(1)
    yield tcp_back("R", seq=501)
    yield At(243)
    yield tcp_back("A", seq=501, ack=102)


@capture
def tcp_out_again():
    yield tcp_out("S", seq=100)
    yield At(2)
    yield tcp_out("S", seq=900)
    yield At(2.2)
    yield tcp_out("A", seq=901, ack=701)


@capture
def tcp_back_again():
    # The tuple of a dead connection serves a new one, which lives its own 2 h 4 min.
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield tcp_back("RA", seq=0, ack=101)
    yield At(2.1)
    yield tcp_back("SA", seq=700, ack=901)
    yield At(1000)
    yield tcp_back("PA", seq=701, ack=901, data=b"later")


@capture
def tcp_out_middle():
    # A connection older than the switch: picked up by what comes from inside.
    yield tcp_out("PA", seq=5000, ack=6000, data=b"go on")


# --- where it may not go, and who may not come


@capture
def hairpin_web():
    # To the uplink's own address: by a mapping, by one's own.
    yield out()
    yield out(dst=UPLINK_IP, dport=PORT)


@capture
def hairpin_db():
    yield At(0.1)
    yield udp(RED_DB, GATEWAY, DB_IP, UPLINK_IP, dport=PORT)
    yield udp(RED_DB, GATEWAY, DB_IP, UPLINK_IP, dport=22)


@capture
def on_link():
    # A neighbour on the uplink's own subnet is asked for himself, not reached by the router.
    yield out(dst="198.51.100.50")


@capture
def no_snat():
    yield udp(RED_APP, GATEWAY, APP_IP, SERVER_IP)


@capture
def fragment_out():
    yield out(flags="MF")
    yield out(frag=8)


@capture
def unsolicited_inside():
    # Whoever names an inside address from outside is nobody.
    yield udp(ROUTER, UPLINK, SERVER_IP, WEB_IP)
    yield udp(ROUTER, UPLINK, DB_IP, UPLINK_IP)


@capture
def unsolicited_kinds():
    yield back()
    yield tcp_back("SA")
    yield tcp_back("R")
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "echo-reply", ident=PORT)
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "timestamp-request")


@capture
def unsolicited_broadcast():
    for mac, address in ((BROADCAST, "255.255.255.255"), (BROADCAST, "198.51.100.255"),
                         ("01:00:5e:00:00:fb", "224.0.0.251"), (BROADCAST, UPLINK_IP)):
        yield udp(ROUTER, mac, SERVER_IP, address)


# --- offloads: translated whole, then cut for an uplink that takes none

DATA = bytes(i & 255 for i in range(4000))


@capture
def super_out():
    yield tcp_out("S", seq=999)
    yield Vnet(tcp_out("PA", seq=1000, ack=1, data=DATA), GSO_TCP4, 1448)
    yield Vnet(out(data=DATA), GSO_UDP, 1400)


@capture
def super_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield Vnet(tcp_back("PA", seq=500, ack=5000, data=DATA), GSO_TCP4, 1448)


@capture
def partial_out():
    yield Vnet(out())
    yield Vnet(tcp_out("S"))


@capture
def partial_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield Vnet(back())
    yield Vnet(tcp_back("SA", seq=500, ack=2))
