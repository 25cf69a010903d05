# SPDX-License-Identifier: BSD-3-Clause
# DHCP as a client sees it: the states of RFC 2131, options in every shape, what is no client's.
from lib import (BOOTP, BROADCAST, DB_IP, DHCP, GATEWAY, GATEWAY_IP, IP, RED_DB, RED_WEB, UDP,
                 WEB_IP, Ether, Vnet, capture)

DESK = "02:de:5c:00:00:01"  # a client on a `clients: many` port
OTHER_IP = "10.0.0.99"  # in the subnet, nobody's
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)


def message(options, src="0.0.0.0", mac=RED_WEB, ciaddr="0.0.0.0", xid=1, data=b""):
    frame = Ether(src=mac, dst=BROADCAST) / IP(src=src, dst="255.255.255.255", id=1)
    frame = frame / UDP(sport=68, dport=67)
    frame = frame / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=xid, ciaddr=ciaddr)
    return frame / DHCP(options=[*options, "end"]) / data


def option(code, *values):
    return bytes([code, len(values), *values])


def address(code, text):
    return option(code, *(int(part) for part in text.split(".")))


def kind(value):
    return option(53, value)


def raw(options, src="0.0.0.0", dst="255.255.255.255", to=BROADCAST, mac=RED_WEB, cut=None,
        **bootp):
    """A message whose option bytes are the caller's; End is his affair. cut: of the payload."""
    bootp.setdefault("chaddr", bytes.fromhex(mac.replace(":", "")))
    payload = bytes(BOOTP(xid=1, options=COOKIE, **bootp)) + options
    frame = Ether(src=mac, dst=to) / IP(src=src, dst=dst, id=1)
    return frame / UDP(sport=68, dport=67) / payload[:cut]


def request(*options, **more):
    return raw(b"".join([kind(REQUEST), *options, b"\xff"]), **more)


def unicast(*options, src=WEB_IP, **more):
    return request(*options, src=src, dst=GATEWAY_IP, to=GATEWAY, **more)


SERVER = address(54, GATEWAY_IP)
END = b"\xff"


@capture
def configured():
    yield message([("message-type", "discover"), ("hostname", "web")])
    yield message([("message-type", "request"), ("server_id", "10.0.0.1"),
                   ("requested_addr", WEB_IP)])
    yield message([("message-type", "request"), ("requested_addr", "10.0.0.99")], xid=2)


@capture
def malformed():
    frame = bytes(message([("message-type", "discover")]))
    cookie = frame.index(b"\x63\x82\x53\x63")
    yield frame[:cookie] + b"\0\0\0\0" + frame[cookie + 4 :]


# --- DISCOVER


@capture
def discover_broadcast_flag():
    yield raw(kind(DISCOVER) + END, flags=0x8000)


@capture
def discover_client_id():
    yield raw(kind(DISCOVER) + option(61, 1, 2, 3, 4, 5, 6, 7) + END)


@capture
def discover_parameters():
    # In the client's order, each once, unknown ones (42, 119) left out.
    yield raw(kind(DISCOVER) + option(55, 6, 119, 3, 6, 42, 28, 26, 12, 1) + END)


@capture
def discover_parameters_many():
    # 64 are heeded: the router is the 65th.
    yield raw(kind(DISCOVER) + option(55, *[42] * 64, 3) + END)


@capture
def discover_parameters_unknown():
    yield raw(kind(DISCOVER) + option(55, 42, 119) + END)


@capture
def discover_wants_other():
    yield raw(kind(DISCOVER) + address(50, OTHER_IP) + END)


@capture
def discover_wants_other_server():
    # A DISCOVER names no server; who does is offered an address all the same.
    yield raw(kind(DISCOVER) + address(54, DB_IP) + END)


@capture
def discover_hostname_odd():
    yield raw(kind(DISCOVER) + option(12, *b"\x1b[2J;\0\xff") + option(12) + END)


@capture
def discover_to_gateway_mac():
    yield raw(kind(DISCOVER) + END, to=GATEWAY)


@capture
def discover_to_neighbour():
    # Broadcast in IP, unicast to another guest in Ethernet: the host's to answer all the same.
    yield raw(kind(DISCOVER) + END, to=RED_DB)


@capture
def discover_partial_checksum():
    # A client whose kernel leaves the checksum to the device.
    yield Vnet(raw(kind(DISCOVER) + END))


# --- REQUEST, by the state that RFC 2131 §4.3.6 reads from it


@capture
def selecting():
    yield request(SERVER, address(50, WEB_IP))


@capture
def selecting_other_address():
    yield request(SERVER, address(50, OTHER_IP))


@capture
def selecting_other_server():
    yield request(address(54, "10.0.0.77"), address(50, WEB_IP))


@capture
def selecting_no_address():
    yield request(SERVER)


