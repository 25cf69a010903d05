# SPDX-License-Identifier: BSD-3-Clause
# vmm_boot_inside.py INSULA_VMM KERNEL INITRD DEVICES_INITRD: inside the outer machine; see
# vmm_boot.py. Tells what happened on $OUTER_REPORT, "done" at last.
import hashlib
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

# pylint: disable=wrong-import-position
import vmm_client

MIB = 1 << 20
MAC = "02:00:00:00:00:77"
PAUSE = 2
SECONDS = 60


class Guest:
    def __init__(self, report, *options):
        self.report, self.lines = report, []
        # pylint: disable=consider-using-with
        self.vmm = subprocess.Popen(options, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT)

    # Reads the console until a line that begins with `word`; returns what is behind it.
    def wait(self, word):
        for raw in self.vmm.stdout:
            line = raw.decode(errors="replace").strip()
            self.lines.append(line)
            if line.startswith(word):
                print(line, file=self.report, flush=True)
                return line[len(word):]
        raise RuntimeError("the guest ended before '%s':\n%s" % (word, "\n".join(self.lines[-30:])))

    def say(self, word):
        self.vmm.stdin.write(word.encode() + b"\n")
        self.vmm.stdin.flush()

    def status(self):
        self.vmm.stdout.read()
        return self.vmm.wait()


def expect(what, found, wanted):
    if found != wanted:
        raise RuntimeError(f"{what}: {found}, not {wanted}")


def boot(report, vmm, kernel, initrd):
    guest = Guest(report, vmm, "--kernel", kernel, "--initrd", initrd, "--memory", "256", "--cpus",
                  "2", "--cmdline", "console=ttyS0 quiet panic=-1")
    for word in ("reboot", "off"):
        expect("the guest", guest.wait("up:"), " 2 processors, 192 MiB, clock kvm-clock")
        expect("serial interrupts", guest.wait("interrupts:"), " 1")
        guest.say(word)
        guest.wait("heard " + word)
    expect("exit status", guest.status(), 0)


def md5(path, size, offset=0):
    with open(path, "rb") as file:
        file.seek(offset)
        return hashlib.md5(file.read(size)).hexdigest() + "  -"


# How often the disk was told to write its cache: a field of the kernel's
# Documentation/block/stat.rst.
def flushes(device):
    with open(f"/sys/block/{device}/stat", encoding="ascii") as file:
        return int(file.read().split()[15])


# MiB of the guest's memory that the host has made.
def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssShmem")) // 1024


def until(what, condition):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {SECONDS} s: {what}")
        time.sleep(0.05)


# A disk whose content the outer side sees at `path`.
def check_disk(guest, name, path, size, serial):
    expect("the disk", guest.wait(name + ":"), f" {size // 512} {serial} 512 0")
    wrote = guest.wait(f"{name} wrote:").strip()
    expect("what is read", guest.wait(f"{name} read:").strip(), wrote)
    guest.wait(f"{name} flushed")
    expect("the outer side's content", md5(path, 512 << 10, 128 << 10), wrote)
    guest.say("discard")
    guest.wait(f"{name} discarded")
    guest.say("on")


def check_memory(guest):
    guest.wait("filled")
    full = resident(guest.vmm.pid)
    guest.say("free")
    guest.wait("freed")
    until("free pages come back", lambda: resident(guest.vmm.pid) < full - 50)
    print(f"reported free: {full - resident(guest.vmm.pid)} MiB", file=guest.report, flush=True)
    guest.say("on")
    expect("the balloon", guest.wait("ballooned:"), f" {16 * MIB // 4096}")
    guest.say("on")


# A disk and a network card, found by the kernel when they are plugged in, gone when it has let go.
def check_plug(guest, api):
    plugged, listener = "/run/vdd", socket.socket(socket.AF_UNIX)
    with open(plugged, "wb+") as f:
        f.truncate(MIB)
        api.hand("disk", f.fileno())
    listener.bind("/run/eth0")
    listener.listen(1)
    listener.setblocking(False)
    api.hand("nic", listener.fileno())
    expect("a disk plugged in",
           api.put("/v1/disks/new", {"file": "disk", "serial": "plugged"}), (204, None))
    expect("a card plugged in", api.put("/v1/nics/new0", {"vhost-user": "nic", "mac": MAC}),
           (204, None))
    expect("what was plugged in", guest.wait("plugged:"), f" plugged {MAC}")
    wrote = guest.wait("vdd wrote:").strip()
    expect("the outer side's content", md5(plugged, 256 << 10), wrote)
    for path in ("/v1/disks/new", "/v1/nics/new0"):
        expect("unplugged", api.ask("DELETE", path + "?timeout=60"), (204, None))
    guest.say("on")
    guest.wait("unplugged")
    expect("the devices that are left", [d["id"] for d in api.info()["devices"]
                                         if d["id"].startswith("new")], [])
    guest.say("on")


# The guest's clock stands still.
def check_pause(guest, api):
    before, begin = float(guest.wait("uptime:")), time.monotonic()
    expect("paused", api.put("/v1/pause"), (204, None))
    time.sleep(PAUSE)
    expect("resumed", api.put("/v1/resume"), (204, None))
    guest.say("on")
    missed = time.monotonic() - begin - (float(guest.wait("uptime:")) - before)
    if not PAUSE - 0.5 < missed < PAUSE + 5: # the words' way takes time, too
        raise RuntimeError(f"a pause of {PAUSE} s is {missed} s of the guest's clock")
    print(f"clock stood still: {missed:.1f} s", file=guest.report, flush=True)


def devices(report, vmm, kernel, initrd):
    file, readonly = "/run/vda", "/run/vdc"
    with open(file, "wb") as f:
        f.truncate(32 * MIB)
    with open(readonly, "wb") as f:
        f.write(os.urandom(MIB))
    api = vmm_client.Api("/run/api")
    guest = Guest(report, vmm, "--kernel", kernel, "--initrd", initrd, "--memory", "256", "--cpus",
                  "2", "--cmdline", "quiet panic=-1", "--no-reboot", "--console", "virtio",
                  "--api", api.path, "--hotplug", "1",
                  "--rng", "--balloon", "16", "--disk", f"file={file},serial=first,queues=2",
                  "--disk", "file=/dev/vda,serial=second,direct",
                  "--disk", f"file={readonly},readonly")
    guest.wait("hvc0: up")
    guest.say("word")
    guest.wait("heard word")
    expect("the rng", guest.wait("rng:"), " virtio_rng.0")
    if int(guest.wait("random:")) < 1024:
        raise RuntimeError("random bytes that can be packed")
    check_disk(guest, "vda", file, 32 * MIB, "first")
    begin = flushes("vda")
    check_disk(guest, "vdb", "/dev/vda", 64 * MIB, "second")
    if flushes("vda") - begin < 6:
        raise RuntimeError(f"{flushes('vda') - begin} flushes reached the disk, of 6")
    expect("blocks of the file after a discard", os.stat(file).st_blocks, 0)
    expect("vdc", guest.wait("vdc:"), " 1 " + md5(readonly, 256 << 10))
    check_memory(guest)
    check_plug(guest, api)
    check_pause(guest, api)
    expect("exit status", guest.status(), 0)


def main():
    with open(os.environ["OUTER_REPORT"], "w", encoding="utf-8") as report:
        try:
            boot(report, *sys.argv[1:4])
            devices(report, *sys.argv[1:3], sys.argv[4])
        except (RuntimeError, OSError, vmm_client.Wrong) as error:
            print(error, file=report, flush=True)
        else:
            print("done", file=report, flush=True)


main()
