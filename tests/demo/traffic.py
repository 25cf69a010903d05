# SPDX-License-Identifier: BSD-3-Clause
# The demo's traffic: iperf3 inside a tenant beside a kernel bridge, and ping and a checksummed TCP
# transfer through SNAT by all tenants at once. Called by inside.py.
import hashlib
import json
import statistics
import subprocess

import netns
import policy as policies

ROUNDS = 3
ROUND_S = 2
BRIDGE = ("insdemo-bridge", "insdemo-bridge-1", "insdemo-bridge-2")
TRANSFER = 32 << 20  # bytes for each tenant
SOURCE_PORT = 40000  # the same for all: only the zone tells them apart
PING_COUNT, PING_SIZE, PING_STAMP = 20, 1200, 16


def build_bridge():
    for name in BRIDGE:
        netns.create(name)
    netns.ip(BRIDGE[0], "link", "add", "br0", "type", "bridge")
    netns.ip(BRIDGE[0], "link", "set", "br0", "up")
    for number, name in enumerate(BRIDGE[1:], 1):
        netns.veth(BRIDGE[0], f"p{number}", name, "eth0")
        netns.ip(BRIDGE[0], "link", "set", f"p{number}", "master", "br0")
        netns.ip(name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")


class IperfServer:
    def __init__(self, space):
        self._process = netns.popen(
            [*netns.inside(space), "iperf3", "-s", "--forceflush"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = ""
        while "listening" not in line:
            line = self._process.stdout.readline()
            if not line:
                raise netns.CommandFailed(f"iperf3 -s in {space} ended at once")

    def stop(self):
        self._process.terminate()
        self._process.communicate(timeout=5)


def _gbps(space, address):
    command = ("iperf3", "-c", address, "-t", str(ROUND_S), "-J", "--connect-timeout", "3000")
    done = netns.run(*netns.inside(space), *command, timeout=ROUND_S + 20)
    try:
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
    except (ValueError, KeyError) as e:
        reason = json.loads(done.stdout or "{}").get("error", done.stderr.strip())
        raise netns.CommandFailed(f"iperf3 from {space} to {address}: {reason}") from e


# Medians of alternated rounds: {"gbps", "bridge_gbps"}.
def iperf(sender, receiver, address):
    rounds, servers = {"gbps": [], "bridge_gbps": []}, []
    try:
        for space in (receiver, BRIDGE[2]):
            servers.append(IperfServer(space))
        for _ in range(ROUNDS):
            rounds["gbps"].append(_gbps(sender, address))
            rounds["bridge_gbps"].append(_gbps(BRIDGE[1], "192.0.2.2"))
    finally:
        for server in servers:
            server.stop()
    return {k: round(statistics.median(v), 3) for k, v in rounds.items()}


# One sender for each tenant that has SNAT.
def snat_senders(policy):
    first = {}
    for i in policy.instances:
        if policies.expected(policy, i.name, policies.INTERNET):
            first.setdefault(i.tenant, i.name)
    return list(first.values())


# The same inner address (the policy's), the same ICMP identifier, at the same time.
def _ping(agents, senders, target):
    nonces = {name: hashlib.sha256(f"ping {name}".encode()).hexdigest()[:32] for name in senders}
    waits = {name: agents[name].start("ping", timeout=3, address=target, nonce=nonces[name],
                                      count=PING_COUNT, interval=0.05, size=PING_SIZE, identifier=7)
             for name in senders}
    answers = {name: wait() for name, wait in waits.items()}
    seen = agents[policies.INTERNET].call("collect")["ping"]
    length = PING_SIZE - PING_STAMP
    for name in senders:
        pattern = (bytes.fromhex(nonces[name]) * (length // 16 + 1))[:length]
        want = hashlib.sha256(pattern * PING_COUNT).hexdigest()
        got = seen.get(nonces[name], {"bytes": 0, "sha256": ""})
        ok = got["sha256"] == want and answers[name]["answered"] == PING_COUNT
        yield {"instance": name, "proto": "icmp", "bytes": got["bytes"], "hash_ok": ok,
               "detail": f"{answers[name]['answered']} of {PING_COUNT} answered"}


# The far end hashes what it got; the near end what it sent. The far end must have seen the uplink's
# address, and a different port for each.
def _tcp(agents, senders, target, own):
    receiving = agents[policies.INTERNET].start("receive", senders=len(senders), timeout=40)
    receiving()  # it listens
    waits = {name: agents[name].start("send", address=target, bytes=TRANSFER, label=name,
                                      source_port=SOURCE_PORT, timeout=40) for name in senders}
    sent, failed = {}, {}
    for name, wait in waits.items():
        try:
            sent[name] = wait()
        except netns.CommandFailed as error:
            failed[name] = str(error)
    try:
        got = receiving()["transfers"]
    except netns.CommandFailed as error:
        got, failed["receiver"] = {}, str(error)
    peers = [t["peer"] for t in got.values()]
    for name in senders:
        g = got.get(name, {"bytes": 0, "sha256": "", "peer": "nobody"})
        ok = name in sent and sent[name]["sha256"] == g["sha256"] and g["bytes"] == TRANSFER
        ok = ok and g["peer"].split(":")[0] == own and peers.count(g["peer"]) == 1
        source = sent.get(name, {"source": failed.get(name, "?")})["source"]
        yield {"instance": name, "proto": "tcp", "bytes": g["bytes"], "hash_ok": ok,
               "detail": f"{source} seen outside as {g['peer']}"}


def snat(policy, agents):
    senders, target = snat_senders(policy), policy.uplink.gateway
    rows = list(_ping(agents, senders, target))
    return rows + list(_tcp(agents, senders, target, policy.uplink.address))
