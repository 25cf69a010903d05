# SPDX-License-Identifier: BSD-3-Clause
# The outer machine: Debian's stock kernel in QEMU's emulation of an AMD processor, with this host's
# root file system, read-only under a layer in memory, as its own. Every program that is built or
# installed here runs there as root, next to modules, /dev/kvm, cgroups and disks that the host need
# not have; and it may lose its power. Used by tests of kind e2e.
import glob
import os
import shutil
import subprocess
import time

import initramfs

LIB = os.path.dirname(os.path.abspath(__file__))
# 9p and overlay are its root; the report's port.
BASE = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
INIT = """
mkdir -p /ro /rw /new
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=1048576,cache=loose root /ro
mount -t tmpfs tmpfs /rw
mkdir -p /rw/u /rw/w
mount -t overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w ov /new
cp /job /new/outer-job
for d in proc sys dev; do mount --move /$d /new/$d; done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts pts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/run
exec switch_root /new /bin/bash /outer-job
"""
DEATH, DIES = "Kernel panic - not syncing", "oops=panic softlockup_panic=1"
# A timer that is set anew by each of its interrupts stands still for ever when one is lost.
TICK = "nohz=off highres=off"
STILL_S, WATCH_S, PROCESSORS = 60, 0.1, "01" # one that says nothing for so long stands still
# A machine that is not told to lose its power is switched off when its job is done. Each of its
# processors says every second that it goes on.
JOB = """#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
exec </dev/null
mkdir -p /run/lock
ip link set lo up
cd {directory}
{environment}
export OUTER_REPORT=$(echo /dev/vport*p1)
for cpu in 0 1; do
    taskset -c $cpu bash -c "while echo $cpu; do sleep 1; done" &
done >$(echo /dev/vport*p2)
timeout {seconds} {command} || echo "outer: the job ended with $?"
echo o >/proc/sysrq-trigger
while :; do :; done # no program: files may be gone before the power is
"""


# What it takes that is not there: a sentence with the command that mends it, "" if nothing is.
def lacks():
    if not shutil.which("qemu-system-x86_64"):
        return "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
    busybox = shutil.which("busybox")
    applets = busybox and subprocess.run([busybox, "--list"], capture_output=True, text=True,
                                         check=False).stdout.split()
    if not {"insmod", "switch_root"} <= set(applets or ()):
        return "busybox with insmod and switch_root is missing: apt-get install busybox-static"
    return "" if shutil.which("modprobe") else "modprobe is missing: apt-get install kmod"


# The folder of guest_kernel.sh; raises with its reason.
def kernel():
    done = subprocess.run([os.path.join(LIB, "guest_kernel.sh"), "outer"], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout.strip() or done.stderr.strip())
    return done.stdout.strip()


# The modules and what they need, in the order to load them.
def _in_order(folder, modules):
    [version] = os.listdir(os.path.join(folder, "lib", "modules"))
    shown = subprocess.run(["modprobe", "-d", folder, "-S", version, "-D", "-a", *modules],
                           text=True, capture_output=True, check=True).stdout
    names = [os.path.basename(line.split()[1])[:-3] for line in shown.splitlines()
             if line.startswith("insmod ")]
    return list(dict.fromkeys(names))


class Machine:
    """Boots one machine after the other from one kernel and set of modules."""

    def __init__(self, directory, modules=(), memory_mib=1024, still_s=STILL_S):
        self.directory, self.memory_mib, folder = directory, memory_mib, kernel()
        self.still_s, self.qemu = still_s, None
        self.folder, self.modules = folder, _in_order(folder, (*BASE, *modules))
        self.number = 0

    # Runs `command` (a list) in it; returns when the machine is off, or after `seconds`, when it is
    # killed, with what the command wrote to its report (the path in $OUTER_REPORT), as lines. A
    # write to the report returns when this side has it. `hardware`: QEMU's options for a machine
    # other than the plain one; `words`: of its kernel's command line. One whose kernel dies or
    # stands still is started anew, up to `deaths` times (README.md), with the disks as they are.
    def run(self, command, seconds, disks=(), environment=(), hardware=(), words="", deaths=0):
        for _ in range(deaths):
            told = self._once(command, seconds, disks, environment, hardware, words)
            if DEATH not in (last := self.last_words(1 << 20)) and not self.still:
                return told
            print(f"outer: its kernel {'stands still' if self.still else 'died'}:\n{last}",
                  flush=True)
        return self._once(command, seconds, disks, environment, hardware, words)

    # Until it is off, its time is over, or it stands still: for still_s one of the processors that
    # said so has not said again that it goes on, or none has for STILL_S. The last two end it by
    # force; returns whether that was so.
    def _watch(self, seconds, beats):
        begin = time.monotonic()
        counts, last, self.still = {}, {}, False
        while self.qemu.poll() is None and not self.still:
            now = time.monotonic()
            if now > begin + seconds:
                return True
            with open(beats, encoding="ascii", errors="replace") as file:
                said = file.read()
            last |= {cpu: now for cpu in PROCESSORS if said.count(cpu) > counts.get(cpu, 0)}
            counts = {cpu: said.count(cpu) for cpu in PROCESSORS}
            self.still = (now > min(last.values()) + self.still_s if last
                          else now > begin + STILL_S)
            time.sleep(WATCH_S)
        return self.still

    def _once(self, command, seconds, disks, environment, hardware, words):
        self.number += 1
        image, report, beats, self.console = (os.path.join(self.directory, name) for name in (
            "initramfs", *(f"{what}{self.number}" for what in ("report", "beats", "console"))))
        command = " ".join(f"'{word}'" for word in command)
        settings = "\n".join(f"export {k}='{v}'" for k, v in dict(environment).items())
        job = JOB.format(directory=os.getcwd(), seconds=seconds, command=command,
                         environment=settings)
        initramfs.write(image, self.folder, self.modules, {"init": INIT, "job": job})
        line = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max,+svm"]
        line += ["-m", str(self.memory_mib), "-nodefaults", "-no-user-config", "-display", "none"]
        line += ["-no-reboot", "-serial", f"file:{self.console}", "-initrd", image]
        line += ["-kernel", glob.glob(os.path.join(self.folder, "boot", "vmlinuz-*"))[0]]
        line += ["-append", f"console=ttyS0 panic=-1 {DIES} {TICK} quiet {words}"]
        line += hardware
        line += ["-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,"
                 "multidevs=remap"]
        line += ["-device", "virtio-serial-pci,max_ports=3"]
        for n, path in enumerate((report, beats), 1):
            line += ["-chardev", f"file,id=c{n},path={path}"]
            line += ["-device", f"virtserialport,chardev=c{n},nr={n}"]
        for disk in disks:
            line += ["-drive", f"file={disk},format=raw,if=virtio,cache=writeback"]
        begin = time.monotonic()
        open(beats, "w", encoding="ascii").close()
        with subprocess.Popen(line, stdin=subprocess.DEVNULL) as self.qemu:
            try:
                self.killed = self._watch(seconds, beats)
            finally:
                self.qemu.kill()
        self.seconds = time.monotonic() - begin
        with open(report, encoding="utf-8", errors="replace") as file:
            return file.read().split("\n")[:-1]

    # The end of what was on the last one's console.
    def last_words(self, size=3000):
        with open(self.console, encoding="utf-8", errors="replace") as file:
            return file.read()[-size:]
