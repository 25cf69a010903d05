# SPDX-License-Identifier: BSD-3-Clause
# DHCP clients made of frames: as many as wanted on one Wire, every message by hand (also those that
# no real client would send). Answers are found by transaction id. Used by tests/net and
# tests/hostile.
import struct
import time

import frames

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
COOKIE = bytes.fromhex("63825363")
ANY, EVERYONE = "0.0.0.0", "255.255.255.255"


# A client's datagram up to UDP's payload. options: [(code, bytes)]; None leaves End out.
def payload(client_mac, xid, options, ciaddr=ANY, flags=0x8000, end=b"\xff"):
    head = struct.pack("!BBBBIHH4s12x6s10x192x", 1, 1, 6, 0, xid, 0, flags, frames.address(ciaddr),
                       frames.mac(client_mac))
    return head + COOKIE + b"".join(bytes([c, len(v)]) + v for c, v in options) + end


def message(kind, client_mac, xid, src=ANY, dst=EVERYONE, dst_mac=frames.BROADCAST, ciaddr=ANY,
            options=()):
    body = payload(client_mac, xid, [(53, bytes([kind])), *options], ciaddr)
    datagram = frames.udp(src, dst, 68, 67, body)
    return frames.eth(dst_mac, client_mac, frames.IPV4,
                      frames.ipv4(src, dst, frames.UDP, datagram))


class Answer:
    def __init__(self, frame):
        body = frame.l4[8:]
        self.frame, self.xid = frame, struct.unpack_from("!I", body, 4)[0]
        self.address = ".".join(map(str, body[16:20]))
        self.options, at = {}, 240
        while at < len(body) and body[at] != 255:
            if body[at] == 0:
                at += 1
                continue
            self.options[body[at]] = body[at + 2 : at + 2 + body[at + 1]]
            at += 2 + body[at + 1]
        self.kind = self.options[53][0]


def is_answer(frame):
    return (frame.kind == frames.IPV4 and frame.proto == frames.UDP and len(frame.l4) >= 248
            and frame.l4[:4] == struct.pack("!HH", 67, 68))


class Client:
    next_xid = 0x10000000

    def __init__(self, wire, number, gateway, client_id=b""):
        self.wire = wire
        self.mac = "0a:00:00:00:" + ":".join(f"{b:02x}" for b in divmod(number, 256))
        self.gateway, self.client_id, self.address, self.gateway_mac = gateway, client_id, ANY, None
        self.ident = number  # of its echo requests

    def message(self, kind, options=(), **words):
        Client.next_xid += 1
        self.xid = Client.next_xid
        if self.client_id:
            options = [*options, (61, self.client_id)]
        return message(kind, self.mac, self.xid, options=options, **words)

    # The answer to the message sent last; None when there is silence.
    def answer(self, timeout=5):
        found = []

        def wanted(frame):
            if is_answer(frame):
                found.append(Answer(frame))
                return found[-1].xid == self.xid
            return False

        return found[-1] if self.wire.wait(wanted, timeout) else None

    def ask(self, kind, options=(), timeout=5, **words):
        self.wire.send(self.message(kind, options, **words))
        return self.answer(timeout)

    def discover(self, timeout=5):
        return self.ask(DISCOVER, timeout=timeout)

    # SELECTING, as the offer says.
    def request(self, wanted, timeout=5):
        options = [(50, frames.address(wanted)), (54, frames.address(self.gateway))]
        return self.took(self.ask(REQUEST, options, timeout))

    def reboot(self, wanted, timeout=5):
        return self.took(self.ask(REQUEST, [(50, frames.address(wanted))], timeout))

    def renew(self, timeout=5):
        return self.took(self.ask(REQUEST, timeout=timeout, src=self.address, dst=self.gateway,
                                  dst_mac=self.gateway_mac, ciaddr=self.address))

    def took(self, answer):
        if answer and answer.kind == ACK:
            self.address, self.gateway_mac = answer.address, answer.frame.src
        return answer

    # The whole of it: DISCOVER to ACK.
    def lease(self):
        offer = self.discover()
        assert offer and offer.kind == OFFER, f"{self.mac}: no offer"
        ack = self.request(offer.address)
        assert ack and ack.kind == ACK and ack.address == offer.address, f"{self.mac}: no ACK"
        return self.address

    # RELEASE goes by unicast from the address, DECLINE by broadcast from none (RFC 2131 table 5).
    def release(self):
        options = [(54, frames.address(self.gateway))]
        self.wire.send(self.message(RELEASE, options, src=self.address, dst=self.gateway,
                                    dst_mac=self.gateway_mac, ciaddr=self.address))

    def decline(self):
        options = [(50, frames.address(self.address)), (54, frames.address(self.gateway))]
        self.wire.send(self.message(DECLINE, options))

    def echo(self, target, number):
        body = frames.echo(8, self.ident, number)
        return frames.eth(self.gateway_mac, self.mac, frames.IPV4,
                          frames.ipv4(self.address, target, frames.ICMP, body))

    # Whether an echo through the gateway comes back; asks `tries` times.
    def pings(self, target, tries=3, timeout=0.5):
        number = int(time.monotonic() * 1000) & 0x7FFF
        for attempt in range(tries):
            self.wire.send(self.echo(target, number + attempt))
            if self.wire.wait(lambda f: f.proto == frames.ICMP and f.ip_dst == self.address
                              and f.dst == self.mac and f.l4[:1] == b"\0", timeout):
                return True
        return False
