#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The test guest in QEMU, by software emulation: a second opinion that it is a correct driver, by
# devices that are not ours. Needs no /dev/kvm. Called by test_guest_qemu.sh with the guest's path.
import subprocess
import sys
import tempfile

EXIT_PORT = 0xF4
GOOD = 33 # isa-debug-exit: 0x10 << 1 | 1
SECONDS = 30


class Checks:
    def __init__(self):
        self.failed = 0

    def expect(self, what, good, seen=""):
        print(("ok   " if good else "FAIL ") + what + ("" if good else f": {seen}"))
        self.failed += not good


def run(guest, commands, devices=(), options=""):
    """The guest's lines, and whether it ended well."""
    qemu = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", "64", "-nodefaults",
            "-no-reboot", "-display", "none", "-serial", "stdio",
            "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4",
            "-kernel", guest, "-append", f"exit={EXIT_PORT:#x} run={commands} {options}", *devices]
    done = subprocess.run(qemu, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS)
    lines = done.stdout.splitlines()
    print(f"# {commands} {options}\n  | " + "\n  | ".join(lines + done.stderr.splitlines()))
    return lines, done.returncode == GOOD


def nic(*features):
    return ["-netdev", "user,id=net", "-device",
            ",".join(["virtio-net-pci,disable-legacy=on,netdev=net", *features])]


def disk(path, *features):
    return ["-drive", f"if=none,id=disk,format=raw,file={path}", "-device",
            ",".join(["virtio-blk-pci,disable-legacy=on,drive=disk", *features])]


def check_machine(checks, guest, folder):
    image = f"{folder}/disk"
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    devices = [*nic(), *disk(image)]
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


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        check_machine(checks, sys.argv[1], folder)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
