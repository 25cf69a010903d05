# SPDX-License-Identifier: BSD-3-Clause
# What is missing is named with the command that mends it: capabilities, /dev/net/tun, namespaces,
# interfaces, names that are somebody else's, a full disk, a switch that does not answer. A failing
# apply leaves everything as it was, at whichever step it fails and whatever else the file changed;
# a failing start leaves nothing. Where a command is named it is run, and must help. In a sandbox.
import errno
import os
import re
import signal
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

STATE = os.path.join(sandbox.DIRECTORY, "state")
VOLATILE = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops", "state", "expires_s")
GUESTS = ("yellow-1", "red-1", "blue-1")


def first_document():
    uplink = {"name": "internet", "mode": "routed", "address": "198.51.100.9/24",
              "gateway": laptops.ROUTER, "interface": "wlan0"}
    return {"version": 1, "uplinks": [uplink],
            "tenants": [laptops.tenant("yellow", 5, ["10.0.0.11"], "internet"),
                        laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], "internet"),
                        laptops.tenant("blue", 20, ["10.0.0.11", "10.0.0.12"], "internet")]}


# As much as one file can change at once, so that all of it has to be put back; but for yellow.
def changed_document():
    document = first_document()
    _, red, blue = document["tenants"]
    document["uplinks"][0]["mtu"] = 1600
    red["networks"][0] |= {"vlan": 99, "mtu": 1400}
    red["instances"][0]["name"] = "renamed"
    red["instances"][0]["nics"][0]["mac"] = "02:aa:bb:cc:dd:01"
    red["instances"][1]["nics"][0]["queues"] = 2
    blue["instances"][0]["nics"][0]["address"] = "10.0.0.77"
    blue["instances"][0]["nics"][0]["interface"] = "other0"
    del blue["instances"][1]
    document["tenants"].append(laptops.tenant("green", 30, []))
    green = document["tenants"][3]["instances"]
    green.append({"name": "new", "nics": [{"network": "lan", "netns": "spare"}]})
    green.append({"name": "last", "nics": []})
    return document


# changed_document() and one more nic, made last.
def changed_with(**nic):
    document = changed_document()
    document["tenants"][3]["instances"][1]["nics"].append({"network": "lan", **nic})
    return document


def spaces(lab):
    return ["", *lab.spaces(), "spare"]


# Everything that an apply may touch.
def state(lab):
    found = {"config": lab.insula("config"), "generation": lab.status()["generation"],
             "workers": lab.status()["switch"]["workers"], "warnings": lab.warnings()}
    for kind in ("tenant", "network", "port", "uplink", "lease"):
        found[kind] = [{k: v for k, v in o.items() if k not in VOLATILE} for o in lab.list(kind)]
    for space in spaces(lab):
        for what in (("-d", "link"), ("address",), ("route", "show", "table", "all")):
            text = netns.ip(space, "-4", "-o", *what)
            text = re.sub(r" (qlen|promiscuity|valid_lft|preferred_lft) \S+", "", text)
            found[f"{space} {what[-1]}"] = text
    found["nft"] = netns.run("nft", "list", "ruleset").stdout
    return found


def differences(before, after):
    return "\n".join(f"{k}:\n  {before[k]}\n  {v}" for k, v in after.items() if before[k] != v)


def works(lab):
    return all(lab.probe("tcp", g, "internet", laptops.ROUTER) for g in GUESTS)


def mend(text):
    found = re.search("`([^`]*)`", text)
    assert found, f"no command is named: {text}"
    netns.run("sh", "-c", found[1])


# It fails with all of `words`, and nothing is different.
def check_fails(lab, document, *words):
    before = state(lab)
    planned = lab.json_of("diff", document)
    foreseen = planned["warnings"]
    assert lab.try_document("diff", document)[0] == 1 + planned["would_fail"], planned
    status, text = lab.try_document("apply", document)
    assert status == 1 and "nothing has been changed" in text, f"{status} {text}"
    for word in words:
        assert word in text, f"no '{word}' in: {text}"
    left = differences(before, state(lab))
    assert not left, f"after: {text}\n{left}"
    assert works(lab), text
    return text, foreseen


