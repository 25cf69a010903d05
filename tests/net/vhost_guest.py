# SPDX-License-Identifier: BSD-3-Clause
# A Linux network stack behind a vhost-user port, from the YAML to a stock front end (testpmd, see
# ../lib/vhost.py): DHCP, ping, TCP and UDP with a neighbour on a tap and through SNAT, nothing to
# the other tenant, either side killed; in both roles. Front ends of another user. Runs in a
# sandbox.
import os
import pwd
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "hostile"))

# pylint: disable=wrong-import-position
import dhcp
import kill
import lab as labs
import netns
import sandbox
import vhost
import vhost_front_end

GUEST, NEIGHBOUR, INTERNET = "red-2", "red-1", "internet"
OTHERS = ("blue-1", "blue-2")
TRANSFER, PACED, RATE = 16 << 20, 8 << 20, 4 << 20
OTHER_USER = "daemon"
MEMORY_KIB = 64 << 10


# An address by a DHCP client in the guest, the one of the policy.
def lease(lab, clients):
    if GUEST in clients:
        clients.pop(GUEST).stop()
    guest = next(i for i in lab.policy.instances if i.name == GUEST)
    path = os.path.join(lab.directory, "leases", GUEST)
    if os.path.exists(path):
        os.unlink(path)
    clients[GUEST] = dhcp.Clients(lab.directory, [guest])
    got = clients[GUEST].wait_one(GUEST)
    assert got["address"] == guest.address and got["mtu"] == "1500", got
    lab.addresses[GUEST] = got["address"]


# Each kind of probe arrives where it is meant to and nowhere else, both ways.
def probe(lab, pairs=((GUEST, NEIGHBOUR), (NEIGHBOUR, GUEST), (GUEST, INTERNET))):
    for source, target in pairs:
        for proto, args in (("ping", {"count": 1, "interval": 1}), ("tcp", {}), ("udp", {})):
            nonce = os.urandom(16).hex()
            answer = lab.agents[source].call(proto, timeout=5, address=lab.addresses[target],
                                             nonce=nonce, **args)
            assert answer["answered"], f"{proto} {source} -> {target}: {answer}"
            # The kernel answers a ping before the agent has noted it.
            vhost.until(f"{target} notes {proto} of {source}",
                        lambda n=nonce, p=proto, a=lab.agents[target]: n in a.call("collect")[p])
            reached = [n for n, a in lab.agents.items() if nonce in a.call("collect")[proto]]
            assert reached == [target], f"{proto} {source} -> {target} reached {reached}"


# Begins a transfer by each of the two to the other; the function given waits for their ends.
def transfer(lab, size, rate=0):
    receiving, sending = {}, {}
    for source, target in ((GUEST, NEIGHBOUR), (NEIGHBOUR, GUEST)):
        receiving[source] = lab.agents[target].start("receive", senders=1, timeout=60)
        receiving[source]()
        sending[source] = lab.agents[source].start("send", address=lab.addresses[target],
                                                   bytes=size, label=source, rate=rate, timeout=60)

    def finish():
        for source, wait in sending.items():
            sent, got = wait()["sha256"], receiving[source]()["transfers"][source]
            assert got["bytes"] == size and got["sha256"] == sent, f"{source}: {got}"

    return finish


# A stream of datagrams from the guest to its neighbour.
class Stream:
    def __init__(self, lab, label):
        self.lab, self.label = lab, label
        self.ended = lab.agents[GUEST].start("stream", address=lab.addresses[NEIGHBOUR],
                                             label=label, interval=0.005)
        vhost.until("the stream flows", lambda: self.count() > 10)

    def count(self):
        return len(self.lab.agents[NEIGHBOUR].call("arrivals", label=self.label)["arrivals"])

    def resumes(self):
        before = self.count()
        vhost.until("the stream flows again", lambda: self.count() > before + 10)

    def stop(self):
        self.lab.agents[GUEST].call("stop_stream", label=self.label)
        self.ended()


def kill_switch():
    switch = kill.only("insula-switch")
    kill.kill(switch)
    kill.wait_new("insula-switch", switch)


def others_untouched(lab, before):
    for name in OTHERS:
        rx = vhost.port(lab, name)["tx_packets"]
        assert rx == before[name], f"{name} got {rx - before[name]} frames"


def test_switch_connects(lab, clients):
    assert vhost.port(lab, GUEST)["type"] == "vhost-user"
    assert vhost.port(lab, GUEST)["state"] == "down", "a port without a front end is not up"
    assert vhost.port(lab, GUEST)["note"] == "no guest runs behind its socket yet"
    before = vhost.port(lab, GUEST)
    space = next(i.netns for i in lab.policy.instances if i.name == NEIGHBOUR)
    labs.new_drops(lab, before["name"], "tx_no_port", 1, lambda: subprocess.run(
        [*netns.inside(space), "ping", "-q", "-b", "-c1", "-w1", "255.255.255.255"], check=False))
    assert labs.drops(lab, before["name"])["tx_full"] == 0, "nobody's queue is full"
    now = vhost.port(lab, GUEST)
    assert now["tx_bytes"] == before["tx_bytes"], f"bytes that nobody got: {now}"
    guest = vhost.Testpmd(lab, GUEST)
    vhost.wait_state(lab, GUEST, "up")
    assert "note" not in vhost.port(lab, GUEST)
    lease(lab, clients)
    before = {name: vhost.port(lab, name)["tx_packets"] for name in OTHERS}
    probe(lab)
    transfer(lab, TRANSFER)()
    others_untouched(lab, before)
    memory = labs.memory_kib(kill.only("insula-switch"))
    print(f"switch with a vhost-user guest: {memory} KiB")
    assert memory < MEMORY_KIB, f"the switch takes {memory} KiB"

    # The switch dies under a transfer: the guest is found again, the transfer goes on.
    finish, stream = transfer(lab, PACED, RATE), Stream(lab, "switch")
    kill_switch()
    stream.resumes()
    finish()
    stream.stop()
    vhost.wait_state(lab, GUEST, "up")

    # The front end dies without a word: down; a new one is found.
    guest.kill()
    vhost.wait_state(lab, GUEST, "down")
    guest = vhost.Testpmd(lab, GUEST)
    vhost.wait_state(lab, GUEST, "up")
    lease(lab, clients)
    probe(lab)
    transfer(lab, TRANSFER)()
    guest.kill()


