# SPDX-License-Identifier: BSD-3-Clause
# Every header wrong in each way, one way a capture. H-35 etc. are the hostile packets this is.
# Offsets are from the start of the frame: IP begins at 14, what IPv4 carries at 34.
from lib import (BROADCAST, DB_IP, GATEWAY, RED_DB, RED_WEB, ROUTER, SERVER_IP, UPLINK, UPLINK_IP,
                 WEB_IP, Dot1Q, Ether, arp, capture, patched, ping, tcp, udp)
from scapy.all import ICMPv6EchoRequest, IPv6, TCP, UDP, IPOption

WEB_IP6, DB_IP6 = "fd00::11", "fd00::12"


def good(**ip):
    return udp(RED_WEB, RED_DB, WEB_IP, DB_IP, **ip)


def typed(ethertype, dst=RED_DB, data=bytes(46)):
    return Ether(src=RED_WEB, dst=dst, type=ethertype) / data


def udp6(**ip):
    head = Ether(src=RED_WEB, dst=RED_DB) / IPv6(**{"src": WEB_IP6, "dst": DB_IP6, **ip})
    return head / UDP(sport=4000, dport=5000) / b"hello"


# --- Ethernet


@capture
def src_multicast():  # H-36
    for src in ("03:00:00:00:0a:11", BROADCAST, "00:00:00:00:00:00"):
        yield udp(src, RED_DB, WEB_IP, DB_IP)


@capture
def reserved_dst():  # H-36: 01:80:c2:00:00:00 to :0f
    for last in range(16):
        yield udp(RED_WEB, f"01:80:c2:00:00:{last:02x}", WEB_IP, DB_IP)


@capture
def reserved_dst_next():
    # The first address behind the reserved ones, and one like them with another prefix.
    yield udp(RED_WEB, "01:80:c2:00:00:10", WEB_IP, DB_IP)
    yield udp(RED_WEB, "01:80:c2:00:01:00", WEB_IP, DB_IP)


@capture
def link_control():  # H-41
    yield Ether(src=RED_WEB, dst="01:80:c2:00:00:00", type=38) / b"\x42\x42\x03" / bytes(43)  # BPDU
    yield typed(0x8808, "01:80:c2:00:00:01", b"\0\1\xff\xff" + bytes(42))  # PAUSE
    yield typed(0x8809, "01:80:c2:00:00:02")  # LACP
    yield typed(0x88CC, "01:80:c2:00:00:0e")  # LLDP
    yield typed(46, "01:00:0c:cc:cc:cc", b"\xaa\xaa\x03\0\0\x0c\x20\0" + bytes(38))  # CDP
    yield typed(0x8808, RED_DB, b"\0\1\xff\xff" + bytes(42))  # PAUSE to a station
    yield typed(0x8809, RED_DB)


@capture
def llc():  # H-36: IEEE 802.3 lengths, and the numbers that are neither length nor type
    for length in (0, 3, 46, 1500, 1501, 0x5FF):
        yield typed(length)


@capture
def llc_snap_ipv4():  # H-36: an IPv4 packet where later stages would not look for it
    inner = bytes(good().payload)
    yield typed(8 + len(inner), RED_DB, b"\xaa\xaa\x03\0\0\0\x08\0" + inner)


@capture
def llc_tagged():  # H-36
    yield Ether(src=RED_WEB, dst=RED_DB) / Dot1Q(vlan=0, type=46) / bytes(46)


@capture
def ethertype_lowest():
    yield typed(0x600)


# --- IPv4


@capture
def ipv4_version():  # H-35
    for version in (0, 3, 5, 6, 15):
        yield good(version=version)


@capture
def ipv4_ihl_small():  # H-35
    for ihl in range(5):
        yield good(ihl=ihl)


@capture
def ipv4_ihl_past_total():  # H-35: a header longer than the packet
    for ihl in range(6, 16):
        yield good(ihl=ihl, len=ihl * 4 - 1)


@capture
def ipv4_total_small():  # H-35: a packet shorter than its header
    for total in (0, 1, 19):
        yield good(len=total)


@capture
def ipv4_total_past_frame():  # H-35
    for total in (34, 1500, 65535):
        yield good(len=total)