# The diff before it has said so in the same words.
def check_foreseen(lab, document, *words):
    text, foreseen = check_fails(lab, document, *words)
    failure = text.split("\ninsula: nothing has been changed")[0]
    assert foreseen == [f"apply would fail: {failure}"], f"{foreseen} is not {text}"
    assert lab.try_document("diff", document)[0] == 2, text
    return text


def back(lab):
    lab.apply_document(first_document())
    lab.lease_again()


def test_netns(lab):
    text = check_foreseen(lab, changed_with(netns="nowhere"), "green/last.eth0", "nowhere")
    mend(text)
    lab.apply_document(changed_with(netns="nowhere"))
    back(lab)


def test_interface(lab):
    check_foreseen(lab, changed_with(type="packet", interface="nosuch0"), "nosuch0", "`ip link`")
    document = changed_document()
    document["trunks"] = [{"name": "lab", "interface": "nosuch0", "allowed": [30]}]
    check_foreseen(lab, document, "port lab", "nosuch0", "`ip link`")


# The switch would answer for it, and the host be cut off: also when nothing else of the uplink
# changes, and on whichever interface the host has it.
def test_host_address(lab):
    netns.ip("", "address", "add", f"{laptops.OWN}/24", "dev", "wlan0")
    netns.ip("", "address", "add", "198.51.100.3/32", "dev", "lo")
    for address, interface, more in ((laptops.OWN, "wlan0", {}), ("198.51.100.3", "lo", {}),
                                     (laptops.OWN, "wlan0", {"devargs": "0000:99:00.0"})):
        for document in (first_document(), changed_document()):
            document["uplinks"][0] |= {"address": f"{address}/24"} | more
            check_foreseen(lab, document, f"port internet: {address} is this host's own address "
                           f"on {interface}; give the uplink one of its own in that subnet")
    netns.ip("", "address", "add", "198.51.100.9/32", "dev", "lo")  # later than the apply
    taken = "port internet: 198.51.100.9 is this host's own address on lo"
    assert any(taken in w for w in lab.warnings()), lab.warnings()
    netns.ip("", "address", "flush", "dev", "wlan0")
    for address in ("198.51.100.3", "198.51.100.9"):
        netns.ip("", "address", "del", f"{address}/32", "dev", "lo")
    assert not lab.warnings(), lab.warnings()


# Somebody else's device of that name is neither taken nor touched, nor is anybody told to delete
# it: without it the host may be cut off.
def test_name_taken(lab):
    for kind in (("type", "bridge"), ("type", "veth", "peer", "name", "peer0")):
        netns.ip("spare", "link", "add", "taken0", *kind)
        document = changed_with(netns="spare", interface="taken0")
        text = check_foreseen(lab, document, "taken0", "spare", "give it another name")
        assert "link del" not in text, text
        netns.ip("spare", "link", "del", "taken0")
    netns.ip("spare", "tuntap", "add", "taken0", "mode", "tap")
    check_foreseen(lab, changed_with(netns="spare", interface="taken0"), "taken0", "spare")
    netns.ip("spare", "link", "del", "taken0")
    netns.ip("", "link", "add", "host7", "type", "bridge")
    for name in ("host7", "lo"):
        text = check_foreseen(lab, changed_with(interface=name), f"interface {name} in the host")
        assert "link del" not in text, text
    netns.ip("", "link", "del", "host7")


def test_device(lab):
    check_foreseen(lab, changed_with(type="ethdev", devargs="net_foo0"), "no driver for 'net_foo0'")
    check_foreseen(lab, changed_with(type="ethdev", devargs="net_af_packet0,iface=wlan0"),
                   "CAP_NET_RAW, which the switch never has", "`type: packet`")
    check_foreseen(lab, changed_with(type="ethdev", devargs="net_tap0"),
                   "CAP_NET_ADMIN, which the switch never has; use a nic of `type: tap` instead")
    document = changed_document()
    document["trunks"] = [{"name": "lab", "devargs": "net_tap0", "allowed": [30]}]
    check_foreseen(lab, document, "CAP_NET_ADMIN, which the switch never has; use `interface`")
    check_fails(lab, changed_with(type="ethdev", devargs="net_virtio_user0,path=/nonexistent"),
                "connect error")
    check_fails(lab, changed_with(type="ethdev", devargs="0000:99:00.0"), "0000:99:00.0")


