# SPDX-License-Identifier: BSD-3-Clause
# Dynamic pools on `clients: many` ports, by clients made of frames: leases are durable before they
# are acknowledged and outlive kill -9 of insulad, the switch and both; RELEASE, DECLINE and expiry
# close the guard; a pool that is used up; insulad away. Runs in a sandbox.
import collections
import contextlib
import os
import signal
import sqlite3
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import dhcp_frames
import frames
import lab as labs
import netns
import ptrace
import sandbox
from dhcp_frames import ACK, NAK, OFFER

GATEWAY, TINY_GATEWAY, HALF_GATEWAY = "10.1.0.1", "10.2.0.1", "10.3.0.1"
INTERNET = "198.51.100.1"
TINY_POOL = ["10.2.0.100", "10.2.0.101"]
MANY, FLOOD = 200, 600
EVENT = 176  # bytes of a proto_lease_event
NETWORKS = {"desks-a": "desks", "desks-b": "desks", "tiny": "tiny", "half-a": "half",
            "half-b": "half"}
PORT_A, PORT_B, PORT_TINY, PORT_HALF = (f"red/{n}.eth0" for n in list(NETWORKS)[:4])


# The demo's policy and, in red, a large pool behind two ports a tiny one behind a third,
# and one of four behind two.
def edit(document):
    red = document["tenants"][0]
    red["networks"] += [
        {"name": "desks", "vlan": 30, "subnet": "10.1.0.0/16", "gateway": GATEWAY, "lease": 600,
         "pool": "10.1.1.0-10.1.8.255", "snat": "internet", "dns": [INTERNET]},
        {"name": "tiny", "vlan": 31, "subnet": "10.2.0.0/24", "gateway": TINY_GATEWAY,
         "lease": 600, "pool": f"{TINY_POOL[0]}-{TINY_POOL[-1]}", "dns": [INTERNET]},
        {"name": "half", "vlan": 32, "subnet": "10.3.0.0/24", "gateway": HALF_GATEWAY,
         "lease": 600, "pool": "10.3.0.100-10.3.0.103", "dns": [INTERNET]}]
    for name, network in NETWORKS.items():
        red["instances"].append({"name": name, "nics": [
            {"network": network, "netns": f"insdemo-{name}", "clients": "many",
             "storm_pps": 0}]})


class Bench:
    """The lab and a Wire on each of the ports for many."""

    def __init__(self, lab):
        self.lab, self.number = lab, 0
        for name in NETWORKS:
            netns.ip(f"insdemo-{name}", "link", "set", "eth0", "up")
        self.a, self.b, self.tiny, self.half_a, self.half_b = (
            frames.Wire(f"insdemo-{n}", "eth0") for n in NETWORKS)

    def client(self, wire=None, gateway=GATEWAY, **words):
        self.number += 1
        return dhcp_frames.Client(wire or self.a, self.number, gateway, **words)

    def tiny_client(self):
        return self.client(self.tiny, TINY_GATEWAY)

    def leases(self):
        return {row["address"]: row for row in self.lab.list("lease") if row["kind"] == "dynamic"}

    def drops(self, port, reason):
        return labs.drops(self.lab, port).get(reason, 0)


def log(bench):
    with open(os.path.join(bench.lab.directory, "state", "insulad.log"), encoding="utf-8") as file:
        return file.read()


