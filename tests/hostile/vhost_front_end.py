# SPDX-License-Identifier: BSD-3-Clause
# A vhost-user front end without a VM: a socket, a memfd and two split rings. Polite by default; the
# tests of HOSTILE.md A and B make it lie. Layout: QEMU docs/interop/vhost-user.rst, virtio 1.1,
# 2.6.
import mmap
import os
import socket
import struct

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(1, 6)
(SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE) = range(8, 12)
(SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, GET_PROTOCOL_FEATURES) = range(12, 16)
(SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE) = range(16, 19)
NET_SET_MTU, GET_INFLIGHT_FD, SET_INFLIGHT_FD = 20, 31, 32

VERSION = 1
NEED_REPLY = 1 << 3
F_VERSION_1 = 1 << 32
F_PROTOCOL = 1 << 30
F_MRG_RXBUF = 1 << 15
F_CSUM = 1 << 0
F_INDIRECT = 1 << 28
F_EVENT_IDX = 1 << 29
FEATURES = F_VERSION_1 | F_PROTOCOL | F_MRG_RXBUF | F_CSUM | F_INDIRECT
DESC_NEXT, DESC_WRITE, DESC_INDIRECT = 1, 2, 4

MEMORY_SIZE = 1 << 20
GUEST_BASE = 0x40000000
USER_BASE = 0x7F0000000000
RING_SIZE = 256
DATA = 0x40000  # packet buffers begin here


class Closed(Exception):
    pass


class FrontEnd:
    def __init__(self, path=None, sock=None, timeout=3):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # Blocking: a full backlog is waited for.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout, 0))
            sock.connect(path)
        self.sock = sock
        self.sock.settimeout(timeout)
        self.memfd = None
        self.fds = []
        self.kicks = {}

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        if self.memfd is not None:
            self.memory.close()
            os.close(self.memfd)
            self.memfd = None

    def __enter__(self):
        return self

    # Returns when the far end has read all of it and hung up.
    def __exit__(self, *_):
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.is_closed()
        except OSError:
            pass
        self.close()

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        head = struct.pack("<III", request, flags, len(payload) if size is None else size)
        try:
            if fds:
                socket.send_fds(self.sock, [head + payload], list(fds))
            else:
                self.sock.sendall(head + payload)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed from e

    def recv(self):
        data = b""
        try:
            while len(data) < 12 or len(data) < 12 + struct.unpack_from("<I", data, 8)[0]:
                part = self.sock.recv(4096)
                if not part:
                    raise Closed
                data += part
        except ConnectionResetError as e:
            raise Closed from e
        return data[12:]

    def ask(self, request, payload=b"", fds=()):
        self.send(request, payload, fds)
        return self.recv()

    def features(self):
        return struct.unpack("<Q", self.ask(GET_FEATURES))[0]

    def is_closed(self):
        try:
            while self.sock.recv(4096):
                pass
            return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    # ---- the polite way to a running device

    def make_memory(self):
        self.memfd = os.memfd_create("guest")
        os.ftruncate(self.memfd, MEMORY_SIZE)
        self.memory = mmap.mmap(self.memfd, MEMORY_SIZE)

    def mem_table(self, regions=None, n=None):
        regions = regions or [(GUEST_BASE, MEMORY_SIZE, USER_BASE, 0)]
        return struct.pack("<II", len(regions) if n is None else n, 0) + b"".join(
            struct.pack("<QQQQ", *r) for r in regions)

    @staticmethod
    def ring_at(vring):
        base = vring * 0x10000
        return base, base + 0x4000, base + 0x8000  # descriptors, avail, used

    def negotiate(self, features=FEATURES):
        self.make_memory()
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack("<Q", features & self.features()))
        self.ask(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << 0))
        self.send(SET_MEM_TABLE, self.mem_table(), [self.memfd])

    def ring_addr(self, vring, at=None):
        desc, avail, used = at or self.ring_at(vring)
        return struct.pack("<IIQQQQ", vring, 0, USER_BASE + desc, USER_BASE + used,
                           USER_BASE + avail, 0)

    def start_ring(self, vring, call=None, at=None, base=0):
        kick = os.eventfd(0, os.EFD_NONBLOCK)
        callfd = os.eventfd(0, os.EFD_NONBLOCK) if call is None else os.dup(call)
        self.fds += [kick, callfd]
        self.kicks[vring] = kick
        self.send(SET_VRING_NUM, struct.pack("<II", vring, RING_SIZE))
        self.send(SET_VRING_BASE, struct.pack("<II", vring, base))
        self.send(SET_VRING_ADDR, self.ring_addr(vring, at))
        self.send(SET_VRING_CALL, struct.pack("<Q", vring), [callfd])
        self.send(SET_VRING_KICK, struct.pack("<Q", vring), [kick])
        self.send(SET_VRING_ENABLE, struct.pack("<II", vring, 1))

    def setup(self, features=FEATURES, call=None):
        self.negotiate(features)
        for vring in (0, 1):
            self.start_ring(vring, call)
        self.features()  # an answer: all of it has been handled

    def desc(self, vring, i, address, size, flags, following):
        struct.pack_into("<QIHH", self.memory, self.ring_at(vring)[0] + 16 * i, address, size,
                         flags,
                         following)

    def avail(self, vring, index, entries):
        at = self.ring_at(vring)[1]
        for i, e in entries:
            struct.pack_into("<H", self.memory, at + 4 + 2 * (i % RING_SIZE), e)
        struct.pack_into("<H", self.memory, at + 2, index & 0xFFFF)

    def kick(self, vring=1):
        os.eventfd_write(self.kicks[vring], 1)

    def used_index(self, vring):
        return struct.unpack_from("<H", self.memory, self.ring_at(vring)[2] + 2)[0]

    # Sends n copies of a frame, one descriptor each, from a fresh ring.
    def transmit(self, frame, n=1, header=bytes(12)):
        data = header + frame
        self.memory[DATA:DATA + len(data)] = data
        for i in range(n):
            self.desc(1, i, GUEST_BASE + DATA, len(data), 0, 0)
        self.avail(1, n, [(i, i) for i in range(n)])
        self.kick()

    # Offers all receive buffers.
    def receive(self):
        for i in range(RING_SIZE):
            self.desc(0, i, GUEST_BASE + DATA + 0x1000 + i * 0x800, 0x800, DESC_WRITE, 0)
        self.avail(0, RING_SIZE, [(i, i) for i in range(RING_SIZE)])
