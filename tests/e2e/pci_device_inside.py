# SPDX-License-Identifier: BSD-3-Clause
# Inside the outer machine: cards bound to vfio-pci are an uplink and a trunk, and traffic passes;
# what cannot be a port is refused with what to do. Started by pci_device.py.
import contextlib
import ctypes
import os
import resource
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns

DEVICES = "/sys/bus/pci/devices"
UPLINK, TRUNK, SHARED, SIBLING, FOREIGN = (
    f"0000:00:{n}" for n in ("10.0", "12.0", "14.0", "14.1", "15.0"))
UPLINK_FAR, TRUNK_FAR = "0000:00:11.0", "0000:00:13.0"
ADDRESS, FAR, VLAN = "198.51.100.9", "10.0.0.200", 10
SIZE = 4 << 20
PR_CAPBSET_DROP, CAP_SYS_RESOURCE = 24, 24


def document(trunk=TRUNK):
    return {"version": 1,
            "uplinks": [{"name": "internet", "mode": "routed", "devargs": UPLINK,
                         "address": f"{ADDRESS}/24", "gateway": laptops.ROUTER}],
            "trunks": [{"name": "lab", "devargs": trunk, "allowed": [VLAN]}],
            "tenants": [laptops.tenant("red", VLAN, ["10.0.0.11", "10.0.0.12"], "internet")]}


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def driver(address):
    with contextlib.suppress(FileNotFoundError):
        return os.path.basename(os.readlink(f"{DEVICES}/{address}/driver"))
    return ""


# As driverctl does it. "" = to the kernel's own.
def bind(address, name):
    if driver(address):
        write(f"{DEVICES}/{address}/driver/unbind", address)
    write(f"{DEVICES}/{address}/driver_override", name or "\n")
    write("/sys/bus/pci/drivers_probe", address)


# The kernel's interface of a card goes to a namespace, as eth1.
def plug(address, space):
    [virtio] = [e for e in os.listdir(f"{DEVICES}/{address}") if e.startswith("virtio")]
    [name] = os.listdir(f"{DEVICES}/{address}/{virtio}/net")
    netns.ip("", "link", "set", name, "netns", space, "name", "eth1")
    netns.ip(space, "link", "set", "eth1", "up")


def build(lab):
    lab.build_for(document())
    netns.create("far")
    plug(UPLINK_FAR, labs.INTERNET_NETNS)
    netns.ip(labs.INTERNET_NETNS, "address", "flush", "dev", "eth0")
    netns.ip(labs.INTERNET_NETNS, "address", "add", f"{laptops.ROUTER}/24", "dev", "eth1")
    plug(TRUNK_FAR, "far")
    netns.ip("far", "link", "add", "link", "eth1", "name", "eth1.10", "type", "vlan", "id",
             str(VLAN))
    netns.ip("far", "link", "set", "eth1.10", "up")
    netns.ip("far", "address", "add", f"{FAR}/24", "dev", "eth1.10")
    bind(UPLINK, "vfio-pci")


# What insulad sees by itself, diff says too.
def check_refused(lab, trunk, *words):
    for word in ("diff", "apply"):
        status, text = lab.try_document(word, document(trunk))
        assert status and all(w in text for w in words), f"{word}: {text}"


def test_refused(lab):
    check_refused(lab, "0000:99:00.0", "there is no PCI device 0000:99:00.0", "`lspci -D`")
    check_refused(lab, f"pci:{TRUNK[5:]}", "driver virtio-pci",
                  f"`modprobe vfio-pci; driverctl set-override {TRUNK} vfio-pci`")
    bind(SHARED, "vfio-pci")
    check_refused(lab, SHARED, f"also has {SIBLING} (driver virtio-pci)",
                  f"`driverctl set-override {SIBLING} vfio-pci`")
    bind(FOREIGN, "vfio-pci")
    status, text = lab.try_document("apply", document(FOREIGN))
    assert status and f"no driver for '{FOREIGN}'" in text and "net_e1000, " in text, text
    assert not lab.list("port"), lab.list("port")


def port(lab, name):
    return next(p for p in lab.list("port") if p["name"] == name)


# TCP first: it asks again, while a new switch learns who is behind the trunk.
def check_traffic(lab, trunk=True):
    for guest in ("red-1", "red-2"):
        for proto in ("tcp", "ping"):
            seen = lab.probe(proto, guest, "internet", laptops.ROUTER, timeout=10)
            assert seen if proto == "ping" else seen == ADDRESS, f"{proto} {guest}: {seen}"
            assert not trunk or lab.probe(proto, guest, "far", FAR, timeout=10), (
                f"{proto} {guest}, trunk: {labs.drops(lab)}")


