# SPDX-License-Identifier: BSD-3-Clause
# Uplink mode nat: guests of two tenants with the same addresses reach what the laptop reaches, by
# all its ways out, and resolve names by the servers the laptop really asks; what is changed on the
# host for that is the table `ip insula` and forwarding, and both are as before afterwards, also
# after kill -9. Runs in a sandbox.
import json
import os
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox
import snapshot
import table_owner

DOCUMENT = {
    "version": 1,
    "uplinks": [{"name": "internet", "mode": "nat"}],
    "tenants": [laptops.tenant("red", 10, ["10.0.0.11"], "internet"),
                laptops.tenant("blue", 20, ["10.0.0.11"], "internet")],
}
GUESTS = ("red-1", "blue-1")
DNS, OTHER_DNS = "198.51.100.53", "198.51.100.54"
NAME, NAME_ADDRESS = "www.example.test", "203.0.113.80"
VPN, VPN_OWN = "192.0.2.1", "192.0.2.2"
STUB = "/run/systemd/resolve/stub-resolv.conf"
# What a host may have already: rules of its own, which load the modules a comparison would notice.
FOREIGN = """
table ip foreign {
    chain post { type nat hook postrouting priority 100; ip saddr 10.99.0.0/16 masquerade; }
    chain in { type filter hook input priority 0; ct state established accept; }
}"""
DROPPING = """
table ip filter {
    chain DOCKER-USER { }
    chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}"""


