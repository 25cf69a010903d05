# SPDX-License-Identifier: BSD-3-Clause
# Through the uplink: source NAT and its answers, the neighbour behind it, what comes unasked. The
# external port is the switch's to choose; with seed 0 it is what reply() was told.
from lib import (GATEWAY, RED_WEB, ROUTER, ROUTER_IP, SERVER_IP, UPLINK, UPLINK_IP, WEB_IP, At,
                 ICMP, IP, Ether, arp, capture, ping, router_answers, tcp, udp)

UDP_PORT = 46418  # of red/web 4000/udp
TCP_PORT = 48741


@capture
def udp_out():
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    yield At(0.1)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def udp_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.2)
    yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, sport=5000, dport=UDP_PORT)


@capture
def unresolved():
    # Nobody answers for the router: three wait, the rest and in the end all are dropped.
    for _ in range(5):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def unresolved_back():
    yield At(5)
    yield tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "S", dport=22)


@capture
def burst_out():
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)
    # At one time: the question for the second's next hop leaves behind the first.
    for dst in (SERVER_IP, "198.51.100.50", SERVER_IP):
        yield At(0.2)
        yield udp(RED_WEB, GATEWAY, WEB_IP, dst)
    yield At(5)
    yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def router():
    yield At(0.05)
    yield router_answers()


@capture
def unsolicited():
    yield tcp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, "S", dport=22)
    yield udp(ROUTER, UPLINK, SERVER_IP, "198.51.100.77")
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, UPLINK_IP)


@capture
def tcp_unreachable_out():
    yield tcp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "S")


@capture
def tcp_unreachable_back():
    yield At(0.05)
    yield router_answers()
    yield At(0.1)
    quoted = tcp(UPLINK, ROUTER, UPLINK_IP, SERVER_IP, "S", sport=TCP_PORT, ttl=60).payload
    error = ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    error[ICMP].remove_payload()
    error[ICMP].type, error[ICMP].code, error[ICMP].id, error[ICMP].seq = 3, 1, 0, 0
    yield error / bytes(quoted)


@capture
def many_endpoints():
    for port in range(4000, 4004):
        yield udp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, sport=port)


@capture
def no_ports():
    yield Ether(src=RED_WEB, dst=GATEWAY) / IP(src=WEB_IP, dst=SERVER_IP, id=1, proto=47) / bytes(8)
