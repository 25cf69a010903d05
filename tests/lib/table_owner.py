# SPDX-License-Identifier: BSD-3-Clause
# Claims uplink mode nat for this network namespace as an insulad does (control/host_nat_owner.c): a
# UDP port, which ends with its socket. And, for what a table in the way does, an nft table with the
# flag `owner`, which likewise ends with the socket that made it.
import errno
import os
import socket
import struct

PORT = ("127.73.78.83", 1)
NETLINK_NETFILTER = 12
BATCH_BEGIN, BATCH_END, NEW_TABLE = 0x10, 0x11, 0xA00  # linux/netfilter/nf{netlink,_tables}.h
NAME, FLAGS, OWNER = 1, 2, 2
REQUEST, ACK, EXCL, CREATE = 1, 4, 0x200, 0x400


def _attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _message(kind, flags, family, resource, body=b""):
    body = struct.pack("!BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body


# A socket, closed by the caller; OSError: EADDRINUSE if another has it, EACCES for who may not.
def take():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind(PORT)
    except OSError:
        sock.close()
        raise
    return sock


# A socket, closed by the caller: nobody else can change or delete that table.
def own_table(name):
    table = _attr(NAME, name.encode() + b"\0") + _attr(FLAGS, struct.pack("!I", OWNER))
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    sock.settimeout(10)
    sock.bind((0, 0))
    sock.send(_message(BATCH_BEGIN, 0, 0, 10)
              + _message(NEW_TABLE, ACK | EXCL | CREATE, socket.AF_INET, 0, table)
              + _message(BATCH_END, 0, 0, 10))
    error = -struct.unpack_from("=i", sock.recv(8192), 16)[0]
    if error:
        sock.close()
        raise OSError(error, f"table ip {name}: {os.strerror(error)}")
    return sock


def is_taken():
    try:
        take().close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return True
    return False
