# SPDX-License-Identifier: BSD-3-Clause
# On an uplink the switch is an IP host: ARP in both directions, its neighbours' coming and going,
# and what is not for it. Mostly with policies/one_port.yaml.
from lib import (BLUE_WEB, BROADCAST, GATEWAY, GSO_TCP4, ICMP, RED_WEB, ROUTER, ROUTER_IP,
                 SERVER_IP, UPLINK, UPLINK_IP, WEB_IP, At, Dot1Q, Ether, Vnet, arp, capture, ping,
                 router_answers, tcp, udp)

PORT = 40000
SPARE = "02:ee:00:00:00:02"  # another router's MAC
NEXT_IP = "198.51.100.50"  # a neighbour that is no router
BACKUP, BACKUP_IP = "02:00:00:00:00:02", "192.0.2.2"  # policies/two_uplinks.yaml: the second


def out(dst=SERVER_IP, **more):
    return udp(RED_WEB, GATEWAY, WEB_IP, dst, **more)


def answers(mac=ROUTER, address=ROUTER_IP):
    return arp(mac, 2, mac, address, UPLINK_IP, dst=UPLINK, tha=UPLINK)


def announces(mac=ROUTER, address=ROUTER_IP):
    return arp(mac, 1, mac, address, address)


def ipv6():
    hosts = [0xFE, 0x80] + [0] * 13 + [1] + [0xFE, 0x80] + [0] * 13 + [2]
    return Ether(src=ROUTER, dst=UPLINK, type=0x86DD) / bytes([0x60, 0, 0, 0, 0, 0, 59, 64] + hosts)


# --- asked


@capture
def question():
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, UPLINK_IP)
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, UPLINK_IP, dst=UPLINK)


@capture
def probe():
    # RFC 5227: who would like our address hears that it is taken.
    yield arp(ROUTER, 1, ROUTER, "0.0.0.0", UPLINK_IP)


@capture
def question_for_others():
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, "198.51.100.77")
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, WEB_IP)
    yield announces()
    yield answers()


@capture
def takes_our_address():
    # H-37
    yield arp(ROUTER, 1, ROUTER, UPLINK_IP, UPLINK_IP)
    yield arp(ROUTER, 2, ROUTER, UPLINK_IP, ROUTER_IP, dst=UPLINK, tha=UPLINK)


@capture
def arp_of_no_host():
    yield arp(ROUTER, 1, "01:00:5e:00:00:01", ROUTER_IP, UPLINK_IP)
    yield arp(ROUTER, 1, "00:00:00:00:00:00", ROUTER_IP, UPLINK_IP)


@capture
def ping_own():
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, ttl=1)


@capture
def ping_from_nobody():
    # An answer to these would go to whoever claims them, or to all (RFC 1122 3.2.1.3).
    for source in ("0.0.0.0", "0.1.2.3", "240.0.0.1", "198.51.100.255", "198.51.100.0"):
        yield ping(ROUTER, UPLINK, source, UPLINK_IP)


@capture
def ping_wrong():
    frame = ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    frame[ICMP].code = 1
    yield frame
    yield ping(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, flags="MF")
    yield ping(ROUTER, BROADCAST, SERVER_IP, UPLINK_IP)


# --- not for us, or not true


@capture
def foreign():
    yield udp(ROUTER, SPARE, SERVER_IP, UPLINK_IP)
    yield udp(UPLINK, UPLINK, SERVER_IP, UPLINK_IP)
    yield udp(ROUTER, UPLINK, UPLINK_IP, UPLINK_IP)


@capture
def protocols():
    yield ipv6()
    yield Ether(src=ROUTER, dst=UPLINK, type=0x88B5) / bytes(46)
    frame = udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP)
    yield Ether(src=ROUTER, dst=UPLINK) / Dot1Q(vlan=10) / frame.payload


# --- the neighbour comes


@capture
def three_out():
    for n in range(3):
        yield out(data=b"packet %d" % n)


@capture
def five_out():
    for n in range(5):
        yield out(data=b"packet %d" % n)


@capture
def one_out():
    yield out()


@capture
def answered():
    yield At(0.5)
    yield answers()


@capture
def asks_itself():
    # A question tells as much as an answer (RFC 826).
    yield At(0.5)
    yield arp(ROUTER, 1, ROUTER, ROUTER_IP, UPLINK_IP)


@capture
def announced():
    yield At(0.5)
    yield announces()


@capture
def not_believed():
    # Speaks for another MAC than its own; for another address; has a group's MAC.
    yield At(0.5)
    yield arp(SPARE, 2, ROUTER, ROUTER_IP, UPLINK_IP, dst=UPLINK, tha=UPLINK)
    yield answers(address=NEXT_IP)
    yield arp(ROUTER, 2, "03:00:00:00:00:01", ROUTER_IP, UPLINK_IP, dst=UPLINK, tha=UPLINK)