@capture
def selecting_with_ciaddr():
    yield request(SERVER, address(50, WEB_IP), ciaddr=WEB_IP)


@capture
def init_reboot():
    yield request(address(50, WEB_IP))


@capture
def init_reboot_other_address():
    yield request(address(50, OTHER_IP))


@capture
def init_reboot_other_network():
    yield request(address(50, "192.168.7.7"))


@capture
def init_reboot_no_address():
    yield request()


@capture
def renewing():
    yield unicast(ciaddr=WEB_IP)


@capture
def renewing_other_address():
    yield unicast(ciaddr=OTHER_IP)


@capture
def renewing_spoofed():
    yield unicast(ciaddr=DB_IP, src=DB_IP)


@capture
def renewing_contradiction():
    yield unicast(address(50, OTHER_IP), ciaddr=WEB_IP)


@capture
def renewing_broadcast_flag():
    # ciaddr goes before the flag: the answer is unicast.
    yield unicast(ciaddr=WEB_IP, flags=0x8000)


@capture
def rebinding():
    yield request(src=WEB_IP, ciaddr=WEB_IP)


@capture
def rebinding_other_address():
    yield request(src=WEB_IP, ciaddr=OTHER_IP)


@capture
def rebinding_other_network():
    yield request(src=WEB_IP, ciaddr="192.168.7.7")


@capture
def to_another_server():
    yield request(src=WEB_IP, dst=DB_IP, to=RED_DB, ciaddr=WEB_IP)


# --- DECLINE, RELEASE, INFORM


@capture
def decline():
    yield raw(kind(DECLINE) + SERVER + address(50, WEB_IP) + END)


@capture
def decline_wrong():
    yield raw(kind(DECLINE) + address(54, "10.0.0.77") + address(50, WEB_IP) + END)
    yield raw(kind(DECLINE) + SERVER + address(50, DB_IP) + END)
    yield raw(kind(DECLINE) + SERVER + END)


@capture
def release():
    yield raw(kind(RELEASE) + SERVER + END, src=WEB_IP, dst=GATEWAY_IP, to=GATEWAY, ciaddr=WEB_IP)


@capture
def release_wrong():
    for server, ciaddr in (("10.0.0.77", WEB_IP), (GATEWAY_IP, DB_IP), (GATEWAY_IP, "0.0.0.0")):
        yield raw(kind(RELEASE) + address(54, server) + END, src=WEB_IP, dst=GATEWAY_IP, to=GATEWAY,
                  ciaddr=ciaddr)


@capture
def inform():
    yield raw(kind(INFORM) + END, src=WEB_IP, ciaddr=WEB_IP)


@capture
def inform_wrong():
    yield raw(kind(INFORM) + END, src=WEB_IP)
    yield raw(kind(INFORM) + END, src=WEB_IP, ciaddr="192.168.7.7")


# --- what is no client's own message


@capture
def relayed():
    yield raw(kind(DISCOVER) + END, giaddr=DB_IP, hops=1)


@capture
def other_chaddr():
    for chaddr in (RED_DB, "01:00:5e:00:00:01", "00:00:00:00:00:00"):
        yield raw(kind(DISCOVER) + END, chaddr=bytes.fromhex(chaddr.replace(":", "")))


@capture
def bootp_header():
    yield raw(kind(DISCOVER) + END, op=2)
    yield raw(kind(DISCOVER) + END, htype=6)
    yield raw(kind(DISCOVER) + END, hlen=16)


@capture
def server_types():
    for value in (0, OFFER, ACK, NAK, 9, 255):
        yield raw(kind(value) + END)


@capture
def bootp_only():
    # A BOOTP client of RFC 951: no type.
    yield raw(END)


# --- options in every shape (H-43)


@capture
def option_past_end():
    yield raw(kind(DISCOVER) + bytes([61, 9, 1, 2, 3]))
    yield raw(kind(DISCOVER) + bytes([12, 255]) + END)


@capture
def option_no_length():
    yield raw(kind(DISCOVER) + bytes([61]))


@capture
def option_sizes():
    yield raw(option(53, DISCOVER, 0) + END)
    yield raw(option(53) + END)
    yield raw(kind(DISCOVER) + option(50, 10, 0, 0) + END)
    yield raw(kind(DISCOVER) + option(54, 10, 0, 0, 1, 0) + END)
    yield raw(kind(DISCOVER) + option(57, 2) + END)
    yield raw(kind(DISCOVER) + option(61, 1) + END)
    yield raw(kind(DISCOVER) + option(55) + END)


@capture
def option_twice():
    yield raw(kind(DISCOVER) * 2 + END)
    yield raw(kind(REQUEST) + address(50, WEB_IP) * 2 + END)


@capture
def option_pads():
    yield raw(bytes(40) + kind(DISCOVER) + bytes(40) + END + bytes(60))


