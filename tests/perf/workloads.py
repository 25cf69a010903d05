# SPDX-License-Identifier: BSD-3-Clause
# What the counted and timed replays are fed with: captures made here, packet by packet, without a
# clock or a random number. Used by instructions.py and figures_replay.py.
import os
import socket
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POLICIES = os.path.join(ROOT, "pcap-fixtures", "policies")
START_S, BURST, BURST_STEP_NS = 1700000000, 32, 100_000
FLOWS = 64
# pcap-fixtures/policies/two_tenants.yaml and trunks.yaml
WEB, DB, APP = "020000000a11", "020000000a12", "020000000b11"
GATEWAY, UPLINK, ROUTER = "060000000000", "020000000001", "02ee00000001"
STATION = "02ee000000aa"  # behind the trunk
WEB_IP, DB_IP, APP_IP, GATEWAY_IP = "10.0.0.11", "10.0.0.12", "10.0.1.11", "10.0.0.1"
UPLINK_IP, ROUTER_IP, SERVER_IP = "198.51.100.2", "198.51.100.1", "203.0.113.7"
STATION_IP = "10.0.0.99"
UDP, TCP = 17, 6
SHORT, LONG = 60, 1514  # bytes of a frame without its check sequence


def _checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _ethernet(src, dst, kind, tag=b""):
    return bytes.fromhex(dst + src) + tag + struct.pack(">H", kind)


# ends: ((MAC, IP, port), (MAC, IP, port)); a frame of `size` bytes from the first to the second.
def _ipv4(ends, proto=UDP, size=SHORT, tag=b""):
    (src, src_ip, sport), (dst, dst_ip, dport) = ends
    l4_size = size - 34
    if proto == UDP:
        l4 = struct.pack(">HHHH", sport, dport, l4_size, 0)
    else:  # an ACK in the middle of a connection
        l4 = struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, 0x10, 65535, 0, 0)
    ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, size - 14, 1, 0, 64, proto, 0,
                               socket.inet_aton(src_ip), socket.inet_aton(dst_ip)))
    ip[10:12] = _checksum(bytes(ip)).to_bytes(2, "big")
    return _ethernet(src, dst, 0x0800, tag) + bytes(ip) + l4 + bytes(l4_size - len(l4))


# To one receiver: broadcasts meet the storm limit.
def _arp(src, op, src_ip, dst_ip, dst, target="000000000000"):
    return _ethernet(src, dst, 0x0806) + struct.pack(
        ">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, op, bytes.fromhex(src), socket.inet_aton(src_ip),
        bytes.fromhex(target), socket.inet_aton(dst_ip))


def _discover(i):
    options = bytes((99, 130, 83, 99, 53, 1, 1, 255))
    bootp = struct.pack(">BBBBIHH16x16s192x", 1, 1, 6, 0, i, 0, 0, bytes.fromhex(WEB)) + options
    frame = _ipv4(((WEB, "0.0.0.0", 68), (GATEWAY, "255.255.255.255", 67)), size=42 + len(bootp))
    return frame[:42] + bootp


def _bridged(i, n_flows=FLOWS, proto=UDP, size=SHORT, src=WEB):
    return _ipv4(((src, WEB_IP, 10000 + i % n_flows), (DB, DB_IP, 20000)), proto, size)


# Bursts go there and back in turn, with the same 64 tuples.
def _there_and_back(i, proto=UDP, size=SHORT):
    ends = ((WEB, WEB_IP, 10000 + i // (2 * BURST) * BURST % FLOWS + i % BURST),
            (DB, DB_IP, 20000))
    back = i // BURST % 2
    return ("red/db.eth0" if back else "red/web.eth0",
            _ipv4(ends[::-1] if back else ends, proto, size))


def _to_gateway(i, dst_ip):
    return _ipv4(((WEB, WEB_IP, 10000 + i % FLOWS), (GATEWAY, dst_ip, 20000)))


# Packet i of each: (port, frame); and what has to become of every one.
TWO, TRUNKS = "two_tenants.yaml", "trunks.yaml"
WORKLOADS = {
    "l2": (TWO, "forwarded", _there_and_back),
    "tcp1500": (TWO, "forwarded", lambda i: _there_and_back(i, TCP, LONG)),
    "new_flows": (TWO, "forwarded", lambda i: ("red/web.eth0", _bridged(i, 50000))),
    "routed": (TWO, "forwarded", lambda i: ("red/web.eth0", _to_gateway(i, APP_IP))),
    "snat": (TWO, "forwarded", lambda i: ("red/web.eth0", _to_gateway(i, SERVER_IP))),
    "trunk": (TRUNKS, "forwarded", lambda i: ("lab", _ipv4(
        ((STATION, STATION_IP, 10000 + i % FLOWS), (WEB, WEB_IP, 20000)),
        tag=struct.pack(">HH", 0x8100, 10)))),
    "arp": (TWO, "answered", lambda i: ("red/web.eth0", _arp(WEB, 1, WEB_IP, GATEWAY_IP, GATEWAY))),
    "dhcp": (TWO, "answered", lambda i: ("red/web.eth0", _discover(i))),
    "spoofed": (TWO, "dropped", lambda i: ("red/web.eth0", _bridged(i, src=APP))),
}


def _write(path, stamped):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        for ns, frame in stamped:
            file.write(struct.pack("<IIII", START_S + ns // 10**9, ns % 10**9, len(frame),
                                   len(frame)) + frame)


# Makes the captures of a workload's first n packets in `folder`; with `period` the first so many
# come again and again. Gives the words for `insula replay` that name policy and captures, and what
# becomes of every packet but some of the first.
def make(name, n, folder, period=None):
    policy, outcome, packet = WORKLOADS[name]
    packets = [packet(i) for i in range(period or n)]
    captures = {}
    for i in range(n):
        port, frame = packets[i % len(packets)]
        captures.setdefault(port, []).append((i // BURST * BURST_STEP_NS, frame))
    if policy == TWO:  # the router answers; with a capture of its own replay does not play it
        captures["internet"] = [
            (BURST_STEP_NS // 2, _arp(ROUTER, 2, ROUTER_IP, UPLINK_IP, UPLINK, UPLINK))]
    words = ["--policy", os.path.join(POLICIES, policy), "--burst", str(BURST)]
    for number, (port, stamped) in enumerate(sorted(captures.items())):
        path = os.path.join(folder, f"{number}.pcap")
        _write(path, stamped)
        words += ["--in", f"{port}={path}"]
    return words, outcome
