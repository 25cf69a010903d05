# SPDX-License-Identifier: BSD-3-Clause
# SNAT for two tenants with the same addresses: TCP, UDP and ICMP echo from the same inner address
# and port at the same time, and ICMP errors from beyond the uplink translated to the one they
# concern: port unreachable, time exceeded, fragmentation needed. Runs in a sandbox.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox

INTERNET, FAR_NETNS, FAR, FAR_NET = "internet", "insdemo-far", "203.0.113.1", "203.0.113.0/30"
SENDERS = ("red-1", "blue-1")
TRANSFER = 4 << 20


# A host behind the internet's router, over a link of a smaller MTU.
def build_far(lab):
    netns.create(FAR_NETNS)
    netns.veth(labs.INTERNET_NETNS, "far0", FAR_NETNS, "eth0")
    netns.ip(labs.INTERNET_NETNS, "address", "add", "203.0.113.2/30", "dev", "far0")
    netns.ip(labs.INTERNET_NETNS, "link", "set", "far0", "mtu", "1300")
    netns.ip(FAR_NETNS, "address", "add", f"{FAR}/30", "dev", "eth0")
    netns.ip(FAR_NETNS, "route", "add", "default", "via", "203.0.113.2")
    netns.run(*netns.inside(labs.INTERNET_NETNS), "sysctl", "-qw", "net.ipv4.ip_forward=1")
    lab.agents["far"] = netns.Agent("far", FAR_NETNS)


def nonces():
    return {name: os.urandom(16).hex() for name in SENDERS}


# Every sender's probe arrives, from the uplink's address, and each is answered.
def probe(lab, proto, **args):
    sent = nonces()
    waits = [lab.agents[n].start(proto, timeout=5, address=lab.addresses[INTERNET], nonce=sent[n],
                                 **args) for n in SENDERS]
    for answer in [wait() for wait in waits]:
        assert answer["answered"], f"{proto}: {answer}"
    seen = lab.agents[INTERNET].call("collect")[proto]
    assert all(nonce in seen for nonce in sent.values()), f"{proto}: not all nonces arrived"
    return [seen[nonce] for nonce in sent.values()]


def test_echo(lab):
    probe(lab, "ping", count=3, interval=0.1, identifier=77)


def test_udp_same_port(lab):
    peers = {peer for peer, *_ in probe(lab, "udp", source_port=5000)}
    assert len(peers) == 2, f"two tenants share one external port: {peers}"
    assert {p.split(":")[0] for p in peers} == {lab.policy.uplink.address}, peers


# RFC 4787 REQ-1: one inner address and port keeps one external port towards other destinations.
def test_udp_mapping_is_endpoint_independent(lab):
    sent = nonces()["red-1"]
    for address in (lab.addresses[INTERNET], FAR):
        answer = lab.agents["red-1"].call("udp", timeout=5, address=address, nonce=sent,
                                          source_port=5001)
        assert answer["answered"], answer
    peers = [lab.agents[who].call("collect")["udp"][sent][0] for who in (INTERNET, "far")]
    assert peers[0] == peers[1], peers


def test_tcp(lab):
    probe(lab, "tcp")


# Only the one who asked hears of it, and at once.
def test_port_unreachable(lab):
    for name in SENDERS:
        answer = lab.agents[name].call("udp", timeout=5, address=lab.addresses[INTERNET], port=9,
                                       nonce="0" * 32, source_port=5002)
        assert answer.get("error") == "ECONNREFUSED", f"{name}: {answer}"


def test_time_exceeded(lab):
    for name in SENDERS:
        space = next(i.netns for i in lab.policy.instances if i.name == name)
        out = netns.run(*netns.inside(space), "traceroute", "-n", "-w", "2", "-q", "1", "-m", "5",
                        FAR).stdout
        hops = [line.split()[1] for line in out.splitlines()[1:]]
        assert hops[-2:] == [lab.policy.uplink.gateway, FAR], out


# The far link takes 1300 bytes; only a translated "fragmentation needed" lets the transfer end.
def test_fragmentation_needed(lab):
    receiving = lab.agents["far"].start("receive", senders=len(SENDERS), timeout=20)
    receiving()
    waits = {n: lab.agents[n].start("send", address=FAR, bytes=TRANSFER, label=n,
                                    source_port=40001, timeout=20) for n in SENDERS}
    sent = {n: wait() for n, wait in waits.items()}
    got = receiving()["transfers"]
    for name in SENDERS:
        assert got[name]["bytes"] == TRANSFER and got[name]["sha256"] == sent[name]["sha256"], got
    space = next(i.netns for i in lab.policy.instances if i.name == SENDERS[0])
    assert "mtu 1300" in netns.ip(space, "route", "get", FAR), "no path MTU was learned"


# What nobody asked for goes nowhere, whatever port it aims at.
def test_unsolicited(lab):
    sent = nonces()["red-1"]
    uplink = lab.policy.uplink.address
    for proto in ("tcp", "udp"):
        answer = lab.agents[INTERNET].call(proto, timeout=2, address=uplink, nonce=sent)
        assert not answer["answered"], f"{proto}: {answer}"
    for name in lab.addresses:
        if name != INTERNET:
            seen = lab.agents[name].call("collect")
            assert sent not in seen["tcp"] and sent not in seen["udp"], name


def main():
    with labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY) as lab:
        build_far(lab)
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test(lab)
                print(f"ok {name}", flush=True)


main()