@capture
def option_no_end():
    yield raw(kind(DISCOVER))


@capture
def option_after_end():
    yield raw(END + kind(DISCOVER))


@capture
def option_unknown():
    yield raw(option(224, *range(200)) + kind(DISCOVER) + option(82, 1, 2, 0, 9) + END)


@capture
def hostname_in_pieces():
    # RFC 3396: together longer than what is kept of an option, in front of all others that are.
    yield raw(option(12, *b"w" * 200) * 2 + kind(DISCOVER) + END)


@capture
def client_id_longest():
    yield raw(kind(DISCOVER) + option(61, *range(64)) + END)


@capture
def client_id_too_long():
    yield raw(kind(DISCOVER) + option(61, *range(65)) + END)


@capture
def client_id_in_pieces():
    # RFC 3396: one option, in three pieces.
    yield raw(option(61, 1, 2) + kind(DISCOVER) + option(61, 3) + option(61, 4, 5) + END)


@capture
def overload_file():
    yield raw(option(52, 1) + END, file=kind(DISCOVER) + option(61, 7, 7) + END)


@capture
def overload_sname():
    yield raw(option(52, 2) + END, sname=kind(DISCOVER) + END)


@capture
def overload_both():
    # The order is options, file, sname: the identifier is 1 2 3.
    yield raw(option(52, 3) + option(61, 1) + END, file=option(61, 2) + END,
              sname=option(61, 3) + kind(DISCOVER) + END)


@capture
def overload_not_said():
    yield raw(END, file=kind(DISCOVER) + END, sname=kind(DISCOVER) + END)


@capture
def overload_loop():
    yield raw(option(52, 1) + kind(DISCOVER) + END, file=option(52, 1) + END)
    yield raw(option(52, 3) + kind(DISCOVER) + END, file=END, sname=option(52, 3) + END)


@capture
def overload_value():
    yield raw(kind(DISCOVER) + option(52, 0) + END)
    yield raw(kind(DISCOVER) + option(52, 4) + END)
    yield raw(kind(DISCOVER) + option(52, 1, 1) + END)


@capture
def overload_past_end():
    yield raw(kind(DISCOVER) + option(52, 2) + END, sname=bytes(62) + bytes([12, 1]))


@capture
def udp_length_short():
    # The options lie behind what the datagram says is its end.
    frame = raw(kind(DISCOVER) + END)
    frame[UDP].len = 8 + 240
    yield frame


@capture
def truncated():
    # Cut at every byte of 240 of BOOTP and four of options; IP and UDP are whole. The option
    # that says DISCOVER is complete with 243 bytes.
    for size in range(245):
        yield raw(kind(DISCOVER) + END, cut=size)


@capture
def fragment():
    frame = raw(kind(DISCOVER) + END)
    frame[IP].flags = "MF"
    yield frame
    frame = raw(kind(DISCOVER) + END, src=WEB_IP)
    frame[IP].flags = "MF"
    yield frame


# --- policies/pools.yaml: pools, and a network without a gateway


@capture
def pool_discover():
    yield raw(kind(DISCOVER) + END, mac=DESK)


@capture
def pool_request():
    yield request(SERVER, address(50, "10.0.0.100"), mac=DESK)
    yield request(address(50, "10.0.0.100"), mac=DESK)
    yield request(src="10.0.0.100", dst=GATEWAY_IP, to=GATEWAY, ciaddr="10.0.0.100", mac=DESK)


@capture
def pool_other_network():
    yield request(address(50, "192.168.7.7"), mac=DESK)


@capture
def pool_give_back():
    yield raw(kind(RELEASE) + SERVER + END, src="10.0.0.100", dst=GATEWAY_IP, to=GATEWAY,
              ciaddr="10.0.0.100", mac=DESK)
    yield raw(kind(DECLINE) + SERVER + address(50, "10.0.0.100") + END, mac=DESK)


@capture
def pool_inform():
    yield raw(kind(INFORM) + END, src="10.0.0.100", dst=GATEWAY_IP, to=GATEWAY, ciaddr="10.0.0.100",
              mac=DESK)


@capture
def pool_speaks_early():
    # A new client may speak nothing but DHCP.
    yield Ether(src=DESK, dst=GATEWAY) / IP(src="10.0.0.100", dst=GATEWAY_IP, id=1) / UDP(
        sport=68, dport=53)
    yield raw(kind(DISCOVER) + END, src="10.0.0.100", mac=DESK)


@capture
def wire_discover():
    yield raw(kind(DISCOVER) + END, mac="02:00:00:00:0c:11")


@capture
def wire_offer():
    yield Ether(src="02:00:00:00:0c:12", dst="02:00:00:00:0c:11") / IP(
        src="10.0.2.12", dst="10.0.2.11", id=1) / UDP(sport=67, dport=68) / bytes(240)
