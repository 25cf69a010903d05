# SPDX-License-Identifier: BSD-3-Clause
# Offloads of a guest: partial checksums, super-frames cut for a port that takes none, lies in the
# header.
from lib import (DB_IP, GSO_TCP4, GSO_TCP6, GSO_UDP, RED_DB, RED_WEB, WEB_IP, Vnet, capture, tcp,
                 udp)

DATA = bytes(i & 255 for i in range(4000))


def super_tcp(flags="PA"):
    return tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, flags, seq=1000, data=DATA)


@capture
def super_frames():
    yield Vnet(super_tcp(), GSO_TCP4, 1448)
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP, data=DATA), GSO_UDP, 1400)


@capture
def partial_checksum():
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP))
    yield Vnet(tcp(RED_WEB, RED_DB, WEB_IP, DB_IP, "S"))
    yield udp(RED_WEB, RED_DB, WEB_IP, DB_IP)


@capture
def lies():
    yield Vnet(super_tcp(), GSO_TCP4, 0)  # no size
    yield Vnet(super_tcp(), GSO_TCP6, 1448)  # the other protocol
    yield Vnet(super_tcp(), 3, 1448)  # UFO, which nobody negotiated
    yield Vnet(super_tcp(), GSO_TCP4, 1448, start=33)  # not where TCP is
    yield Vnet(udp(RED_WEB, RED_DB, WEB_IP, DB_IP), start=60000)  # behind the frame


@capture
def too_large():
    yield super_tcp()  # a large frame without a word that it may be cut