# Many bytes, whole and unchanged.
def transfer(lab, to, address):
    receiving = lab.agents[to].start("receive", senders=1, timeout=60)
    receiving()
    sent = lab.agents["red-1"].call("send", address=address, bytes=SIZE, label="red-1", timeout=60)
    got = receiving()["transfers"]["red-1"]
    assert got["bytes"] == SIZE and got["sha256"] == sent["sha256"], f"{to}: {got}"


def test_traffic(lab):
    bind(TRUNK, "vfio-pci")
    lab.apply_document(lab.document)
    for name in ("internet", "lab"):
        now = port(lab, name)
        assert now["type"] == "ethdev" and "reason" not in now, now
    lab.lease()
    lab.agents["far"] = netns.Agent("far", "far")
    check_traffic(lab)
    before = time.monotonic()
    for to, address in (("internet", laptops.ROUTER), ("far", FAR)):
        transfer(lab, to, address)
    took = time.monotonic() - before
    [pid] = labs.processes("insula-switch")
    REPORT(f"2 x {SIZE >> 20} MiB in {took:.1f} s; switch {labs.memory_kib(pid) >> 10} MiB; "
           f"notes: {[port(lab, n).get('note', '') for n in ('internet', 'lab')]}")


# The cards come to a new switch as the taps do.
def test_killed(lab):
    lab.kill("insula-switch")
    check_traffic(lab)
    lab.kill("insulad")
    check_traffic(lab)
    lab.start()
    check_traffic(lab)


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / 100


# No device twice, however it is written.
def test_twice(lab):
    wanted = document()
    wanted["trunks"].append({"name": "again", "devargs": f"pci:{TRUNK}", "allowed": [VLAN]})
    status, text = lab.try_document("apply", wanted)
    assert status and "another port's device" in text, text
    check_traffic(lab)


# Devices of one group share what the switch has open; what another program has open is its own.
def test_group(lab):
    bind(SIBLING, "vfio-pci")
    wanted = document()
    wanted["trunks"] += [{"name": f"extra{n}", "devargs": a, "allowed": [VLAN]}
                         for n, a in enumerate((SHARED, SIBLING))]
    group = os.path.basename(os.readlink(f"{DEVICES}/{SHARED}/iommu_group"))
    held = os.open(f"/dev/vfio/{group}", os.O_RDWR)
    status, text = lab.try_document("apply", wanted)
    assert status and f"another program has '{SHARED}'" in text and "`fuser" in text, text
    os.close(held)
    lab.apply_document(wanted)
    assert port(lab, "extra0")["type"] == port(lab, "extra1")["type"] == "ethdev"
    lab.apply_document(document())
    bind(SIBLING, "")
    assert driver(SIBLING) == "virtio-pci"


# Of the two only the trunk's driver has to be polled: without it the switch sleeps, and packets
# wake it. What is no port any more the kernel may have.
def test_given_back(lab):
    wanted = document()
    del wanted["trunks"]
    lab.apply_document(wanted)
    [pid] = labs.processes("insula-switch")
    before, begin = cpu_s(pid), time.monotonic()
    check_traffic(lab, trunk=False)
    share = (cpu_s(pid) - before) / (time.monotonic() - begin)
    REPORT(f"without the polled device: {share:.0%} of a processor")
    assert share < 0.5, share
    # DPDK could have it now, and must not take it by itself; the right to I/O ports it has taken.
    done = netns.run(os.path.join(os.environ["INSULA_BUILD"], "tests", "unit", "test_eal"),
                     check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "SKIPPED" not in said, said
    bind(TRUNK, "")
    assert driver(TRUNK) == "virtio-pci"
    bind(TRUNK, "vfio-pci")
    lab.apply_document(document())
    check_traffic(lab)


def test_memory_lock(lab):
    assert not lab.stop_insulad()
    assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) == 0
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
    lab.start()
    status, text = lab.try_document("apply", document() | {"settings": {"workers": 1}})
    text += " ".join(lab.warnings())
    assert "of memory locked, 1 MiB are allowed" in text and "`ulimit -l unlimited`" in text, text


REPORT = print


def main():
    global REPORT  # pylint: disable=global-statement
    with open(os.environ["OUTER_REPORT"], "w", encoding="utf-8", buffering=1) as report:
        REPORT = lambda *words: print(*words, file=report)
        with contextlib.redirect_stdout(report):
            lab = laptops.Laptop()
            build(lab)
            print(f"built after {time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s")
            try:
                assert lab.run_cases(globals(), apply=False)
                print("passed")
            except Exception as error:  # pylint: disable=broad-exception-caught
                kernel = netns.run("dmesg").stdout
                print(f"{error}\n{lab.log()[-4000:]}\n{kernel[-2000:]}")


main()
