# SPDX-License-Identifier: BSD-3-Clause
# Frames by hand, for what a kernel would not send: builders of Ethernet, tags, ARP, IPv4, UDP, TCP
# and ICMP, and Wire, a raw socket on one interface of one namespace. A Wire shows tags as they were
# on the wire (the kernel takes the outer one off and tells it aside). Used by tests/net and
# tests/hostile.
import contextlib
import ctypes
import os
import select
import socket
import struct
import time

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, VLAN, QINQ = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
ICMP, TCP, UDP = 1, 6, 17
CLONE_NEWNET = 0x40000000
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
RECEIVE_BUFFER = 8 << 20


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def address(text):
    return socket.inet_aton(text)


def csum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# tags: (tpid, tci) from the outermost on.
def eth(dst, src, kind, payload=b"", tags=()):
    return (mac(dst) + mac(src) + b"".join(struct.pack("!HH", *tag) for tag in tags)
            + struct.pack("!H", kind) + payload)


# Any field of the header by name, to lie; checksum None = the right one.
def ipv4(src, dst, proto, payload=b"", version=4, ihl=5, total=None, ident=0, frag=0, ttl=64,
         checksum=None, options=b""):
    total = 20 + len(options) + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | ihl, 0, total, ident, frag, ttl, proto, 0,
                       address(src), address(dst)) + options
    checksum = csum(head) if checksum is None else checksum
    return head[:10] + struct.pack("!H", checksum) + head[12:] + payload


def pseudo(src, dst, proto, size):
    return address(src) + address(dst) + struct.pack("!BBH", 0, proto, size)


def udp(src, dst, sport, dport, payload=b"", size=None):
    size = 8 + len(payload) if size is None else size
    head = struct.pack("!HHHH", sport, dport, size, 0)
    total = csum(pseudo(src, dst, UDP, 8 + len(payload)) + head + payload) or 0xFFFF
    return head[:6] + struct.pack("!H", total) + payload


def tcp(src, dst, sport, dport, payload=b"", offset=5, flags=2):
    head = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, offset << 4, flags, 1024, 0, 0)
    total = csum(pseudo(src, dst, TCP, 20 + len(payload)) + head + payload)
    return head[:16] + struct.pack("!H", total) + head[18:] + payload


def echo(kind, ident, number, payload=b"insula"):
    body = struct.pack("!BBHHH", kind, 0, 0, ident, number) + payload
    return body[:2] + struct.pack("!H", csum(body)) + body[4:]


def arp(op, sha, spa, tha, tpa, dst=BROADCAST, src=None, tags=()):
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, op) + mac(sha) + address(spa) + mac(tha)
    return eth(dst, src or sha, ARP, body + address(tpa), tags)


class Frame:
    """A received frame, taken apart as far as it goes."""

    def __init__(self, data):
        self.data, self.dst, self.src, self.tags = data, data[:6].hex(":"), data[6:12].hex(":"), []
        at, self.kind = 14, struct.unpack_from("!H", data, 12)[0]
        while self.kind in (VLAN, QINQ) and len(data) >= at + 4:
            tci, kind = struct.unpack_from("!HH", data, at)
            self.tags.append((self.kind, tci))
            at, self.kind = at + 4, kind
        self.payload, self.proto, self.l4 = data[at:], None, b""
        if self.kind == IPV4 and len(self.payload) >= 20:
            size = (self.payload[0] & 15) * 4
            total, self.proto = struct.unpack_from("!2xH5xB", self.payload)
            self.ip_src, self.ip_dst = map(socket.inet_ntoa, (self.payload[12:16],
                                                              self.payload[16:20]))
            self.l4 = self.payload[size:total]

    # Whether IPv4 and L4 checksums are right; frames without them are.
    def checksums_right(self):
        if self.kind != IPV4:
            return True
        if csum(self.payload[: (self.payload[0] & 15) * 4]):
            return False
        if self.proto == ICMP:
            return csum(self.l4) == 0
        if self.proto == UDP and self.l4[6:8] == b"\0\0" or self.proto not in (TCP, UDP):
            return True
        return csum(pseudo(self.ip_src, self.ip_dst, self.proto, len(self.l4)) + self.l4) == 0

    def __repr__(self):
        return f"<{self.src} > {self.dst} {self.tags} {self.kind:#06x} {self.payload[:60].hex()}>"


# What is done meanwhile is done in namespace `netns` ("" = here): what it opens stays there.
@contextlib.contextmanager
def entered(netns):
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{netns}", os.O_RDONLY) if netns else os.dup(own)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {netns}")
        try:
            yield
        finally:
            if libc.setns(own, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(there)
        os.close(own)


class Wire:
    # With vnet_hdr, frames go in and out behind a virtio_net_hdr of 10 bytes.
    def __init__(self, netns, interface, vnet_hdr=False):
        self.netns, self.interface, self.vnet_hdr = netns, interface, vnet_hdr
        # Protocol 0: nothing arrives before it is bound, so nothing of another interface either.
        with entered(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if vnet_hdr:
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER)  # SO_RCVBUFFORCE
        self.socket.bind((interface, 3))  # ETH_P_ALL
        self.socket.setblocking(False)

    def send(self, *frames):
        for frame in frames:
            while True:
                try:
                    self.socket.send(frame)
                    break
                except BlockingIOError:
                    select.select([], [self.socket], [], 1)

    def read(self):
        try:
            data, control, *_ = self.socket.recvmsg(70000, 64)
        except BlockingIOError:
            return None
        for level, kind, aux in control:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", aux[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else VLAN
                    at = 12 + 10 * self.vnet_hdr
                    data = data[:at] + struct.pack("!HH", tpid, tci) + data[at:]
        return data

    # Everything that waits now, as Frames.
    def drain(self):
        frames = []
        while (data := self.read()) is not None:
            frames.append(Frame(data))
        return frames

    # The first frame that `wanted` takes, others are thrown away; None after `timeout` seconds.
    def wait(self, wanted, timeout=5):
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                data = self.read()
                if data is not None and wanted(frame := Frame(data)):
                    return frame
        return None

    def fileno(self):
        return self.socket.fileno()

    def close(self):
        self.socket.close()