def test_switch_listens(lab, clients):
    vhost.write_policy(lab.policy_file, {GUEST: {"server": True}})
    lab.apply(lab.policy_file)
    assert " server " in vhost.port(lab, GUEST)["device"], vhost.port(lab, GUEST)
    path = vhost.socket_of(lab, GUEST)
    vhost.until("the switch listens", lambda: os.path.exists(path))
    guest = vhost.Testpmd(lab, GUEST, listens=False)
    vhost.wait_state(lab, GUEST, "up")
    lease(lab, clients)
    probe(lab)
    transfer(lab, TRANSFER)()

    guest.kill()
    vhost.wait_state(lab, GUEST, "down")
    guest = vhost.Testpmd(lab, GUEST, listens=False)
    lease(lab, clients)
    probe(lab)

    # virtio-user as a client does not connect again: it is started anew, on a new switch's socket.
    old = os.stat(path).st_ino
    kill_switch()
    vhost.until("the stale socket is replaced",
                lambda: os.path.exists(path) and os.stat(path).st_ino != old)
    guest.kill()
    guest = vhost.Testpmd(lab, GUEST, listens=False)
    vhost.wait_state(lab, GUEST, "up")
    lease(lab, clients)
    probe(lab)
    guest.kill()
    vhost.write_policy(lab.policy_file, {GUEST: {}})
    lab.apply(lab.policy_file)
    vhost.until("the socket is gone", lambda: not os.path.exists(path))


# Runs in a process of that user: one front end that listens or connects, until stdin ends.
def front_end(path, listens, name=OTHER_USER):
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(*[user.pw_gid] * 3)
    os.setresuid(*[user.pw_uid] * 3)
    sock = None
    if listens:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(10)
        sock = listener.accept()[0]
    with vhost_front_end.FrontEnd(path, sock) as end:
        end.setup()
        print("attached", flush=True)
        sys.stdin.read()


def start_front_end(path, listens, **options):
    return netns.popen([sys.executable, __file__, "front-end", path, "1" if listens else ""],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


# The folder's owner is who makes the socket in it; the other one may enter.
def test_front_end_of_another_user(lab, _clients):
    user, nobody = pwd.getpwnam(OTHER_USER), pwd.getpwnam("nobody")
    for listens in (True, False):
        folder = os.path.join(lab.directory, f"guests-{listens}")
        os.mkdir(folder)
        os.chmod(folder, 0o711 if listens else 0o710)
        os.chown(folder, user.pw_uid if listens else nobody.pw_uid, user.pw_gid)
        path = os.path.join(folder, "socket")
        vhost.write_policy(lab.policy_file, {GUEST: {"socket": path, "server": not listens}})
        lab.apply(lab.policy_file)
        vhost.wait_state(lab, GUEST, "down")
        with start_front_end(path, listens) as process:
            assert process.stdout.readline() == "attached\n", "the front end failed"
            vhost.wait_state(lab, GUEST, "up")
            process.stdin.close()
        assert process.returncode == 0, process.returncode
        vhost.wait_state(lab, GUEST, "down")


# A front end that listens where the switch's user may not go: the port says so, and what to do.
def test_folder_that_is_closed(lab, _clients):
    nobody = pwd.getpwnam("nobody")
    outer = os.path.join(lab.directory, "closed")
    os.makedirs(os.path.join(outer, "inner"))
    os.chmod(outer, 0o700)
    path = os.path.join(outer, "inner", "socket")
    vhost.write_policy(lab.policy_file, {GUEST: {"socket": path}})
    lab.apply(lab.policy_file)
    note = vhost.port(lab, GUEST)["note"]
    command = note.split("`")[1]
    assert f"user, {nobody.pw_uid}, may not enter {outer}:" in note, note
    with netns.popen([sys.executable, __file__, "front-end", path, "1", "root"],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        netns.run(*command.split())
        assert process.stdout.readline() == "attached\n", "the front end failed"
        vhost.wait_state(lab, GUEST, "up")
        assert "note" not in vhost.port(lab, GUEST)
        process.stdin.close()
    assert process.returncode == 0, process.returncode


# Nobody but root and the switch may put a socket beside those of other tenants.
def test_default_folder_is_closed(lab, _clients):
    vhost.write_policy(lab.policy_file, {GUEST: {}})
    lab.apply(lab.policy_file)
    path = vhost.socket_of(lab, GUEST)
    with start_front_end(path, True, stderr=subprocess.PIPE) as process:
        _, error = process.communicate()
    assert "PermissionError" in error, f"another user could listen for a tenant's port: {error}"


def main():
    lab, clients = vhost.make_lab(sandbox.DIRECTORY, GUEST), {}
    with lab:
        for name, test in list(globals().items()):
            if name.startswith("test_") and (len(sys.argv) < 2 or name in sys.argv):
                test(lab, clients)
                print(f"ok {name}", flush=True)
        for own in clients.values():
            own.stop()


if len(sys.argv) > 1 and sys.argv[1] == "front-end":
    front_end(sys.argv[2], sys.argv[3] != "", *sys.argv[4:])
else:
    main()
