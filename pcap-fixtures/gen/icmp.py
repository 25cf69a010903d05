# SPDX-License-Identifier: BSD-3-Clause
# ICMP errors: each belongs to the session of the packet it quotes, and is translated with it. With
# policies/one_port.yaml and nat/one_out.pcap: red/web 4000 stands outside as port 40000.
from lib import (APP_IP, BROADCAST, DB_IP, GATEWAY, ICMP, IP, RED_APP, RED_DB, RED_WEB, ROUTER,
                 ROUTER_IP, SERVER_IP, UDP, UPLINK, UPLINK_IP, WEB_IP, At, Ether, capture, ping,
                 router_answers, tcp, udp)

PORT = 40000
HOP_IP = "192.0.2.99"  # a router on the way


def sent(src=UPLINK_IP, dst=SERVER_IP, sport=PORT, dport=5000, **more):
    """What the switch sent by the uplink, as it arrived somewhere."""
    return udp(UPLINK, ROUTER, src, dst, sport=sport, dport=dport, **{"ttl": 60, **more}).payload


def numbers(address, port):
    """The 16-bit words of them that a checksum covers."""
    a, b, c, d = (int(part) for part in address.split("."))
    return [a << 8 | b, c << 8 | d, port]


def error(quoted, kind=3, code=3, src=ROUTER_IP, to=UPLINK, dst=UPLINK_IP, more=(), **ip):
    frame = Ether(src=ROUTER, dst=to) / IP(src=src, dst=dst, id=2, **ip)
    return frame / ICMP(type=kind, code=code, **dict(more)) / bytes(quoted)


def after_answer(*frames):
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    yield from frames


@capture
def unreachable_codes():
    yield from after_answer(*(error(sent(), code=code) for code in (0, 1, 2, 3, 13)))


@capture
def frag_needed():
    quoted = tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=PORT, ttl=60).payload
    yield from after_answer(error(quoted, code=4, src=HOP_IP, more={"nexthopmtu": 1300}))


@capture
def time_exceeded():
    yield from after_answer(error(sent(ttl=1), 11, 0, src=HOP_IP), error(sent(), 11, 1))


@capture
def parameter_problem():
    yield from after_answer(error(sent(), 12, 0, more={"ptr": 1}))


@capture
def about_echo():
    quoted = ping(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, ident=PORT, ttl=1).payload
    yield from after_answer(error(quoted, 11, 0, src=HOP_IP))


@capture
def tcp_eight_bytes():
    quoted = tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=PORT, ttl=60).payload
    yield from after_answer(error(bytes(quoted)[:28]))


@capture
def tcp_checksum_cut():
    # Of the quoted TCP header all but the last bytes: before its checksum, in it, behind it.
    quoted = bytes(tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=PORT, ttl=60).payload)
    yield from after_answer(*(error(quoted[: 20 + size]) for size in (16, 17, 18, 19)))


@capture
def inner_minimal():
    yield from after_answer(error(bytes(sent())[:28]))


@capture
def inner_long():
    yield from after_answer(error(sent(data=bytes(range(250)) * 2)))


@capture
def inner_no_checksum():
    quoted = sent()
    quoted[UDP].chksum = 0
    yield from after_answer(error(quoted))


@capture
def inner_checksum_zero():
    # Inside, the datagram's sum was 0, sent as 0xffff: there 0 says that it has none (RFC 768).
    words = [0xffff - x for x in numbers(WEB_IP, 4000)] + numbers(UPLINK_IP, PORT)
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    quoted = sent()
    quoted[UDP].chksum = 0xffff - total
    yield from after_answer(error(quoted))


@capture
def inner_options():
    quoted = sent()
    quoted.options = b"\x94\x04\0\0"  # router alert
    yield from after_answer(error(quoted))


@capture
def inner_options_truncated():
    # 24 bytes of header and seven of eight.
    quoted = sent()
    quoted.options = b"\x94\x04\0\0"
    yield from after_answer(error(bytes(quoted)[:31]))


@capture
def inner_first_fragment():
    yield from after_answer(error(sent(flags="MF")))


@capture
def inner_later_fragment():
    yield from after_answer(error(sent(frag=8)))


@capture
def inner_truncated():
    yield from after_answer(*(error(bytes(sent())[:size]) for size in (27, 20, 0)))


@capture
def inner_header():
    whole = bytes(sent())
    yield from after_answer(*(error(bytes([first]) + whole[1:]) for first in (0x65, 0x44, 0x4F)))


@capture
def inner_ports():
    stranger = tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=PORT, dport=5000).payload
    yield from after_answer(error(sent(sport=PORT + 1)), error(sent(dport=5001)), error(stranger))


@capture
def inner_addresses():
    yield from after_answer(error(sent(src="198.51.100.77")), error(sent(dst="203.0.113.8")))


@capture
def inner_reversed():
    # What came in by the uplink is nothing to complain of to the uplink.
    yield from after_answer(error(sent(src=SERVER_IP, dst=UPLINK_IP, sport=5000, dport=PORT)))


