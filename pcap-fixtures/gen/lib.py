# SPDX-License-Identifier: BSD-3-Clause
# What the generators share: the decorator that makes a function a capture, a capture's clock, and
# the names of those who live in policies/. Deterministic: no clock, no random number.
import os
import struct

from scapy.all import ARP, BOOTP, DHCP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether  # noqa: F401

START = 1700000000  # of every capture: two inputs of one case share their clock
STEP = 0.001  # between frames
IN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "in")

GATEWAY = "06:00:00:00:00:00"  # of every network
BROADCAST = "ff:ff:ff:ff:ff:ff"
# policies/two_tenants.yaml
RED_WEB, RED_DB, RED_APP = "02:00:00:00:0a:11", "02:00:00:00:0a:12", "02:00:00:00:0b:11"
BLUE_WEB, BLUE_DB = "02:00:00:00:14:11", "02:00:00:00:14:12"
UPLINK, ROUTER = "02:00:00:00:00:01", "02:ee:00:00:00:01"
UPLINK_IP, ROUTER_IP, SERVER_IP = "198.51.100.2", "198.51.100.1", "203.0.113.7"
WEB_IP, DB_IP, APP_IP, GATEWAY_IP = "10.0.0.11", "10.0.0.12", "10.0.1.11", "10.0.0.1"

LINK_ETHERNET, LINK_VNET = 1, 147  # USER0: a virtio_net_hdr before each frame
GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP = 0, 1, 4, 5

captures = []  # (area, name, function)


class At:
    """Yielded between frames: the next one comes this many seconds after the start."""

    def __init__(self, seconds):
        self.seconds = seconds


class Vnet:
    """A frame with a virtio_net_hdr: what a guest that offloads sends. The checksum is partial, as
    the header says: what stands in its field is the pseudo header's sum."""

    def __init__(self, frame, gso=GSO_NONE, size=0, start=34, offset=None, flags=1):
        data = bytearray(bytes(frame))
        proto = data[23]
        offset = offset if offset is not None else (16 if proto == 6 else 6)
        total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(26, 34, 2))
        total += proto + len(data) - 34
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        where = 34 + (16 if proto == 6 else 6)
        data[where : where + 2] = total.to_bytes(2, "big")
        self.data = struct.pack("<BBHHHH", flags, gso, 0, size, start, offset) + data

    def __bytes__(self):
        return bytes(self.data)


def capture(function):
    """Makes in/AREA/FUNCTION.pcap of the frames (scapy or bytes) that the function yields."""
    captures.append((function.__module__, function.__name__, function))
    return function


def write(path, frames):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    frames = list(frames)
    now = 0.0
    link = LINK_VNET if any(isinstance(f, Vnet) for f in frames) else LINK_ETHERNET
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link))
        for frame in frames:
            if isinstance(frame, At):
                now = frame.seconds
                continue
            data = bytes(frame)
            if link == LINK_VNET and not isinstance(frame, Vnet):
                data = bytes(10) + data
            ns = round(now * 1e9)
            f.write(struct.pack("<IIII", START + ns // 10**9, ns % 10**9, len(data), len(data)))
            f.write(data)
            now += STEP


def udp(src, dst, src_ip, dst_ip, sport=4000, dport=5000, data=b"hello", **ip):
    frame = Ether(src=src, dst=dst) / IP(src=src_ip, dst=dst_ip, id=1, **ip)
    return frame / UDP(sport=sport, dport=dport) / data


def tcp(src, dst, src_ip, dst_ip, flags, sport=4000, dport=80, seq=1, ack=0, data=b"", **ip):
    frame = Ether(src=src, dst=dst) / IP(src=src_ip, dst=dst_ip, id=1, **ip)
    return frame / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack) / data


def ping(src, dst, src_ip, dst_ip, kind="echo-request", ident=7, seq=1, **ip):
    frame = Ether(src=src, dst=dst) / IP(src=src_ip, dst=dst_ip, id=1, **ip)
    # A timestamp request would have the host's time of day.
    icmp = ICMP(type=kind, id=ident, seq=seq, ts_ori=0, ts_rx=0, ts_tx=0)
    return frame / icmp / bytes(range(32))


def arp(src, op, sha, spa, tpa, dst=BROADCAST, tha="00:00:00:00:00:00"):
    return Ether(src=src, dst=dst) / ARP(op=op, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa)


def patched(frame, at, data):
    """The bytes of a frame with others from `at` on."""
    frame = bytes(frame)
    return frame[:at] + data + frame[at + len(data) :]


def router_answers():
    """The uplink's router says who it is; the switch asks the first time it needs it."""
    return arp(ROUTER, 2, ROUTER, ROUTER_IP, UPLINK_IP, dst=UPLINK, tha=UPLINK)
