# SPDX-License-Identifier: BSD-3-Clause
# boot.vs_qemu_microvm: from a process' start to its guest's init, insula-vmm beside QEMU's microvm,
# of two settings the faster one; see README.md. Called by bench.py.
import glob
import os
import subprocess
import tempfile

import boot_race
import initramfs
import lab as labs
import netns
import outer

NAMES = ("boot.vs_qemu_microvm",)
BUILD = os.path.realpath(os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build")))
# Of the outer machine: two may lock up (tests/README.md), and need both of a small host's, which
# has other things to do.
ONE_PROCESSOR = ("-smp", "1")
DIRECT_S = 10  # the host's KVM boots Linux within that, or it does not
INIT = f"#!/bin/busybox sh\necho '{boot_race.MARK.decode()}'\nexec /bin/busybox sleep 1000000\n"


# Debian's cloud kernel, as the tests of kind e2e have it: the folder of guest_kernel.sh.
def _guest_kernel():
    done = subprocess.run([os.path.join(labs.ROOT, "tests", "lib", "guest_kernel.sh"), "guest"],
                          text=True, capture_output=True, check=False)
    if done.returncode:
        raise netns.CommandFailed(done.stdout.strip() or done.stderr.strip())
    return done.stdout.strip()


def _boots_here(vmm, kernel, initrd):
    try:
        boot_race.seconds(boot_race.command(boot_race.INSULA, vmm, kernel, initrd), DIRECT_S)
    except boot_race.BootFailed:
        return False
    return True


# What boot_race.py tells in the outer machine, as race() has it.
def _outside(bench, folder, *arguments):
    if lacks := outer.lacks():
        raise netns.CommandFailed(lacks)
    try:
        machine = outer.Machine(folder, ("kvm-amd",), memory_mib=1024)
    except RuntimeError as error:
        raise netns.CommandFailed(str(error)) from error
    limit = 60 + 3 * (bench.rounds + 1) * boot_race.SECONDS
    told = machine.run(["/usr/bin/python3", boot_race.__file__, *arguments, str(bench.rounds)],
                       limit, deaths=1, hardware=ONE_PROCESSOR)
    if told[-1:] != ["done"]:
        why = told[-1] if told and told[-1].startswith("failed") else \
            f"ended after {machine.seconds:.0f} s, {len(told)} boots: {machine.last_words(500)}"
        raise netns.CommandFailed(f"in the outer machine: {why}")
    return [(arm, float(took)) for arm, took in map(str.split, told[:-1])]


def measure(bench):
    vmm = os.path.join(BUILD, "vmm", "insula-vmm")
    with tempfile.TemporaryDirectory() as folder:
        source, initrd = _guest_kernel(), os.path.join(folder, "initrd")
        [kernel] = glob.glob(os.path.join(source, "boot", "vmlinuz-*"))
        initramfs.write(initrd, source, (), {"init": INIT.encode()})
        try:
            here = _boots_here(vmm, kernel, initrd)
            bench.say("boot: " + ("directly" if here else "in the outer machine"))
            found = (boot_race.race(vmm, kernel, initrd, bench.rounds) if here else
                     _outside(bench, folder, vmm, kernel, initrd))
            for arm, took in found:
                bench.sample(f"boot.{arm}_s", took)
                bench.say(f"boot: {arm} {took:.3f} s")
        except (boot_race.BootFailed, OSError) as error:
            raise netns.CommandFailed(str(error)) from error
    peers = [f"boot.{arm}_s" for arm in boot_race.MICROVMS]
    bench.value("boot.insula_s", *peers)
    bench.ratio(NAMES[0], min(peers, key=bench.values.get), "boot.insula_s")