def wait_until(what, condition, timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def kill(*programs):
    for program in programs:
        [pid] = labs.processes(program)
        os.kill(pid, signal.SIGKILL)
        wait_until(f"{program} does not die", lambda pid=pid: pid not in labs.processes(program))


# All at once: DISCOVERs, then REQUESTs as the offers come in. {address: MAC}.
def lease_many(clients):
    waiting, taken = {}, {}
    for client in clients:
        client.wire.send(client.message(dhcp_frames.DISCOVER))
        waiting[client.xid] = client
    deadline = time.monotonic() + 30
    while waiting and time.monotonic() < deadline:
        for wire in {client.wire for client in waiting.values()}:
            frame = wire.wait(dhcp_frames.is_answer, 0.05)
            answer = frame and dhcp_frames.Answer(frame)
            client = answer and waiting.pop(answer.xid, None)
            if not client:
                continue
            if answer.kind == OFFER:
                wire.send(client.message(dhcp_frames.REQUEST, [
                    (50, frames.address(answer.address)), (54, frames.address(client.gateway))]))
                waiting[client.xid] = client
                continue
            assert client.took(answer).kind == ACK, f"{client.mac}: {answer.kind}"
            assert answer.address not in taken, f"{answer.address} was given twice"
            taken[answer.address] = client.mac
    assert not waiting, f"{len(waiting)} of {len(clients)} clients got no lease"
    return taken


# Two ports, hundreds of clients at once: nobody shares an address, every lease is listed.
def test_many_at_once(bench):
    clients = [bench.client(wire) for wire in (bench.a, bench.b) for _ in range(MANY // 2)]
    begin = time.monotonic()
    taken = lease_many(clients)
    print(f"{MANY / (time.monotonic() - begin):.0f} DORA/s", flush=True)
    listed = bench.leases()
    assert taken == {a: row["mac"] for a, row in listed.items()}, "leases listed differ"
    ports = collections.Counter(row["port"] for row in listed.values())
    assert ports == {PORT_A: MANY // 2, PORT_B: MANY // 2}, ports
    bench.clients = clients
    for client in (clients[0], clients[-1]):
        assert client.pings(GATEWAY) and client.pings(INTERNET), client.address


# Until it has a lease a client may say DHCP and nothing else; nor may it say another's address.
def test_guard(bench):
    stranger, holder = bench.client(), bench.clients[0]
    stranger.gateway_mac, stranger.address = holder.gateway_mac, "10.1.8.200"
    before = bench.drops(PORT_A, "guard_src_ipv4")
    assert not stranger.pings(GATEWAY, tries=1)
    stranger.address = holder.address
    assert not stranger.pings(GATEWAY, tries=1)
    assert bench.drops(PORT_A, "guard_src_ipv4") == before + 2
    # The holder's MAC behind the other port is no way to its address either.
    thief = bench.client(bench.b)
    thief.mac, thief.address, thief.gateway_mac = holder.mac, holder.address, holder.gateway_mac
    before = bench.drops(PORT_B, "guard_src_mac")
    assert not thief.pings(GATEWAY, tries=1)
    assert bench.drops(PORT_B, "guard_src_mac") == before + 1
    assert holder.pings(GATEWAY)


def renew_all(bench, what):
    for client in (bench.clients[0], bench.clients[MANY // 2], bench.clients[-1]):
        address = client.address
        assert client.pings(INTERNET, tries=20), f"{what}: {address} has no traffic"
        answer = client.renew()
        assert answer and answer.kind == ACK and answer.address == address, f"{what}: {address}"
    assert len(bench.leases()) == MANY, f"{what}: {len(bench.leases())} leases"


def test_insulad_killed(bench):
    kill("insulad")
    for client in (bench.clients[0], bench.clients[-1]):
        assert client.pings(INTERNET), "no traffic while insulad is dead"
    bench.lab.start()
    renew_all(bench, "insulad killed")


def test_switch_killed(bench):
    kill("insula-switch")
    renew_all(bench, "switch killed")


def test_both_killed(bench):
    kill("insulad", "insula-switch")
    bench.lab.start()
    renew_all(bench, "both killed")


# Acknowledged means durable: insulad dies the moment the ACK is here, as often as the test can
# afford; the client is known afterwards and nobody else is given its address.
def test_acknowledged_is_durable(bench):
    for _ in range(3):
        client = bench.client()
        address = client.lease()
        kill("insulad", "insula-switch")
        bench.lab.start()
        row = bench.leases().get(address)
        assert row and row["mac"] == client.mac, f"{address}: {row}"
        assert client.reboot(address).kind == ACK
        client.release()
        wait_until("the lease stays", lambda: address not in bench.leases())


# DISCOVERs of strangers at port A; in portions that a tap's queue holds.
def flood(bench, number):
    for _ in range(0, number, 100):
        strangers = [bench.client() for _ in range(100)]
        bench.a.send(*(c.message(dhcp_frames.DISCOVER) for c in strangers))
        assert bench.clients[0].pings(GATEWAY), "forwarding stopped"


# insulad away: configured clients are served by the worker alone, dynamic ones wait, counted.
def test_insulad_away(bench):
    kill("insulad")
    bench.lab.clients.signal("red-1", signal.SIGUSR1)  # RENEWING
    assert bench.lab.clients.wait_one("red-1")["address"] == "10.0.0.11"
    bench.lab.clients.release("red-2")
    bench.lab.clients.signal("red-2", signal.SIGUSR1)  # from DISCOVER on
    assert bench.lab.clients.wait_one("red-2")["event"] == "bound"
    fresh, old = bench.client(), bench.clients[1]
    flood(bench, FLOOD)
    assert fresh.discover(timeout=0.5) is None, "an offer without insulad"
    assert old.renew(timeout=0.5) is None, "a promise without insulad"
    assert old.pings(INTERNET), "a lease in force does not need insulad"
    bench.lab.start()
    assert bench.drops(PORT_A, "service_dhcp_busy") >= FLOOD, "silence was not counted"
    assert old.renew().kind == ACK
    fresh.lease()
    fresh.release()


# insulad behind (stopped): what waits for it is bounded by port, so another port's client is served
# first thing when it goes on.
def test_insulad_behind(bench):
    busy = bench.drops(PORT_A, "service_dhcp_busy")
    [insulad] = labs.processes("insulad")
    other = bench.client(bench.b)
    os.kill(insulad, signal.SIGSTOP)
    try:
        flood(bench, FLOOD)
        bench.b.send(other.message(dhcp_frames.DISCOVER))
        assert bench.clients[-1].pings(INTERNET), "forwarding waits for insulad"
    finally:
        os.kill(insulad, signal.SIGCONT)
    answer = other.answer()
    assert answer and answer.kind == OFFER, "one port's flood starved another"
    assert bench.drops(PORT_A, "service_dhcp_busy") > busy, "the table has no bound"


# Requests that nobody will answer hold no room: neither when insulad dies with them, nor when what
# it decides cannot be written.
def test_no_answer_comes(bench):
    [insulad] = labs.processes("insulad")
    os.kill(insulad, signal.SIGSTOP)
    flood(bench, FLOOD)
    kill("insulad")
    bench.lab.start()
    client, decliner = bench.client(), bench.client()
    assert client.discover(), "requests to the one that died hold the port's room"
    address = decliner.lease()
    store = sqlite3.connect(os.path.join(os.environ["INSULA_STATE_DIR"], "insula.db"))
    store.execute("BEGIN IMMEDIATE")
    decliner.decline()  # is not heard, nor said to be
    for i in range(150):
        wish = (50, frames.address(f"10.1.8.{i}"))
        bench.a.send(bench.client().message(dhcp_frames.REQUEST, [wish]))
    wait_until("insulad writes all the same", lambda: "database is locked" in log(bench))
    store.rollback()
    store.close()
    wait_until("requests that were not decided hold the port's room", client.discover)
    assert f"declined {address}," not in log(bench)
    assert f"a DECLINE of {address} by {decliner.mac} was not stored" in log(bench)
    assert bench.leases()[address]["state"] == "bound"
    decliner.release()
    client.lease()
    client.release()


def test_release(bench):
    client, other = bench.client(), bench.client(bench.b)
    address = client.lease()
    assert client.pings(GATEWAY)
    client.release()
    wait_until("the lease stays", lambda: address not in bench.leases())
    assert not client.pings(GATEWAY, tries=1), "the guard is open after RELEASE"
    # It is free: another client may have it by name.
    assert other.reboot(address).kind == ACK
    other.release()
    wait_until("the lease stays", lambda: address not in bench.leases())


@contextlib.contextmanager
def the_store():
    path = os.path.join(os.environ["INSULA_STATE_DIR"], "insula.db")
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        yield store


# What the store says of an address, whoever runs.
def stored(address):
    number = (int.from_bytes(frames.address(address), "big"),)
    with the_store() as store:
        return store.execute("SELECT declined FROM leases WHERE address = ?", number).fetchone()


# insulad dies between the commit that ends a lease and telling the switch, which has it still: it
# ends as soon as insulad is back, be it one that refuses its stored configuration.
def test_killed_before_telling(bench):
    for end, left, held in (("release", None, False), ("decline", (1,), False),
                            ("release", None, True)):
        client, heir, [insulad] = bench.client(), bench.client(bench.b), labs.processes("insulad")
        address = client.lease()
        assert client.pings(GATEWAY) and stored(address) == (0,)
        with ptrace.killed_before(insulad, ptrace.SENDMSG,
                                  lambda left=left, address=address: stored(address) == left):
            getattr(client, end)()
        wait_until("insulad does not die", lambda pid=insulad: pid not in labs.processes("insulad"))
        assert stored(address) == left and client.pings(GATEWAY), "the switch has been told"
        if held:
            with the_store() as store:
                store.execute("UPDATE meta SET value = ? WHERE key = 'yaml'", (b"version: 0",))
        bench.lab.start()
        assert bool(bench.lab.list("port")) != held
        before = bench.drops(None, "guard_src_ipv4")
        assert not client.pings(GATEWAY, tries=1), "the guard is open for a lease that ended"
        assert bench.drops(None, "guard_src_ipv4") == before + 1
        bench.lab.apply(bench.lab.policy_file)
        if left is None:
            assert heir.reboot(address).kind == ACK and heir.pings(INTERNET)
            heir.release()
            wait_until("the lease stays", lambda a=address: a not in bench.leases())
    assert all(c.pings(GATEWAY) for c in (bench.clients[0], bench.clients[-1])), "cut off"


# A RELEASE or DECLINE counts only from the one who holds the address.
def test_release_of_anothers(bench):
    holder, thief = bench.clients[0], bench.client()
    thief.gateway_mac, thief.address = holder.gateway_mac, holder.address
    thief.release()
    thief.decline()
    twin = bench.client(client_id=b"\0twin")
    twin.lease()
    imitator = bench.client(client_id=b"\0twin")
    imitator.address, imitator.gateway_mac = twin.address, twin.gateway_mac
    imitator.decline()
    imitator.release()
    thief.lease()  # so that all of that has been heard
    assert holder.address in bench.leases() and holder.pings(GATEWAY)
    assert bench.leases().get(twin.address, {}).get("state") == "bound" and twin.pings(GATEWAY)
    thief.release()
    twin.release()


# An address in use elsewhere rests: nobody gets it, not even who asks for it by name.
def test_decline(bench):
    client = bench.tiny_client()
    address = client.lease()
    client.decline()
    wait_until("it does not rest", lambda: bench.leases()[address]["state"] == "declined")
    with open(os.path.join(bench.lab.directory, "state", "insulad.log"), encoding="utf-8") as log:
        assert f"declined {address}, which somebody else uses" in log.read()
    assert not client.pings(TINY_GATEWAY, tries=1), "the guard is open after DECLINE"
    [rest] = [a for a in TINY_POOL if a != address]
    other = bench.tiny_client()
    answer = other.reboot(address)
    assert answer and answer.kind == NAK, "a declined address was given away"
    assert other.lease() == rest
    kill("insulad")
    bench.lab.start()
    assert bench.leases()[address]["state"] == "declined", "forgotten with insulad"
    # Both are taken: a DISCOVER is met with silence, a REQUEST with a NAK.
    third = bench.tiny_client()
    assert third.discover(timeout=0.5) is None, "the pool gave more than it has"
    assert third.request(rest).kind == NAK
    assert bench.drops(PORT_TINY, "service_dhcp_exhausted") >= 1, "not counted"
    other.release()
    wait_until("the lease stays", lambda: rest not in bench.leases())
    assert third.lease() == rest
    third.release()


# Who changes its client identifier (firmware, then the system it boots) gets an address all the
# same, and loses the one of its former self: a MAC has one.
def test_other_client_id(bench):
    client = bench.client(client_id=b"\0firmware")
    first = client.lease()
    client.client_id = b"\0system"
    second = client.lease()
    assert client.pings(GATEWAY), "no traffic"
    assert second == first or first not in bench.leases(), "one MAC has two addresses"
    client.release()
    wait_until("the lease stays", lambda: second not in bench.leases())
    # All that the port may have: there is no other address for it.
    clients = [bench.client(bench.half_a, HALF_GATEWAY) for _ in range(2)]
    held = {client.lease() for client in clients}
    clients[0].client_id = b"\0system"
    before = clients[0].address
    assert clients[0].reboot(before).kind == ACK
    clients[0].client_id = b"\0another"
    assert clients[0].lease() == before and clients[0].pings(HALF_GATEWAY)
    assert held <= set(bench.leases())
    for client in clients:
        client.release()
    wait_until("the leases stay", lambda: not held & set(bench.leases()))


# A lease in force is its port's: neither client identifier nor MAC takes it to another port.
# After a RELEASE it may move.
def test_moves(bench):
    client = bench.client(client_id=b"\0laptop")
    address = client.lease()
    assert client.pings(INTERNET)
    thief = bench.client(bench.b, client_id=b"\0laptop")
    assert thief.reboot(address).kind == NAK, "an identifier took another port's lease"
    assert thief.lease() != address
    assert bench.leases()[address]["port"] == PORT_A and client.pings(INTERNET)
    thief.release()
    thief.mac = client.mac
    assert thief.reboot(address, timeout=0.5) is None, "a MAC took another port's lease"
    assert thief.discover(timeout=0.5) is None, "one MAC behind two ports"
    assert bench.leases()[address]["port"] == PORT_A and client.pings(INTERNET)
    client.release()
    wait_until("the lease stays", lambda: address not in bench.leases())
    moved = bench.client(bench.b, client_id=b"\0laptop")
    assert moved.reboot(address).kind == ACK and moved.pings(INTERNET)
    assert bench.leases()[address]["port"] == PORT_B
    moved.release()


# DISCOVERs under ever new MACs leave a port with some offers, and the pool to the others.
def test_starvation(bench):
    flood(bench, FLOOD)
    last = bench.client()
    offers = [last.discover(timeout=1) for _ in range(5)]  # some are lost to the flood
    offer = next((o for o in offers if o), None)
    assert offer, "the port's own clients get no offer"
    states = [row["state"] for row in bench.leases().values() if row["port"] == PORT_A]
    assert 0 < states.count("offered") <= 64, f"{states.count('offered')} offers to one port"
    # The newest offer is kept, and another port is served.
    assert last.request(offer.address).kind == ACK
    other = bench.client(bench.b)
    other.lease()
    last.release()
    other.release()


# One of two ports cannot lease more than half of their pool.
def test_share(bench):
    clients = [bench.client(bench.half_a, HALF_GATEWAY) for _ in range(3)]
    other = bench.client(bench.half_b, HALF_GATEWAY)
    clients[0].lease()
    clients[1].lease()
    assert clients[2].discover(timeout=0.5) is None, "more than half of the pool"
    assert bench.drops(PORT_HALF, "service_dhcp_exhausted") >= 1, "not counted"
    other.lease()
    for client in (*clients[:2], other):
        client.release()


# What the switch has no room for (here: a MAC that is another port's) is not acknowledged, nor is
# it a lease afterwards; the log says why.
def test_refused_by_the_switch(bench):
    [mac] = [row["mac"] for row in bench.lab.list("port") if row["name"] == PORT_B]
    thief = bench.client()
    thief.mac = mac
    offer = thief.discover()
    assert thief.request(offer.address).kind == NAK
    assert offer.address not in bench.leases()
    assert f"lease: {mac} on port {PORT_A} cannot have {offer.address}: " \
           "its MAC is another port's" in log(bench)


# Bytes that wait on all of a process' unix sockets.
def unread(pid):
    lines = netns.run("ss", "-xHp", "state", "connected").stdout.splitlines()
    return sum(int(line.split()[2]) for line in lines if f"pid={pid}," in line)


# The refused one gives its address back, and another is granted it, all in one batch: what was
# refused first ends nothing of what was granted last.
def test_refused_then_anothers(bench):
    thief, heir = bench.client(), bench.client()
    [thief.mac] = [row["mac"] for row in bench.lab.list("port") if row["name"] == PORT_B]
    address = thief.discover().address
    wish, here = (50, frames.address(address)), (54, frames.address(GATEWAY))
    [insulad] = labs.processes("insulad")
    os.kill(insulad, signal.SIGSTOP)
    bench.a.send(thief.message(dhcp_frames.REQUEST, [wish, here]),
                 thief.message(dhcp_frames.RELEASE, [here], ciaddr=address),
                 heir.message(dhcp_frames.REQUEST, [wish]))
    wait_until("the switch asks", lambda: unread(insulad) >= 3 * EVENT)
    os.kill(insulad, signal.SIGCONT)
    assert heir.took(heir.answer()).kind == ACK
    assert bench.leases()[address]["mac"] == heir.mac, "acknowledged, and no lease"
    heir.release()


# A port that is not for many any more: its leases end in the switch, too, and who had one can go on
# behind another port.
def test_port_for_one(bench):
    client, moved = bench.client(), bench.client(bench.b)
    client.lease()
    moved.mac = client.mac

    def for_one(document):
        edit(document)
        [desks] = [i for i in document["tenants"][0]["instances"] if i["name"] == "desks-a"]
        del desks["nics"][0]["clients"]

    bench.lab.edit(for_one)
    bench.lab.apply(bench.lab.policy_file)
    moved.lease()
    assert moved.pings(GATEWAY)
    moved.release()
    bench.lab.edit(edit)
    bench.lab.apply(bench.lab.policy_file)


def move_pool(bench, pool):
    def moved(document):
        edit(document)
        [desks] = [n for n in document["tenants"][0]["networks"] if n["name"] == "desks"]
        desks["pool"] = pool

    bench.lab.edit(moved)
    bench.lab.apply(bench.lab.policy_file)


# The same identifier under another MAC, as of a machine made anew, after its pool has moved.
def test_other_mac_after_pool_moved(bench):
    former, client = bench.client(client_id=b"vm-1"), bench.client(client_id=b"vm-1")
    former.lease()
    move_pool(bench, "10.1.9.0-10.1.9.3")
    offers = {client.discover().address for _ in range(3)}
    assert len(offers) == 1, f"an offer for each DISCOVER: {offers}"
    assert client.lease() in offers and client.pings(GATEWAY)
    assert former.renew().kind == NAK and former.address not in bench.leases()
    client.release()
    bench.lab.edit(edit)
    bench.lab.apply(bench.lab.policy_file)


# A pool that is smaller now: what was leased of the rest stays its client's until that asks to
# renew.
def test_smaller_pool(bench):
    client, leaving = bench.client(), bench.client()
    address = client.lease()
    leaving.lease()
    move_pool(bench, "10.1.9.0-10.1.9.255")
    assert client.pings(GATEWAY), "cut off"
    assert address in bench.leases()
    assert leaving.discover(), "no offer beside the lease"
    leaving.release()
    wait_until("RELEASE is ignored", lambda: leaving.address not in bench.leases())
    assert client.renew().kind == NAK
    assert address not in bench.leases()
    assert client.lease().startswith("10.1.9.") and client.pings(GATEWAY)
    client.release()
    bench.lab.edit(edit)
    bench.lab.apply(bench.lab.policy_file)


# An apply that gives a leased address to a port by configuration ends the lease: nobody shares it.
# Who asks before is told.
def test_configured_over_dynamic(bench):
    client = bench.client()
    address = client.lease()
    assert client.pings(GATEWAY)

    def claim(document):
        edit(document)
        document["tenants"][0]["instances"].append({"name": "claims", "nics": [
            {"network": "desks", "interface": "insclaims0", "address": address}]})

    bench.lab.edit(claim, hidden={"claims"})
    for verb in "diff", "apply":
        told = netns.run(bench.lab.insula_program, verb, "-f", bench.lab.policy_file, check=False)
        assert f"port {PORT_A}: the lease of {address} ends with this file" in told.stderr, told
    rows = [row for row in bench.lab.list("lease") if row["address"] == address]
    assert [row["port"] for row in rows] == ["red/claims.eth0"], rows
    assert not client.pings(GATEWAY, tries=1), "the guard is open for a lease that ended"
    assert client.renew().kind == NAK
    assert client.lease() != address
    client.release()
    bench.lab.edit(edit)
    bench.lab.apply(bench.lab.policy_file)


# A lease about to end (by the store: waiting for a whole one takes too long).
def test_expiry(bench):
    client, heir = bench.client(), bench.client(bench.b)
    address = client.lease()
    kill("insulad")
    with the_store() as store:
        assert store.execute("UPDATE leases SET expires_at = ?, boot = 0 WHERE mac = ?",
                             (int(time.time()) + 3, frames.mac(client.mac))).rowcount == 1
    bench.lab.start()
    assert client.pings(GATEWAY), "it ended too early"
    wait_until("the lease stays", lambda: address not in bench.leases())
    assert not client.pings(GATEWAY, tries=1), "the guard is open after expiry"
    assert heir.reboot(address).kind == ACK and heir.pings(INTERNET)
    heir.release()


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    lab.edit(edit)
    lab.without_client = set(NETWORKS)
    with lab:
        return labs.run_cases(globals(), Bench(lab))


sys.exit(0 if main() else 1)
