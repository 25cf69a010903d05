# SPDX-License-Identifier: BSD-3-Clause
# The orders of fallback, uplink: DPDK device, packet socket, nat; instance: vhost-user, tap. Each
# step is tested by taking its prerequisite away, and traffic passes by what was chosen. What was
# chosen is said with its reason by apply, list, status and the log, also after kill -9; when what
# was missing is there again, the next apply takes it, and diff says so first. Runs in a sandbox.
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import laptop as laptops
import netns
import sandbox

PORTS, GUEST, UPLINK = "/run/ports", "red/red-1.eth0", "internet"


def document(uplink, **nic):
    routed = {"name": UPLINK, "mode": "routed", "address": "198.51.100.9/24",
              "gateway": laptops.ROUTER, "interface": "up0"}
    made = {"version": 1, "uplinks": [routed | uplink],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], UPLINK)]}
    laptops.nic_of(made, "red-1").update(nic)
    return made


def build(lab):
    lab.build_for(document({}))
    lab.go_online()
    lab.bridge_the_internet()
    lab.plug_in()


def port(lab, name):
    return next(p for p in lab.list("port") if p["name"] == name)


# It is `kind`, because of all `reasons`, and everyone says so. No reasons: the first choice.
def check(lab, text, name, kind, *reasons):
    now = port(lab, name)
    assert now["type"] == kind and now["state"] in ("up", "down"), now
    places = {"list": now.get("reason", ""), "apply": text, "status": " ".join(lab.warnings()),
              "log": lab.log().rpartition(f"port {name}:")[2]}
    for reason in reasons:
        for place, said in places.items():
            assert place == "apply" and not said or reason in said, f"{place}: {said}"
    assert reasons or "reason" not in now and not lab.warnings(), now
    status, again = lab.try_document("diff", lab.document)
    assert status == 0 and not again, f"applied and yet: {again}"


# What apply says of a fallback diff has foretold, word for word, but for what only trying tells; of
# a repair it has said where it falls back to.
def apply(lab, wanted):
    lab.document = wanted
    _, foretold = lab.try_document("diff", wanted)
    text = lab.apply_document(wanted)
    for line in text.splitlines():
        tried = "cannot listen" in line or "falls back to" in line
        assert ", because" not in line or tried or line in foretold, f"{line}\nnot in: {foretold}"
    return text


# By whichever uplink, the guest gets there, from the address it stands behind.
def check_way_out(lab, own):
    for guest in ("red-1", "red-2"):
        seen = lab.probe("tcp", guest, "internet", laptops.ROUTER)
        assert seen == own, f"{guest} is seen as {seen}"


def test_ethdev(lab):
    text = apply(lab, document({"devargs": "net_null0"}))
    check(lab, text, UPLINK, "ethdev")
    # It cannot wake a worker, and so costs a processor: that is no trouble, but said.
    assert "no rx interrupts" in port(lab, UPLINK)["note"], port(lab, UPLINK)
    for words in (("list", "port"), ("list", "uplink"), ("show", "port", UPLINK), ("status",)):
        assert "no rx interrupts" in lab.insula(*words), words


def test_ethdev_to_packet(lab):
    text = apply(lab, document({"devargs": "0000:99:00.0"}))
    check(lab, text, UPLINK, "packet", "DPDK device 0000:99:00.0: ")
    check(lab, "", UPLINK, "packet", "DPDK device 0000:99:00.0: ")
    lab.lease()
    check_way_out(lab, "198.51.100.9")


# The second choice is what runs: the file that no longer has it is not the same.
def test_second_choice_goes(lab):
    wanted = document({"devargs": "0000:99:00.0"})
    del wanted["uplinks"][0]["interface"]
    status, text = lab.try_document("diff", wanted)
    assert status == 1 and text.startswith(f"~ uplink {UPLINK}: else packet socket on up0"), text


def test_packet(lab):
    text = apply(lab, document({}))
    check(lab, text, UPLINK, "packet")
    assert "note" not in port(lab, UPLINK), port(lab, UPLINK)
    check_way_out(lab, "198.51.100.9")