@capture
def inner_inside():
    # H-42: the session by its inside name, which nobody outside knows.
    yield from after_answer(error(sent(src=WEB_IP, sport=4000)))


@capture
def about_error():
    yield from after_answer(error(error(sent(), src=UPLINK_IP, dst=SERVER_IP).payload))


@capture
def redirect_quench():
    yield from after_answer(error(sent(), 5, 1, more={"gw": "198.51.100.66"}), error(sent(), 4, 0))


@capture
def does_not_end():
    yield from after_answer(error(sent(), code=2), error(sent(), code=3))
    yield At(0.2)
    yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, sport=5000, dport=PORT)


@capture
def does_not_renew():
    yield from after_answer()
    yield At(118)
    yield error(sent())
    yield At(122)
    yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, sport=5000, dport=PORT)
    yield error(sent())


@capture
def source():
    # Anybody on the way may send one, but not from an inside address or the uplink's own.
    yield from after_answer(error(sent(), src=DB_IP), error(sent(), src=APP_IP),
                            error(sent(), src=UPLINK_IP))


@capture
def elsewhere():
    yield from after_answer(error(sent(), dst="198.51.100.77"), error(sent(), to=BROADCAST),
                            error(sent(), to=BROADCAST, dst="198.51.100.255"))


@capture
def fragment():
    yield from after_answer(error(sent(), flags="MF"))


@capture
def ttl():
    yield from after_answer(error(sent(), ttl=1), error(sent(), ttl=2))


@capture
def cut_header():
    yield from after_answer(Ether(src=ROUTER, dst=UPLINK) / IP(
        src=ROUTER_IP, dst=UPLINK_IP, id=2, proto=1) / bytes([3, 3, 0, 0, 0, 0, 0]))


# --- from inside outwards


def complaint(quoted, src=RED_WEB, to=GATEWAY, src_ip=WEB_IP, dst=SERVER_IP, kind=3, code=3):
    frame = Ether(src=src, dst=to) / IP(src=src_ip, dst=dst, id=2)
    return frame / ICMP(type=kind, code=code) / bytes(quoted)


@capture
def outward():
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield At(0.3)
    yield complaint(sent(src=SERVER_IP, dst=WEB_IP, sport=5000, dport=4000))


@capture
def outward_forged():
    # H-42: about what others got, or nobody.
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield At(0.3)
    yield complaint(sent(src=SERVER_IP, dst=DB_IP, sport=5000, dport=4000))
    yield complaint(sent(src=SERVER_IP, dst=WEB_IP, sport=5000, dport=4001))
    yield complaint(sent(src=SERVER_IP, dst=UPLINK_IP, sport=5000, dport=PORT))
    # Or to one who never sent it.
    yield complaint(sent(src=SERVER_IP, dst=WEB_IP, sport=5000, dport=4000), dst=HOP_IP)


@capture
def outward_neighbour():
    # H-42: behind the same address, about what web got.
    yield At(0.3)
    yield complaint(sent(src=SERVER_IP, dst=WEB_IP, sport=5000, dport=4000), src=RED_DB,
                    src_ip=DB_IP)


@capture
def lan_web():
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def lan_db():
    yield At(0.1)
    quoted = udp(RED_WEB, RED_DB, WEB_IP, DB_IP).payload
    yield complaint(quoted, RED_DB, RED_WEB, DB_IP, WEB_IP)


@capture
def lan_db_other_mac():
    # The session knows web's MAC by an answer; the complaint is for nobody's, as it says.
    yield At(0.1)
    yield udp(RED_DB, RED_WEB, DB_IP, WEB_IP, sport=5000, dport=4000)
    quoted = udp(RED_WEB, RED_DB, WEB_IP, DB_IP).payload
    yield complaint(quoted, RED_DB, "02:00:00:00:99:99", DB_IP, WEB_IP)


@capture
def lan_db_wrong():
    # By the gateway though the session was bridged; about what web never sent.
    yield At(0.1)
    quoted = udp(RED_WEB, RED_DB, WEB_IP, DB_IP).payload
    yield complaint(quoted, RED_DB, GATEWAY, DB_IP, WEB_IP)
    quoted = udp(RED_WEB, RED_DB, WEB_IP, DB_IP, sport=4001).payload
    yield complaint(quoted, RED_DB, RED_WEB, DB_IP, WEB_IP)


@capture
def routed_web():
    yield udp(RED_WEB, GATEWAY, WEB_IP, APP_IP)


@capture
def routed_app():
    yield At(0.1)
    quoted = udp(RED_WEB, GATEWAY, WEB_IP, APP_IP, ttl=63).payload
    yield complaint(quoted, RED_APP, GATEWAY, APP_IP, WEB_IP)


@capture
def routed_db():
    # A neighbour in the segment complains of a session that goes through the gateway.
    yield At(0.1)
    quoted = udp(RED_WEB, GATEWAY, WEB_IP, APP_IP, ttl=63).payload
    yield complaint(quoted, RED_DB, RED_WEB, DB_IP, WEB_IP)
