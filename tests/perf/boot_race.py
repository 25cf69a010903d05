# SPDX-License-Identifier: BSD-3-Clause
# boot_race.py INSULA_VMM KERNEL INITRD ROUNDS: starts insula-vmm and QEMU's microvms by turns with
# the same guest, whose /init says MARK first. Tells on $OUTER_REPORT, for each, its name and the
# seconds from its start to that, and "done" at last. figures_boot.py runs it in the outer machine,
# or uses its functions where the host's KVM boots Linux.
import mmap
import os
import select
import subprocess
import sys
import time

MARK, SECONDS = b"boot_race: init", 60
SPARED = 100 << 20
INSULA = "insula"
# No PIT, but an RTC, which the kernel else looks for in 40,000 exits. The serial port's interrupt
# needs ACPI or the PIC; neither is always the faster one.
MICROVMS = {"microvm_acpi": "microvm,accel=kvm,pit=off,pic=off,acpi=on",
            "microvm_pic": "microvm,accel=kvm,pit=off,pic=on,acpi=off"}
MEMORY_MIB, CMDLINE = 256, "console=ttyS0 quiet panic=-1"


class BootFailed(Exception):
    pass


def command(arm, vmm, kernel, initrd):
    if arm == INSULA:
        return [vmm, "--kernel", kernel, "--initrd", initrd, "--memory", str(MEMORY_MIB),
                "--cmdline", CMDLINE]
    return ["qemu-system-x86_64", "-M", MICROVMS[arm], "-cpu", "host", "-m", str(MEMORY_MIB),
            "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", CMDLINE]


# From the start of the process until the guest's /init has said so on the serial port.
def seconds(line, limit=SECONDS):
    begin, heard = time.monotonic(), b""
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as vmm:
        try:
            while MARK not in heard:
                left = begin + limit - time.monotonic()
                if left <= 0 or not select.select([vmm.stdout], [], [], left)[0]:
                    raise BootFailed(f"{line[0]}: no init within {limit} s: {_end(heard)}")
                piece = os.read(vmm.stdout.fileno(), 65536)
                if not piece:
                    raise BootFailed(f"{line[0]}: ended before init: {_end(heard)}")
                heard += piece
            return time.monotonic() - begin
        finally:
            vmm.kill()


def _end(heard):
    return heard.decode(errors="replace")[-500:].strip() or "it said nothing"


# Has all free memory cleared. The outer machine's QEMU keeps translations of what a guest ran, by
# page; the next guest, of whichever arm, would pay a second or none for what the last one left.
def forget():
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemFree:"))
    mmap.mmap(-1, (free << 10) - SPARED,
              flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


# (name, seconds) of each start. One of each goes before and counts for nothing: then programs,
# libraries, kernel and initrd are in the page cache.
def race(vmm, kernel, initrd, rounds, before=lambda: None):
    lines = [(arm, command(arm, vmm, kernel, initrd)) for arm in (INSULA, *MICROVMS)]
    for number in range(rounds + 1):
        for arm, line in lines:
            before()
            took = seconds(line)
            if number > 0:
                yield arm, took


def main():
    vmm, kernel, initrd, rounds = sys.argv[1:]
    with open(os.environ["OUTER_REPORT"], "w", encoding="utf-8") as report:
        try:
            for arm, took in race(vmm, kernel, initrd, int(rounds), forget):
                print(arm, took, file=report, flush=True)
        except (BootFailed, OSError) as error:
            print("failed", " ".join(str(error).split()), file=report, flush=True)
        else:
            print("done", file=report, flush=True)


if __name__ == "__main__":
    main()