# The interface is unplugged, and everything starts anew without it.
def test_packet_to_nat(lab):
    netns.ip("", "link", "del", "up0")
    assert not lab.stop_insulad()
    lab.start()
    reasons = ("packet socket on up0: ", "`ip link` lists them")
    check(lab, "", UPLINK, "nat", *reasons)
    lab.lease_again()
    check_way_out(lab, laptops.OWN)
    shown = next(iter(lab.list("uplink")))
    assert shown["mode"] == "nat" and shown["address"] == "100.127.255.254/30", shown
    lab.kill("insulad")
    lab.start()
    check(lab, "", UPLINK, "nat", *reasons)
    text = apply(lab, document({"devargs": "0000:99:00.0"}))
    check(lab, text, UPLINK, "nat", "DPDK device 0000:99:00.0: ", *reasons)
    check_way_out(lab, laptops.OWN)


def test_back_to_packet(lab):
    apply(lab, document({}))
    lab.plug_in()
    status, text = lab.try_document("diff", lab.document)
    assert status == 1 and text.startswith(f"~ uplink {UPLINK}: what was missing"), text
    check(lab, apply(lab, lab.document), UPLINK, "packet")
    check_way_out(lab, "198.51.100.9")
    assert "insula" not in netns.run("nft", "list", "tables").stdout
    assert "insula-nat0" not in netns.ip("", "link")


def test_vhost_user(lab):
    os.mkdir(PORTS)
    for more in ({}, {"server": True}):
        wanted = document({}, type="vhost-user", socket=f"{PORTS}/red-1.sock", **more)
        os.chmod(PORTS, 0o777)
        check(lab, apply(lab, wanted), GUEST, "vhost-user")


# Insulad lets the switch into front ends' sockets: its own, the API's, is none, nor another port's.
def test_sockets_of_others(lab):
    run = os.environ["INSULA_RUN_DIR"]
    os.symlink(run, f"{PORTS}/link")
    wanted = document({}, type="vhost-user", socket=f"{PORTS}/link/insulad.sock")
    status, text = lab.try_document("apply", wanted)
    assert status == 1 and "in insulad's own folder" in text, text
    assert re.match(r"\S+:\d+: port ", text), text
    for path, why in (("insulad.sock", f"in insulad's own folder; allowed there: in {run}/vhost"),
                      ("vhost/red.red-2.eth0", "that of port red/red-2.eth0; one port each")):
        wanted = document({}, type="vhost-user", socket=f"{run}/{path}")
        laptops.nic_of(wanted, "red-2").update(type="vhost-user")
        for word, expected in (("diff", 2), ("apply", 1)):
            status, text = lab.try_document(word, wanted)
            assert status == expected, text
            assert f"port {GUEST}: socket {run}/{path} is {why}" in text, text


# Neither a client nor a server can be where there is no folder.
def test_vhost_user_to_tap(lab):
    for more in ({"server": True}, {}):
        wanted = document({}, type="vhost-user", socket="/run/nowhere/red-1.sock", **more)
        text = apply(lab, wanted)
        check(lab, text, GUEST, "tap", "/run/nowhere", "`mkdir -p /run/nowhere`")
        lab.lease_again()
        check_way_out(lab, "198.51.100.9")
    # A folder the switch may not write to: said by the switch.
    os.chmod(PORTS, 0o700)
    text = apply(lab, document({}, type="vhost-user", socket=f"{PORTS}/red-1.sock", server=True))
    check(lab, text, GUEST, "tap", f"vhost-user server {PORTS}/red-1.sock: ")


def test_back_to_vhost_user(lab):
    apply(lab, document({}, type="vhost-user", socket="/run/nowhere/red-1.sock"))
    os.mkdir("/run/nowhere")
    status, text = lab.try_document("diff", lab.document)
    assert status == 1 and text.startswith(f"~ port {GUEST}: what was missing"), text
    check(lab, apply(lab, lab.document), GUEST, "vhost-user")
    assert "eth0" not in netns.ip("red-1", "link"), "the tap stayed"


# No choice of a trunk, of an uplink beside one with nat, and of a nic is there any more.
def hopeless():
    wanted = document({"devargs": "0000:99:00.0", "interface": "r2"})
    wanted["uplinks"].append({"name": "home", "mode": "nat"})
    wanted["trunks"] = [{"name": "lab", "devargs": "0000:98:00.0", "interface": "r1",
                         "allowed": [10]}]
    nic = {"network": "lan", "type": "vhost-user", "socket": "/run/socks/x", "netns": "gone"}
    wanted["tenants"][0]["instances"].append({"name": "red-3", "nics": [nic]})
    return wanted


