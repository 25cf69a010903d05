# SPDX-License-Identifier: BSD-3-Clause
# An unmodified Debian kernel behind a vhost-user port, in stock QEMU, from the YAML on: it gets its
# lease, pings and exchanges checksummed data with a neighbour on a tap, and goes on when the switch
# is killed; the other tenant hears nothing. The machine listens, the switch connects. Argument: the
# folder of guest_kernel.sh. Runs in a sandbox. instances_inside.py has guests of insula-vmm.
import glob
import hashlib
import http.server
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "net"))

# pylint: disable=wrong-import-position
import initramfs
import kill
import netns
import sandbox
import vhost

GUEST, NEIGHBOUR, OTHERS = "red-2", "red-1", ("blue-1", "blue-2")
PORT, SIZE = 8080, 8 << 20
BOOT_S, SAID_S = 60, 20
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "failover", "net_failover", "virtio_net")
# What it prints is what is tested.
INIT = f"""
echo QUEUES $(ls /sys/class/net/eth0/queues | wc -l)
ip link set lo up
udhcpc -i eth0 -n -q -t 20 -T 1 -s /lease
ping -c 3 -W 5 NEIGHBOUR && echo PINGED
echo DOWN $(wget -q -O - http://NEIGHBOUR:{PORT}/ | sha256sum)
# text: what busybox posts ends at a zero byte
dd if=/dev/urandom bs=48k count={SIZE >> 16} 2>/dev/null | base64 -w 0 >/data
wget -q -O - --post-file /data http://NEIGHBOUR:{PORT}/
echo UP $(sha256sum </data)
n=0
while :; do
	ping -c 1 -W 1 NEIGHBOUR >/dev/null && n=$((n + 1)) && echo TICK $n
	sleep 0.1
done
"""
LEASE = """#!/bin/busybox sh
[ "$1" = deconfig ] && ip link set eth0 up
[ "$1" = bound ] && ip address add $ip/$mask dev eth0 && ip route add default via $router
[ "$1" = bound ] && echo LEASE $ip
exit 0
"""
DATA = os.urandom(SIZE)


class Neighbour(http.server.BaseHTTPRequestHandler):
    """Gives DATA; prints the hash of what it is sent."""

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):  # pylint: disable=invalid-name
        self.answer(DATA)

    def do_POST(self):  # pylint: disable=invalid-name
        data = self.rfile.read(int(self.headers["Content-Length"]))
        print("TOOK", hashlib.sha256(data).hexdigest(), len(data), flush=True)
        self.answer(b"")


def serve():
    print("GIVES", hashlib.sha256(DATA).hexdigest(), flush=True)
    http.server.HTTPServer(("", PORT), Neighbour).serve_forever()


def start_neighbour(lab):
    space = next(i.netns for i in lab.policy.instances if i.name == NEIGHBOUR)
    log = os.path.join(lab.directory, "neighbour.log")
    with open(log, "w", encoding="utf-8") as out:
        netns.popen([*netns.inside(space), sys.executable, __file__, "serve"], stdout=out)
    wait_said(log, "GIVES")
    return log


def make_image(lab, kernel):
    image = os.path.join(lab.directory, "initramfs")
    init = INIT.replace("NEIGHBOUR", lab.addresses[NEIGHBOUR])
    initramfs.write(image, kernel, MODULES, {"init": init, "lease": LEASE})
    return image


def start_qemu(lab, kernel, image, log):
    command = ["qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config"]
    command += ["-display", "none", "-no-reboot", "-serial", f"file:{log}"]
    command += ["-object", "memory-backend-memfd,id=memory,size=256M,share=on"]
    command += ["-machine", "q35,memory-backend=memory"]
    command += ["-kernel", kernel, "-initrd", image]
    command += ["-append", "console=ttyS0 quiet panic=-1"]
    command += ["-chardev", f"socket,id=port,server=on,path={vhost.socket_of(lab, GUEST)}"]
    command += ["-netdev", "vhost-user,id=net,chardev=port"]
    # vectors=0: without KVM, QEMU 7.2 crashes when a guest masks an MSI-X vector of a vhost device.
    mac = vhost.port(lab, GUEST)["mac"]
    command += ["-device", f"virtio-net-pci,netdev=net,mac={mac},vectors=0,romfile="]
    return netns.popen(command)


# What the last whole line that begins with `word` says after it; None while there is none.
def said(log, word):
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file.read().split("\n")[:-1]]
    except FileNotFoundError:
        return None
    return next((line[1:] for line in reversed(lines) if line[:1] == [word]), None)


def wait_said(log, word, seconds=SAID_S):
    try:
        vhost.until(f"{log} says {word}", lambda: said(log, word) is not None, seconds)
    except netns.CommandFailed:
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
            print(text[:3000], "...", text[-1000:])
        raise
    return said(log, word)


def check(lab, folder):
    console = os.path.join(lab.directory, "console.log")
    kernel = glob.glob(os.path.join(folder, "boot", "vmlinuz-*"))[0]
    neighbour = start_neighbour(lab)
    before = {name: vhost.port(lab, name)["tx_packets"] for name in OTHERS}
    machine = start_qemu(lab, kernel, make_image(lab, folder), console)
    assert wait_said(console, "QUEUES", BOOT_S) == ["2"], said(console, "QUEUES")
    wanted = next(i.address for i in lab.policy.instances if i.name == GUEST)
    assert wait_said(console, "LEASE", BOOT_S) == [wanted], said(console, "LEASE")
    vhost.wait_state(lab, GUEST, "up")
    print("ok boots and gets its lease", flush=True)
    wait_said(console, "PINGED")
    assert wait_said(console, "DOWN")[:1] == said(neighbour, "GIVES"), "data to the guest differ"
    sent = wait_said(console, "UP")[0]
    assert [sent, str(SIZE)] == wait_said(neighbour, "TOOK"), "data from the guest differ"
    print("ok pings, takes and sends data", flush=True)
    after = {name: vhost.port(lab, name)["tx_packets"] for name in OTHERS}
    assert after == before, f"the other tenant got frames: {before} -> {after}"
    print("ok nothing reaches the other tenant", flush=True)

    wait_said(console, "TICK")
    switch = kill.only("insula-switch")
    kill.kill(switch)
    kill.wait_new("insula-switch", switch)
    last = int(said(console, "TICK")[0])
    vhost.until("the guest is heard again", lambda: int(said(console, "TICK")[0]) > last + 3,
                SAID_S)
    assert machine.poll() is None, "it died with the switch"
    print("ok goes on when the switch is killed", flush=True)
    machine.kill()
    machine.wait()
    vhost.wait_state(lab, GUEST, "down")


if sys.argv[1] == "serve":
    serve()
else:
    with vhost.make_lab(sandbox.DIRECTORY, GUEST, queues=1) as made:
        check(made, sys.argv[1])
