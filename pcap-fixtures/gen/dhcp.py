# SPDX-License-Identifier: BSD-3-Clause
# DHCP as a configured port's client sees it.
from lib import BOOTP, BROADCAST, DHCP, IP, RED_WEB, UDP, WEB_IP, Ether, capture


def message(options, src="0.0.0.0", mac=RED_WEB, ciaddr="0.0.0.0", xid=1, data=b""):
    frame = Ether(src=mac, dst=BROADCAST) / IP(src=src, dst="255.255.255.255", id=1)
    frame = frame / UDP(sport=68, dport=67)
    frame = frame / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=xid, ciaddr=ciaddr)
    return frame / DHCP(options=[*options, "end"]) / data


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