def nft(text):
    netns.run("nft", "-f", "-", input=text)


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def serve_names(space, listen):
    command = [*netns.inside(space), sys.executable, os.path.join(labs.LIB, "name_server.py")]
    server = netns.popen([*command, listen, NAME, NAME_ADDRESS], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "serving\n", f"no name server in {space}"


# A second way out, as a VPN is: no default route goes there.
def build(lab):
    lab.build_for(DOCUMENT)
    lab.go_online()
    for address in (DNS, OTHER_DNS, NAME_ADDRESS):
        netns.ip(labs.INTERNET_NETNS, "address", "add", f"{address}/32", "dev", "lo")
        netns.ip("", "route", "add", f"{address}/32", "via", laptops.ROUTER)
        serve_names(labs.INTERNET_NETNS, address)
    netns.create("vpn")
    netns.veth("", "tun0", "vpn", "eth0")
    netns.ip("", "address", "add", f"{VPN_OWN}/24", "dev", "tun0")
    netns.ip("vpn", "address", "add", f"{VPN}/24", "dev", "eth0")
    put("/etc/resolv.conf", f"search example\nnameserver {DNS}\n")
    put("/etc/nsswitch.conf", "hosts: files dns\n")
    nft(FOREIGN)


def forwarding():
    with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
        return file.read().strip()


def tables():
    return netns.run("nft", "list", "tables").stdout.split("\n")


# The table and the tap, without what changes by itself.
def host_side():
    [link] = json.loads(netns.ip("", "-j", "address", "show", "dev", "insula-nat0"))
    shown = [link["mtu"], link["address"], "UP" in link["flags"],
             [a["local"] for a in link["addr_info"] if a["family"] == "inet"]]
    return shown, netns.run("nft", "list", "table", "ip", "insula").stdout


# Waits for what follows by itself.
def wait_for(what, happened, deadline_s=10):
    deadline = time.monotonic() + deadline_s
    while not (result := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return result


def start(lab):
    lab.start()
    assert forwarding() == "0" and "table ip insula" not in tables()
    lab.apply_document(DOCUMENT)
    assert forwarding() == "1" and "table ip insula" in tables()
    leases = lab.lease()
    assert sorted(leases) == sorted(GUESTS), leases
    lab.agents["vpn"] = netns.Agent("vpn", "vpn")


def test_reach(lab):
    for guest in GUESTS:
        for to, address, own in (("internet", laptops.ROUTER, laptops.OWN), ("vpn", VPN, VPN_OWN)):
            assert lab.probe("tcp", guest, to, address) == own, f"tcp {guest} {to}"
            assert lab.probe("udp", guest, to, address) == own, f"udp {guest} {to}"
            assert lab.probe("ping", guest, to, address), f"ping {guest} {to}"


# As the guest's own C library resolves, with what DHCP gave.
def resolve(lab, guest, servers):
    text = "".join(f"nameserver {s}\n" for s in servers.split())
    put(f"/etc/netns/{lab.space(guest)}/resolv.conf", f"{text}options timeout:2 attempts:2\n")
    command = [*netns.inside(lab.space(guest)), "getent", "ahostsv4", NAME]
    return netns.run(*command, check=False).stdout


def check_names(lab, leases, servers):
    for guest in GUESTS:
        assert leases[guest]["dns"] == servers, f"{guest}: {leases[guest]}, {lab.warnings()}"
        if servers:
            assert NAME_ADDRESS in resolve(lab, guest, servers), f"{guest} resolves nothing"


def test_names(lab):
    check_names(lab, lab.lease_again(), DNS)


# systemd-resolved: a link to a file that names the stub.
def test_stub_of_systemd(lab):
    put(STUB, "nameserver 127.0.0.53\noptions edns0 trust-ad\n")
    put("/run/systemd/resolve/resolv.conf", f"nameserver {OTHER_DNS}\nnameserver {DNS}\n")
    os.unlink("/etc/resolv.conf")
    os.symlink("../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
    lab.apply_document(DOCUMENT)
    check_names(lab, lab.lease_again(), f"{OTHER_DNS} {DNS}")


# A resolver of the host's own and nothing known behind it: better none than a loopback.
def test_loopback_only(lab):
    os.unlink("/run/systemd/resolve/resolv.conf")
    put("/etc/resolv.conf", "nameserver 127.0.0.1\nnameserver ::1\n")
    lab.apply_document(DOCUMENT)
    check_names(lab, lab.lease_again(), "")
    assert any("told no DNS servers" in w and "`dns`" in w for w in lab.warnings()), lab.warnings()


# Nobody answers DHCP there: no servers to tell of, none to warn of, no lease.
def test_network_without_gateway(lab):
    nic = {"network": "pure", "netns": lab.space("red-1"), "address": "10.0.1.11"}
    lab.apply_document({"version": 1, "tenants": [{
        "name": "red", "networks": [{"name": "pure", "vlan": 11, "subnet": "10.0.1.0/24"}],
        "instances": [{"name": "red-1", "nics": [nic]}]}]})
    assert not lab.warnings(), lab.warnings()
    [pure] = lab.list("network")
    assert not {"dns", "dns_source", "lease_s"} & pure.keys(), pure
    assert not lab.list("lease"), lab.list("lease")
    lab.apply_document(DOCUMENT)


# The laptop moves to another network: no apply is needed.
def test_resolv_conf_changes(lab):
    before = lab.status()["generation"]
    put("/etc/resolv.conf", f"nameserver {OTHER_DNS}\n")
    wait_for("insulad does not read resolv.conf again",
             lambda: lab.status()["generation"] > before, 15)
    check_names(lab, lab.lease_again(), OTHER_DNS)
    assert not lab.warnings(), lab.warnings()


# A host whose own rules drop what they do not know is told how to let guests pass.
def test_foreign_drop(lab):
    assert lab.warnings() == []
    nft(DROPPING)
    assert not lab.probe("tcp", "red-1", "internet", laptops.ROUTER, timeout=1)
    [warning] = lab.warnings()
    command = re.search("`(.*)`", warning)[1]
    netns.run("sh", "-c", command)
    assert lab.warnings() == [], lab.warnings()
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN
    netns.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    [warning] = lab.warnings()
    netns.run("sh", "-c", re.search("`(.*)`", warning)[1])
    assert lab.warnings() == [] and forwarding() == "1"
    nft("delete table ip filter")


def check_off(lab, key):
    netns.run("sysctl", "-qw", f"{key}=0")
    assert not lab.probe("tcp", "red-1", "internet", laptops.ROUTER, timeout=1), key
    [warning] = lab.warnings()
    assert f"`sysctl -w {key}=1`" in warning, warning
    netns.run("sh", "-c", re.search("`(.*)`", warning)[1])
    assert lab.warnings() == [], lab.warnings()
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN, key


# Forwarding is a setting of the interface that a packet comes in by: the tap, and for the answers
# the one of the default route. Of others it is the host's own affair.
def test_forwarding_of_one(lab):
    [route] = json.loads(netns.ip("", "-j", "route", "show", "default"))
    for name in ("insula-nat0", route["dev"]):
        check_off(lab, f"net.ipv4.conf.{name}.forwarding")
    netns.run("sysctl", "-qw", "net.ipv4.conf.tun0.forwarding=0")
    assert lab.warnings() == [], lab.warnings()
    netns.run("sysctl", "-qw", "net.ipv4.conf.tun0.forwarding=1")
    # The least metric counts; a dot in an interface's name is no dot for sysctl.
    netns.veth("", "vpn.7", "vpn", "eth1")
    netns.ip("", "route", "add", "default", "dev", "vpn.7", "metric", "9000")
    netns.run("sysctl", "-qw", "net.ipv4.conf.vpn/7.forwarding=0")
    assert lab.warnings() == [], lab.warnings()
    netns.ip("", "route", "del", "default", "dev", route["dev"])
    [warning] = lab.warnings()
    netns.run("sh", "-c", re.search("`(.*)`", warning)[1])
    assert lab.warnings() == [], lab.warnings()
    netns.ip("", "link", "del", "vpn.7")
    netns.ip("", "route", "add", "default", "via", laptops.ROUTER, "dev", route["dev"])


# `systemctl restart nftables` begins with this.
def test_flushed(lab):
    nft("flush ruleset")
    wait_for("the table did not come back", lambda: "table ip insula" in tables())
    assert lab.probe("tcp", "blue-1", "internet", laptops.ROUTER) == laptops.OWN
    nft(FOREIGN)


def check_undone(lab, command, line):
    before, mark = host_side(), len(lab.log())
    netns.run(*command.split())
    wait_for(f"{command}: not told", lambda: line in lab.log()[mark:])
    assert host_side() == before, f"{command}: {host_side()}, was {before}"
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN, command
    assert lab.log()[mark:].count("underneath") == 1, lab.log()[mark:]
    assert not lab.warnings(), lab.warnings()


# What others do to the host's side, piece by piece, is undone, and told once each.
def test_changed_underneath(lab):
    changes = {
        "nft flush chain ip insula postrouting": "table ip insula was changed underneath",
        "nft delete chain ip insula postrouting": "table ip insula was changed underneath",
        "ip address flush dev insula-nat0":
            "insula-nat0 was changed underneath (without its address",
        "ip link set insula-nat0 down": "insula-nat0 was changed underneath (set down",
        "ip link set insula-nat0 mtu 1300": "insula-nat0 was changed underneath (MTU 1300)",
        "ip link set insula-nat0 address 02:00:00:00:00:01":
            "insula-nat0 was changed underneath (another MAC",
    }
    for command, line in changes.items():
        check_undone(lab, command, line)


# While insulad is dead it cannot see it.
def test_changed_while_dead(lab):
    before = host_side()
    lab.kill("insulad")
    nft("flush chain ip insula postrouting")
    netns.ip("", "address", "flush", "dev", "insula-nat0")
    lab.start()
    assert host_side()[1] == before[1], "the table was not looked at before it said it runs"
    lab.kill("insulad")
    nft("insert rule ip insula postrouting accept")  # its rule is there, behind another
    lab.start()
    assert host_side()[1] == before[1], "a rule put before its own stays"
    wait_for("the host's side is not as before", lambda: host_side() == before)
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN


# It would be the one towards the network, more often than not: nobody is told to delete it.
def test_interface_of_the_host(lab):
    uplink = {"name": "internet", "mode": "nat", "interface": "wlan0"}
    for word in ("diff", "apply"):
        status, text = lab.try_document(word, DOCUMENT | {"uplinks": [uplink]})
        assert status in (1, 2) and "`interface` is the tap that insulad makes" in text, text
        assert "link del" not in text, text
    assert lab.try_document("diff", DOCUMENT) == (0, "")


# Nothing of the host changes when the same table is there already, after any death.
def test_killed(lab):
    for programs in (("insulad",), ("insulad", "insula-switch")):
        for program in programs:
            lab.kill(program)
        assert "table ip insula" in tables() and forwarding() == "1"
        lab.start()
        assert "table ip insula" in tables() and forwarding() == "1"
        assert table_owner.is_taken(), "nobody has claimed the table"
        for guest in GUESTS:
            assert lab.probe("tcp", guest, "internet", laptops.ROUTER) == laptops.OWN, guest


# The tap under another name carries on, after the death of both too; it is not made a second time.
def test_renamed_and_killed(lab):
    for words in (("insula-nat0", "down"), ("insula-nat0", "name", "mine7"), ("mine7", "up")):
        netns.ip("", "link", "set", *words)
    for program in ("insulad", "insula-switch"):
        lab.kill(program)
    lab.start()
    shown = netns.ip("", "-br", "link")
    assert "mine7" in shown and "insula-nat0" not in shown, shown
    wait_for("not told", lambda: "renamed to mine7" in str(lab.warnings()))
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN
    [uplink] = lab.list("uplink")
    for command in uplink["trouble"].split("`")[1::2]:
        netns.run(*command.split())
    assert not lab.warnings(), lab.warnings()
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN


# Somebody deleted the notes of how the host was: the table goes all the same, and what nobody can
# know any more is said.
def test_notes_deleted(lab):
    os.unlink(os.path.join(os.environ["INSULA_RUN_DIR"], "host.db"))
    lab.kill("insulad")
    mark = len(lab.log())
    lab.start()
    told = lab.log()[mark:]
    assert "notes of how this host was are gone" in told, told
    assert not lab.stop_insulad() and "table ip insula" not in tables()
    netns.run(*re.search("`(sysctl [^`]*)`", told)[1].split())
    lab.start()
    assert "table ip insula" in tables() and forwarding() == "1"
    lab.lease_again()


# What anybody may do to look like an insulad that has the table: bind the name that its mark once
# was, and try to make the one of now.
SQUATTER = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
import table_owner
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
name = socket.socket(socket.AF_UNIX)
name.bind("\\0insula-nat")
name.listen(1)
try:
    table_owner.take()
except PermissionError:
    print("squats", flush=True)
sys.stdin.read()
"""


# Behind a dead insulad's back no unprivileged process keeps the host's side on.
def test_squatted(lab):
    lab.kill("insulad")
    with netns.popen([sys.executable, "-c", SQUATTER, labs.LIB], text=True, stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE) as squatter:
        assert squatter.stdout.readline() == "squats\n"
        mark = len(lab.log())
        lab.start()
        stopped = subprocess.run([lab.insula_program, "stop"], text=True, capture_output=True,
                                 timeout=30, check=False)
        left = [t for t in tables() if "insula" in t], forwarding()
        assert left == ([], "0"), f"{left} stayed on: {stopped}"
        assert stopped.returncode == 0 and not stopped.stderr, stopped
        assert "another insulad" not in lab.log()[mark:], lab.log()[mark:]
        squatter.stdin.close()
    lab.start()
    assert "table ip insula" in tables() and forwarding() == "1"
    lab.lease_again()


# What stays on because another insulad has it is said by a stop, which can be done again.
def test_stays_on(lab):
    stop = [lab.insula_program, "stop"]
    lab.kill("insulad")
    with table_owner.take():
        lab.start()
        [warning] = lab.warnings()
        assert "another insulad on this host" in warning, warning
        for _ in ("by the one that runs", "behind it"):
            done = subprocess.run(stop, text=True, capture_output=True, timeout=30, check=False)
            assert "table ip insula" in tables() and forwarding() == "1"
            assert done.returncode == 1 and not done.stdout, done
            for words in ("table ip insula and forwarding stay on", "another insulad on this host",
                          "insulad.log"):
                assert done.stderr.count(words) == 1, done.stderr
    netns.run(*stop)
    assert "table ip insula" not in tables() and forwarding() == "0"
    lab.start()
    assert "table ip insula" in tables() and forwarding() == "1"
    lab.lease_again()


# A table of the same name that nobody but its owner can delete: forwarding goes off all the same.
def test_not_deleted(lab):
    lab.kill("insulad")
    nft("delete table ip insula")
    with table_owner.own_table("insula"):
        lab.start()
        done = subprocess.run([lab.insula_program, "stop"], text=True, capture_output=True,
                              timeout=30, check=False)
        assert done.returncode == 1 and "table ip insula stays" in done.stderr, done
        assert "table ip insula" in tables() and forwarding() == "0", forwarding()
    assert "cleaned up" in netns.run(lab.insula_program, "stop").stdout
    assert "table ip insula" not in tables() and forwarding() == "0"
    lab.start()
    assert "table ip insula" in tables() and forwarding() == "1"
    lab.lease_again()


# Other addresses between the switch and the host, and another name; the old ones go.
def test_own_addresses(lab):
    uplink = {"name": "internet", "mode": "nat", "interface": "guests0",
              "address": "172.31.255.2/29", "gateway": "172.31.255.1"}
    lab.apply_document(DOCUMENT | {"uplinks": [uplink]})
    shown = netns.ip("", "-br", "-4", "address")
    assert "172.31.255.1/29" in shown and "100.127.255" not in shown, shown
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN
    lab.apply_document(DOCUMENT | {"uplinks": [uplink | {"address": "172.31.255.3/29"}]})
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN
    lab.apply_document(DOCUMENT)
    shown = netns.ip("", "-br", "-4", "address")
    assert "172.31.255" not in shown, shown
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN


# The host's rules can be saved and loaded again, as nftables.service does it, while we are there.
def test_saved(lab):
    nft("add table inet fw")
    was = sorted(tables())
    saved = os.path.join(lab.directory, "nft.conf")
    with open(saved, "w", encoding="utf-8") as file:
        file.write("flush ruleset\n" + netns.run("nft", "list", "ruleset").stdout)
    for word in ("reload", "restart"):
        if word == "restart":
            nft("flush ruleset")
        netns.run("nft", "-f", saved)
        wait_for("they are not as before", lambda: sorted(tables()) == was)
    nft("delete table inet fw")
    wait_for("it is not as before", lambda: "table ip insula" in tables())
    assert lab.probe("tcp", "red-1", "internet", laptops.ROUTER) == laptops.OWN


# Without the uplink in the file nothing of it stays; with it again it works again.
def test_taken_away(lab, before):
    lab.apply_document({"version": 1})
    assert forwarding() == "0" and "table ip insula" not in tables()
    with table_owner.take():  # the table is one for a host: another has it
        status, text = lab.try_document("apply", DOCUMENT)
        assert status == 1 and "another insulad on this host" in text, text
    lab.apply_document(DOCUMENT)
    assert table_owner.is_taken()
    lab.kill("insulad")
    lab.start()
    errors = lab.stop()
    assert not errors, errors
    left = snapshot.compare(before, snapshot.network())
    assert not left, "\n".join(left)


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    build(lab)
    before = snapshot.network()
    try:
        start(lab)
        for name, test in list(globals().items()):
            if name.startswith("test_") and name != "test_taken_away":
                test(lab)
                print(f"ok {name}", flush=True)
        test_taken_away(lab, before)
        print("ok test_taken_away")
    finally:
        lab.stop()


main()