# Another number of workers is another switch, which is not started.
def test_restarted_switch(lab):
    document = changed_with(netns="nowhere2") | {"settings": {"workers": 2}}
    check_foreseen(lab, document, "`ip netns add nowhere2`")


def test_no_tun(lab):
    netns.run("mount", "-t", "tmpfs", "tmpfs", "/dev/net")
    text, _ = check_fails(lab, changed_document(), "/dev/net/tun", "modprobe tun")
    assert "mknod" in text, text
    netns.run("mknod", "/dev/net/tun", "c", "10", "200")
    lab.apply_document(changed_document())
    netns.run("umount", "--lazy", "/dev/net")
    back(lab)


def fill_disk():
    ballast = os.open(os.path.join(STATE, "ballast"), os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(ballast, b"\0" * 4096):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    os.close(ballast)


# No room for the state: nothing is acknowledged that would be lost.
def test_full_disk(lab):
    fill_disk()
    # A little more room each time, so that it ends at one write after another; with another number
    # of workers, so that the ports have gone to another switch by then.
    steps, wanted = set(), changed_document() | {"settings": {"workers": 2}}
    generation = lab.status()["generation"]
    while (before := state(lab)) and (tried := lab.try_document("apply", wanted))[0]:
        assert "full" in tried[1] and "nothing has been changed" in tried[1], tried
        left = differences(before, state(lab))
        assert not left and works(lab), f"after: {tried}\n{left}"
        steps.add(tried[1])
        os.truncate(f"{STATE}/ballast", os.stat(f"{STATE}/ballast").st_size - (16 << 10))
    assert len(steps) > 1, f"it failed at one step only: {steps}"
    # Sessions may have been decided by one that failed: its number is never another's.
    assert lab.status()["generation"] > generation + 1, lab.status()
    os.unlink(f"{STATE}/ballast")
    back(lab)


# A tap whose queues were all closed says "up" afterwards instead of "unknown".
def state_but_links(lab):
    return {k: v for k, v in state(lab).items() if not k.endswith(" link")}


# What is stored needs no room to be started from, whoever died, and is what it was.
def test_full_disk_start(lab):
    before = state_but_links(lab)
    fill_disk()
    for programs in (["insulad"], ["insulad", "insula-switch"]):
        for program in programs:
            lab.kill(program)
        lab.start()
        left = differences(before, state_but_links(lab))
        assert not left and works(lab), f"without {programs}: {left}"
        assert "disk is full" in lab.log().rpartition("insulad")[0], lab.log()
    # Another policy each time, which cannot be stored, but for the stored one: no number is given
    # twice.
    with open("/etc/resolv.conf", encoding="ascii") as file:
        stored = file.read()
    generations = [before["generation"]]
    for number, programs in enumerate((["insulad"], ["insulad", "insula-switch"]) * 2):
        with open("/etc/resolv.conf", "w", encoding="ascii") as file:
            file.write(f"nameserver 192.0.2.{53 + number}\n" if number != 1 else stored)
        for program in programs:
            lab.kill(program)
        lab.start()
        assert works(lab), f"without {programs} and with other name servers"
        generations.append(lab.status()["generation"])
    assert generations[2] == generations[0], generations
    os.unlink(f"{STATE}/ballast")
    lab.apply_document(changed_document())
    generations.append(lab.status()["generation"])
    del generations[2]
    assert generations == sorted(set(generations)), generations
    back(lab)


# Nor for what has to be put back one day, which is on another disk, and that one is named.
def test_full_run_dir(lab):
    run_dir = os.environ["INSULA_RUN_DIR"]
    disk = os.statvfs(run_dir)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    netns.run("mount", "-o", f"remount,size={used}", run_dir)
    before = state(lab)
    status, text = lab.try_document("apply", changed_document())
    netns.run("mount", "-o", "remount,size=1g", run_dir)
    assert status == 1 and f"{run_dir}/host.db: the disk is full" in text, text
    left = differences(before, state(lab))
    assert not left and works(lab), left
    lab.apply_document(changed_document())
    back(lab)


# A switch that hangs: the apply fails, and when the switch goes on so does all else.
def test_hanging_switch(lab):
    [switch] = labs.processes("insula-switch")
    before = state(lab)
    os.kill(switch, signal.SIGSTOP)
    try:
        status, text = lab.try_document("apply", changed_document())
    finally:
        os.kill(switch, signal.SIGCONT)
    assert status == 1 and "did not answer within" in text, text
    deadline = time.monotonic() + 20
    while differences(before, now := state(lab)) or lab.status()["switch"]["state"] != "running":
        assert time.monotonic() < deadline, differences(before, now)
        time.sleep(0.1)
    assert works(lab)


# ---- starting

def start_without(lab, *capabilities, **env):
    drop = ",".join(f"-{c}" for c in capabilities)
    prefix = ["setpriv", "--bounding-set", drop, "--inh-caps", drop] if drop else []
    done = subprocess.run([*prefix, lab.insula_program, "start"], env=os.environ | env, text=True,
                          capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


# A start that fails says why, and leaves no mount, process, folder or device.
def check_start_fails(lab, status, text, *words):
    assert status == 1, text
    for word in words:
        assert word in text, f"no '{word}' in: {text}"
    deadline = time.monotonic() + 5  # it says why just before it ends
    while left := labs.processes("insulad") + labs.processes("insula-switch"):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)
    run_dir = os.environ["INSULA_RUN_DIR"]
    assert not os.path.ismount(run_dir), f"{run_dir} is still mounted"


def test_start(lab):
    assert not lab.stop_insulad()
    before = snapshot.network() | snapshot.machine(["insula"], [])
    for lacking in (("sys_admin",), ("net_admin",), ("chown",),
                    ("net_raw", "setuid", "setgid", "kill", "chown")):
        check_start_fails(lab, *start_without(lab, *lacking), "`sudo insula start`",
                          *(f"CAP_{c.upper()}" for c in lacking),
                          *(f"--cap-add={c.upper()}" for c in lacking))
    check_start_fails(lab, *start_without(lab, INSULA_SWITCH="/nowhere/insula-switch"),
                      "/nowhere/insula-switch")
    store = os.path.join(STATE, "insula.db")
    os.rename(store, store + ".good")
    for journal in ("-wal", "-shm"):  # of a store that was closed: nothing in them
        if os.path.exists(store + journal):
            os.unlink(store + journal)
    with open(store, "wb") as file:
        file.write(b"not a database " * 512)
    check_start_fails(lab, *start_without(lab), store, "is damaged",
                      f"`mv {store} {store}.damaged`")
    os.rename(store + ".good", store)
    with open("/etc/passwd", encoding="utf-8") as file:
        users = file.read()
    with open("/etc/passwd", "w", encoding="utf-8") as file:
        file.write(re.sub("(?m)^nobody:.*\n", "", users))
    with open("/etc/nsswitch.conf", "w", encoding="utf-8") as file:
        file.write("passwd: files\n")  # systemd's module knows nobody by heart
    check_start_fails(lab, *start_without(lab), "no user nobody", "useradd")
    with open("/etc/passwd", "w", encoding="utf-8") as file:
        file.write(users)
    left = snapshot.compare(before, snapshot.network() | snapshot.machine(["insula"], []))
    assert not left, "\n".join(left)
    lab.start()
    lab.lease_again()
    assert works(lab)


# Not raised as it is with all rights: the limit is named, whichever call met with it.
def test_few_files(lab):
    assert not lab.stop_insulad()
    for n_files in (40, 41, 42, 43):
        done = subprocess.run(
            ["prlimit", f"--nofile={n_files}", "setpriv", "--bounding-set", "-sys_resource",
             "--inh-caps", "-sys_resource", lab.insula_program, "start"], text=True,
            capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        document = first_document()
        document["tenants"].append(laptops.tenant("green", 30, []) | {"instances": [
            {"name": f"new-{n}", "nics": [{"network": "lan", "interface": f"many{n}"}]}
            for n in range(40)]})
        status, text = lab.try_document("apply", document)
        assert status == 1 and "too many open files" in text and "LimitNOFILE" in text, text
        assert not lab.stop_insulad()
    lab.start()
    lab.lease_again()
    assert works(lab)


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    os.makedirs(STATE)
    netns.run("mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", STATE)
    lab.build_for(first_document())
    netns.create("spare")
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
