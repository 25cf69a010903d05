#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The test guest in QEMU, by software emulation: a second opinion that it is a correct driver, by
# devices that are not ours. Needs no /dev/kvm. Called by test_guest_qemu.sh with the guest's path,
# in a network namespace of its own.
import os
import socket
import subprocess
import sys
import tempfile
import threading
import zlib

EXIT_PORT = 0xF4
GOOD = 33 # isa-debug-exit: 0x10 << 1 | 1
SECONDS = 30
TCP_PORT, ECHO_PORT, STOP_PORT = 7777, 7, 9
HOST, GUEST = "10.9.0.1", "10.9.0.2"
STREAM = bytes(range(251)) * 8000
# Without VIRTIO_F_RING_EVENT_IDX and VIRTIO_F_RING_INDIRECT_DESC
PLAIN_RINGS = f"features={~(1 << 28 | 1 << 29) & (1 << 64) - 1:#x}"


class Checks:
    def __init__(self):
        self.failed = 0

    def expect(self, what, good, seen=""):
        print(("ok   " if good else "FAIL ") + what + ("" if good else f": {seen}"))
        self.failed += not good


def run(guest, commands, devices=(), options="", on_line=None):
    """The guest's lines, and whether it ended well. on_line is told of each as it comes."""
    qemu = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", "64", "-nodefaults",
            "-no-reboot", "-display", "none", "-serial", "stdio",
            "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4",
            "-kernel", guest, "-append", f"exit={EXIT_PORT:#x} run={commands} {options}", *devices]
    print(f"# {commands} {options}")
    lines = []
    with subprocess.Popen(qemu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as p:
        killer = threading.Timer(SECONDS, p.kill)
        killer.start()
        for line in p.stdout:
            lines.append(line.strip())
            print("  | " + lines[-1])
            if on_line:
                on_line(lines[-1])
        killer.cancel()
    return lines, p.returncode == GOOD


def nic(backend, *features):
    return ["-netdev", f"{backend},id=net", "-device",
            ",".join(["virtio-net-pci,disable-legacy=on,netdev=net", *features])]


def disk(path, *features):
    return ["-drive", f"if=none,id=disk,format=raw,file={path}", "-device",
            ",".join(["virtio-blk-pci,disable-legacy=on,drive=disk", *features])]


def check_machine(checks, guest, folder):
    image = f"{folder}/disk"
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    devices = [*nic("user"), *disk(image)]
    for options in ("", "ecam=0xb0000000"):
        lines, good = run(guest, "devices,sleep:20", devices, options)
        checks.expect(f"the guest ends well {options}", good, lines)
        checks.expect("it is ready", "guest: ready" in lines, lines)
        found = [line.split()[4] for line in lines if line.startswith("ok device")]
        checks.expect("it finds the nic and the disk", found == ["1", "2"], found)
        naps = [line.split() for line in lines if line.startswith("ok sleep")]
        checks.expect("it sleeps once, until its timer ends that",
                      naps and 20000 <= int(naps[0][2]) < 1000000 and int(naps[0][4]) <= 3, naps)
    lines, good = run(guest, "fault")
    told = any("vector 6 " in line and "ring 3" in line for line in lines)
    checks.expect("an exception is told and ends it badly", told and not good, lines)
    lines, good = run(guest, "no-such-command")
    checks.expect("so does an unknown command", not good and "guest: failed" in lines, lines)


def serve_streams(server):
    """What the guest's own responder does: takes a stream, answers with its length and CRC."""
    while True:
        peer, _ = server.accept()
        size, crc = 0, 0
        while piece := peer.recv(65536):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
        peer.sendall(f"{size} {crc:08x}\n".encode())
        peer.close()


def serve_datagrams(server):
    while True:
        data, peer = server.recvfrom(65536)
        server.sendto(data, peer)


def host_serves():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    streams = socket.create_server(("", TCP_PORT))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", ECHO_PORT))
    threading.Thread(target=serve_streams, args=[streams], daemon=True).start()
    threading.Thread(target=serve_datagrams, args=[datagrams], daemon=True).start()


def ask_guest(answers):
    """Of the guest that serves: echo, a datagram, a stream; then stops it."""
    answers["ping"] = subprocess.run(["ping", "-c3", "-i0.1", "-s1400", "-W2", GUEST],
                                     stdout=subprocess.DEVNULL, check=False).returncode == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(STREAM[:1400], (GUEST, ECHO_PORT))
        answers["datagram"] = s.recv(2000) == STREAM[:1400]
        with socket.create_connection((GUEST, TCP_PORT), 5) as stream:
            stream.sendall(STREAM)
            stream.shutdown(socket.SHUT_WR)
            expected = f"{len(STREAM)} {zlib.crc32(STREAM):08x}\n"
            answers["stream"] = stream.makefile().read() == expected
        s.sendto(b"stop", (GUEST, STOP_PORT))


def check_user_net(checks, guest):
    """QEMU's own network: DHCP, and a gateway that is not Linux."""
    gateway = "10.0.2.2"
    lines, good = run(guest, f"dhcp,ping:{gateway}:3,udp-echo:{gateway}:{ECHO_PORT}:5:900,"
                      f"tcp:{gateway}:{TCP_PORT}:200000,no-ping:10.0.2.77:1", nic("user"))
    checks.expect("DHCP, echo, UDP and TCP in QEMU's own network", good, lines)
    given = [line for line in lines if line.startswith("ok dhcp")]
    checks.expect("the lease is told",
                  given == [f"ok dhcp 10.0.2.15/24 gateway {gateway} lease 86400"], given)
    lines, good = run(guest, "ip:10.0.2.15:24,ping:10.0.2.77:1", nic("user"))
    checks.expect("who does not answer is told", not good and "guest: failed" in lines, lines)


def check_tap(checks, guest, name, features, options):
    """Linux on a tap: with checksums left to the other side, segmentation, merged buffers."""
    answers = {}

    def on_line(line):
        if line == "ok serve listens":
            try:
                ask_guest(answers)
            except OSError as error:
                answers["error"] = error

    lines, good = run(guest, f"nic:0,ip:{GUEST}:24,arp:{HOST},ping:{HOST}:5:1000:1400,"
                      f"udp-echo:{HOST}:{ECHO_PORT}:5:1400,tcp:{HOST}:{TCP_PORT}:2000000,serve:10",
                      nic("tap,ifname=tap0,script=no,downscript=no", *features), options, on_line)
    checks.expect(f"{name}: the guest asks", good, lines)
    checks.expect(f"{name}: the guest answers",
                  answers == {"ping": True, "datagram": True, "stream": True}, answers)
    served = f"ok serve echoes 3 datagrams 1 streams 1 bytes {len(STREAM)} dropped 0"
    checks.expect(f"{name}: it counts", served in lines, lines)


def check_taps(checks, guest):
    for command in ("tuntap add tap0 mode tap vnet_hdr", "link set tap0 up",
                    f"address add {HOST}/24 dev tap0"):
        subprocess.run(["ip", *command.split()], check=True)
    check_tap(checks, guest, "all features", [], "")
    check_tap(checks, guest, "no offloads, plain rings", [], f"offloads=0 {PLAIN_RINGS}")
    check_tap(checks, guest, "buffers not merged, no MSI-X, polling",
              ["mrg_rxbuf=off", "guest_tso4=off", "vectors=0"], "poll")
    check_tap(checks, guest, "no MSI-X", ["vectors=0"], "")


def check_two_nics(checks, guest):
    """On one hub: frames go round, and one nic asks the other."""
    devices = []
    for i in range(2):
        devices += ["-netdev", f"hubport,id=net{i},hubid=0", "-device",
                    f"virtio-net-pci,disable-legacy=on,netdev=net{i},mac=52:54:00:00:00:0{i + 1}"]
    lines, good = run(guest, f"nic:0,ip:{HOST}:24,nic:1,ip:{GUEST}:24,circulate:64:60:1:4,"
                      f"ping:{GUEST}:2", devices)
    checks.expect("frames go round between two nics", good, lines)
    went = [line.split() for line in lines if line.startswith("ok circulate")]
    checks.expect("many times", went and int(went[0][2]) > 64 * 20, went)


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def pattern(seed, offset, size):
    """What the guest writes at an offset of a disk; whole words."""
    words = range(offset // 8, (offset + size) // 8)
    return b"".join(splitmix64(seed + w).to_bytes(8, "little") for w in words)


def check_disks(checks, guest, folder):
    image = f"{folder}/disk"
    for name, options in (("all features", ""), ("plain rings", PLAIN_RINGS)):
        with open(image, "wb") as f:
            f.truncate(8 << 20)
        lines, good = run(
            guest, "disk:0,blk-id,blk-is-zero:99:2,blk-write:100:5000:7,blk-verify:100:5000:7:3,"
            "blk-write:300:77:8:1,blk-flush,blk-verify:100:200:7:128,blk-verify:300:77:8,"
            "blk-zero:8000:1000,blk-discard:9000:8,blk-is-zero:8000:20,blk-refused:read:16384:1,"
            "blk-refused:write:16383:2,blk-refused:77:0:1",
            disk(image, "serial=a-serial"), options)
        checks.expect(f"{name}: the guest writes, reads and compares", good, lines)
        checks.expect(f"{name}: it reads the size", any(
            line.startswith("ok disk 0 sectors 16384 ") for line in lines), lines)
        checks.expect(f"{name}: it reads the serial number", "ok blk-id a-serial" in lines, lines)
        with open(image, "rb") as f:
            content = f.read()
        expected = bytearray(8 << 20)
        expected[100 * 512:5100 * 512] = pattern(7, 100 * 512, 5000 * 512)
        expected[300 * 512:377 * 512] = pattern(8, 300 * 512, 77 * 512)
        checks.expect(f"{name}: the file has what was written", content == expected)
    lines, good = run(guest, "blk-verify:100:10:9", disk(image))
    checks.expect("a wrong pattern is told", not good and any(
        line.startswith("fail blk-verify: sector 100 byte 0 is") for line in lines), lines)


def check_hostile(checks, guest):
    """That each lie is told, and that the guest drives the device again afterwards."""
    numbers = [14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29]
    told = [f"hostile:H-{n}:5" for n in numbers]
    # QEMU 7.2 dies of 4 and 5 of H-22 (a chain shorter than the header), and of 16 of H-31 (the
    # size of a live queue).
    told += [f"hostile:H-22:5:{n}" for n in range(1, 12) if n not in (4, 5)]
    told += [f"hostile:H-31:5:{n}" for n in range(1, 27) if n != 16]
    lines, good = run(guest, ",".join([*told, "dhcp", "ping:10.0.2.2:1"]), nic("user"))
    checks.expect("the guest lies and works again", good and "guest: done" in lines, lines[-3:])
    for number in (*numbers, 22, 31):
        seen = [line for line in lines if line.startswith(f"ok hostile H-{number} lies")]
        checks.expect(f"H-{number} is told", seen, lines[-3:])
    seen = [line for line in lines if line.startswith("ok hostile H-15 ") and "lies" not in line]
    checks.expect("QEMU gives up at each H-15",
                  len(seen) == 4 and all("needs-reset" in line for line in seen), seen)
    seen = [line for line in lines if line.startswith("ok hostile H-18 12 legal")]
    # The frame that showed that the rings are served, and this one.
    checks.expect("and takes what is legal", seen and " tx 2 " in seen[0], seen)
    lines, good = run(guest, "exit-storm:20,serial-flood:1,triple-fault,devices")
    checks.expect("a triple fault ends it", not good and lines[-1] == "ok triple-fault begins",
                  lines)


def main():
    checks = Checks()
    guest = os.path.realpath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        check_machine(checks, guest, folder)
        host_serves()
        check_user_net(checks, guest)
        check_taps(checks, guest)
        check_two_nics(checks, guest)
        check_disks(checks, guest, folder)
        check_hostile(checks, guest)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