@capture
def again_out():
    # 3 s without an answer: the first is lost. Then a pause of 3 s in which nobody is asked.
    yield out()
    yield At(4)
    yield out()
    yield At(7)
    yield out(data=b"third")


@capture
def again_back():
    yield At(7.1)
    yield answers()


@capture
def two_neighbours_out():
    yield out()
    yield out(NEXT_IP)


@capture
def two_neighbours_back():
    yield At(0.5)
    yield answers(SPARE, NEXT_IP)


@capture
def super_frame_out():
    # A super-frame's buffer is too dear to wait.
    yield Vnet(tcp(RED_WEB, GATEWAY, WEB_IP, SERVER_IP, "PA", data=bytes(4000)), GSO_TCP4, 1448)


# --- the neighbour changes, and goes


@capture
def moved_out():
    yield out()
    yield At(2)
    yield out()
    yield At(5)
    yield out(data=b"who has it now?")
    yield At(8)
    yield out(data=b"by the spare")


@capture
def moved_back():
    # The spare says it has the address now; the router we know is asked, thrice, and is silent.
    # Then whoever sends next asks everybody.
    yield At(0.05)
    yield answers()
    yield At(1)
    yield announces(SPARE)
    yield At(5.1)
    yield answers(SPARE)


@capture
def not_moved_back():
    # The router we know is there: whoever announced himself in his place gets nothing.
    yield At(0.05)
    yield answers()
    yield At(1)
    yield announces(SPARE)
    yield At(1.6)
    yield answers()


@capture
def not_moved_out():
    yield out()
    yield At(1.2)
    yield out()
    yield At(9)
    yield out()


@capture
def gone_out():
    # Known for 30 s, then used 5 s more, then asked three times: only then is it gone, and who
    # sends next asks everybody three times, and is dropped, as is for three seconds who sends
    # after that.
    yield out()
    for seconds in (40, 44, 47, 50, 54):
        yield At(seconds)
        yield out()


@capture
def gone_back():
    yield At(0.05)
    yield answers()


@capture
def unasked_back():
    # H-37: an answer to nobody's question. The router we know confirms himself.
    yield At(0.05)
    yield answers()
    yield At(1)
    yield answers(SPARE)
    yield At(1.7)
    yield answers()


@capture
def unasked_out():
    yield out()
    yield At(1.2)
    yield out()
    yield At(3)
    yield out()


@capture
def replaced_back():
    # Asked whether he is there, the router is silent, and the spare says: here.
    yield At(0.05)
    yield answers()
    yield At(1)
    yield announces(SPARE)
    yield At(1.7)
    yield answers(SPARE)


@capture
def replaced_out():
    yield out()
    yield At(1.2)
    yield out()
    yield At(3)
    yield out(data=b"by the spare")


@capture
def announces_himself_back():
    # Who says so unasked is not proven to hear us: 30 s count from his answer.
    yield At(0.05)
    yield answers()
    yield At(29)
    yield announces()
    yield At(46)
    yield answers()


@capture
def announces_himself_out():
    yield out()
    yield At(40)
    yield out()


@capture
def back_from_gone_out():
    yield out()
    yield At(5)
    yield out()
    yield At(11)
    yield out()


@capture
def back_from_gone():
    # Silent for 3 s, so given up; then he says that he is there, and is asked once he is used.
    yield At(4)
    yield announces()


# --- policies/no_gateway.yaml: only the connected subnet


@capture
def beyond():
    yield out()
    yield out(NEXT_IP)


# --- policies/two_uplinks.yaml: red goes out by internet, blue by backup


@capture
def two_red():
    yield At(0.1)
    yield out()


@capture
def two_blue():
    yield At(0.2)
    yield udp(BLUE_WEB, GATEWAY, WEB_IP, SERVER_IP)


@capture
def two_internet():
    yield At(0.15)
    yield answers()
    yield At(0.5)
    yield udp(ROUTER, UPLINK, SERVER_IP, UPLINK_IP, sport=5000, dport=PORT, data=b"for red")


@capture
def two_backup():
    yield At(0.25)
    yield arp(SPARE, 2, SPARE, "192.0.2.1", BACKUP_IP, dst=BACKUP, tha=BACKUP)
    yield At(0.6)
    yield udp(SPARE, BACKUP, SERVER_IP, BACKUP_IP, sport=5000, dport=PORT, data=b"for blue")


@capture
def two_crossed():
    # The answer to what left by internet comes in by backup.
    yield At(0.5)
    yield udp(SPARE, BACKUP, SERVER_IP, UPLINK_IP, sport=5000, dport=PORT)
    yield udp(SPARE, BACKUP, SERVER_IP, BACKUP_IP, sport=5000, dport=PORT)


@capture
def router_only():
    yield At(0.05)
    yield router_answers()