@capture
def ipv4_padding():  # H-35: what is behind the packet does not leave
    yield bytes(good()).ljust(60, b"\xaa")
    yield bytes(good()).ljust(1514, b"\xbb")
    yield bytes(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S")).ljust(60, b"\xcc")


@capture
def ipv4_options():
    yield good(options=[IPOption(b"\1\1\1\0")])
    yield good(options=[IPOption(b"\x07\x07\x04\0\0\0\0\0")])  # record route
    yield good(options=[IPOption(b"\x83\x07\x04\x0a\0\0\x0c\0")])  # loose source route
    yield good(options=[IPOption(b"\x94\x04\0\0")])  # router alert
    yield good(options=[IPOption(b"\1" * 40)])


@capture
def ipv4_csum():
    right = int.from_bytes(bytes(good())[24:26], "big")
    for csum in (0, 0xFFFF, right + 1, right ^ 0x8000, right >> 8 | (right & 0xFF) << 8):
        yield good(chksum=csum)


@capture
def ipv4_protocols():  # H-35: protocol 0, and others without ports: carried inside the segment
    for proto in (0, 4, 41, 47, 132, 255):
        yield good(proto=proto)


@capture
def ipv4_protocol_natted():  # H-35: nothing to tell them apart by behind one address
    for proto in (0, 47, 255):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, proto=proto)


@capture
def martian_src():  # H-42
    for src in ("127.0.0.1", "127.255.255.255", "224.0.0.1", "239.255.255.250", "255.255.255.255"):
        yield udp(RED_WEB, RED_DB, src, DB_IP)


@capture
def martian_dst():  # H-42
    for dst in ("127.0.0.1", "0.0.0.0"):
        yield udp(RED_WEB, RED_DB, WEB_IP, dst)


@capture
def martian_uplink():  # H-42
    for src in ("127.0.0.1", "224.0.0.1", "255.255.255.255"):
        yield ping(ROUTER, UPLINK, src, UPLINK_IP)
    yield ping(ROUTER, UPLINK, SERVER_IP, "127.0.0.1")


# --- TCP, UDP, ICMP


@capture
def udp_length():  # H-35: less than its header, more than the packet
    for length in (0, 7, 14, 65535):
        yield patched(good(), 38, length.to_bytes(2, "big"))


@capture
def udp_length_short():
    # Less than the packet has is legal: RFC 9868 puts options there.
    yield patched(good(), 38, b"\0\x08\0\0")


@capture
def tcp_offset_small():  # H-35
    for offset in range(5):
        yield patched(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"), 46, bytes([offset << 4]))


@capture
def tcp_offset_past_end():  # H-35
    for offset in range(6, 16):
        yield patched(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"), 46, bytes([offset << 4]))


@capture
def tcp_offset_largest():
    segment = tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S")
    segment[TCP].options = [("NOP", None)] * 40
    yield segment


@capture
def icmp_echo_code():
    # An echo request has code 0: another is none that the gateway answers.
    yield patched(ping(RED_WEB, GATEWAY, WEB_IP, "10.0.0.1"), 35, b"\1")


@capture
def not_first():
    # An answer that nobody asked for.
    yield ping(RED_WEB, RED_DB, WEB_IP, DB_IP, kind="echo-reply")


# --- ARP


def request(**fields):
    frame = arp(RED_WEB, 1, RED_WEB, WEB_IP, DB_IP)
    for name, value in fields.items():
        frame["ARP"].setfieldval(name, value)
    return frame


@capture
def arp_types():
    for hwtype in (0, 6, 0x0100):
        yield request(hwtype=hwtype)
    for ptype in (0, 0x86DD, 0x0008):
        yield request(ptype=ptype)


@capture
def arp_lengths():
    for at, values in ((18, (0, 5, 7, 8, 255)), (19, (0, 3, 5, 16, 255))):
        for value in values:
            yield patched(request(), at, bytes([value]))


@capture
def arp_operation():  # RARP, InARP and NAK are no ARP either
    for op in (0, 3, 4, 8, 9, 10, 25, 0x0100, 0xFFFF):
        yield request(op=op)


@capture
def arp_sender_group():  # H-37: nobody's address is a group's
    for sha in ("03:00:00:00:0a:11", BROADCAST, "00:00:00:00:00:00"):
        yield request(hwsrc=sha)


# --- IPv6


@capture
def ipv6_version():
    for version in (0, 4, 5, 7, 15):
        yield udp6(version=version)


@capture
def ipv6_payload_past_frame():  # H-35
    for plen in (14, 1460, 65535):
        yield udp6(plen=plen)


@capture
def ipv6_martian():
    yield udp6(src="ff02::1")
    yield udp6(src="::1")
    yield udp6(dst="::1")
    yield udp6(dst="::")


@capture
def ipv6_l4():  # H-35
    yield patched(udp6(), 58, b"\0\x07")
    yield patched(udp6(), 58, b"\0\x0e")
    head = Ether(src=RED_WEB, dst=RED_DB) / IPv6(src=WEB_IP6, dst=DB_IP6)
    for offset in (4, 6):
        yield head / TCP(sport=4000, dport=80, flags="S", dataofs=offset)
    yield patched(head / ICMPv6EchoRequest(id=7, seq=1), 18, b"\0\x07")