def veth(name):
    netns.ip("", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")


def wait_for_port(lab, name, **wanted):
    deadline = time.monotonic() + 10
    while not wanted.items() <= (now := port(lab, name)).items() or "trouble" in now:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


# The diff foretells nothing that apply does not do, and both tell of what is broken, however often.
# Where a choice is there again, the port takes it by itself.
def test_every_choice_gone(lab):
    veth("r1")
    veth("r2")
    os.mkdir("/run/socks")
    netns.ip("", "netns", "add", "gone")
    apply(lab, hopeless())
    netns.ip("", "link", "del", "r1")
    netns.ip("", "link", "del", "r2")
    os.rmdir("/run/socks")
    netns.ip("", "netns", "del", "gone")
    lab.stop_insulad()
    lab.start()
    troubles = {
        "lab": ("DPDK device 0000:98:00.0: there is no PCI device", "packet socket on r1: "),
        UPLINK: ("packet socket on r2: ", "nat, which uplink home has, and there is room for one: "
                 "mend what it lacks, or take one of the two out of the file"),
        "red/red-3.eth0": ("vhost-user client /run/socks/x: ", "tap eth0 in netns gone: ",
                           "`ip netns add gone`")}
    for word in ("diff", "apply", "diff", "apply", "list"):
        status, text = (lab.try_document(word, lab.document) if word != "list" else
                        (0, lab.insula("list", "port", "-o", "json")))
        assert status == 0 and "falls back" not in text, f"{word}: {status} {text}"
        for name, words in troubles.items():
            for part in words:
                assert name in text and part in text, f"{word} of {name}, no '{part}': {text}"
    for name, there, device in ((UPLINK, "r2", 99), ("lab", "r1", 98)):
        veth(there)
        now = wait_for_port(lab, name, type="packet")
        assert f"DPDK device 0000:{device}:00.0: there is no PCI device" in now["reason"], now
    netns.ip("", "netns", "add", "gone")
    now = wait_for_port(lab, "red/red-3.eth0", type="tap")
    assert "/run/socks" in now["reason"], now
    assert lab.try_document("diff", lab.document) == (0, ""), lab.try_document("diff", lab.document)
    lab.kill("insulad")
    lab.start()
    assert "/run/socks" in port(lab, "red/red-3.eth0")["reason"], lab.list("port")
    os.mkdir("/run/socks")
    status, text = lab.try_document("diff", lab.document)
    assert status == 1 and "~ port red/red-3.eth0: what was missing is there now" in text, text
    apply(lab, lab.document)
    wait_for_port(lab, "red/red-3.eth0", type="vhost-user")


# Nat is another policy: an apply takes it, which diff says; a trial does not.
def test_nat_gone(lab):
    wanted = document({"devargs": "0000:99:00.0", "interface": "r2"})
    apply(lab, wanted)
    netns.ip("", "link", "del", "r2")
    netns.ip("", "link", "add", "insula-nat0", "type", "bridge")
    lab.stop_insulad()
    lab.start()
    for word in ("diff", "apply", "diff"):
        status, text = lab.try_document(word, wanted)
        assert status == 0 and "falls back" not in text, f"{word}: {status} {text}"
        assert "interface insula-nat0 in the host" in text, f"{word}: {text}"
    netns.ip("", "link", "del", "insula-nat0")
    status, text = lab.try_document("diff", wanted)
    assert status == 1 and text.count("falls back to nat through tap insula-nat0") == 1, text
    # What the file changes is told as that, and is no repair.
    nat = {"uplinks": [{"name": UPLINK, "mode": "nat"}]}
    status, text = lab.try_document("diff", wanted | nat)
    assert status == 1 and "mode routed -> nat" in text and "repair" not in text, text
    text = apply(lab, wanted)
    assert "repair: falls back to nat through tap insula-nat0, because DPDK" in text, text
    for once in ("insula-nat0", "there is no PCI device", "socket on r2", "interface r2",
                 "`ip link` lists them"):
        assert text.count(once) == 1, f"{text.count(once)} times {once}: {text}"
    check(lab, text, UPLINK, "nat", "packet socket on r2: ")
    assert port(lab, UPLINK)["type"] == "nat"


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    build(lab)
    sys.exit(0 if lab.run_cases(globals(), apply=False) else 1)


main()
