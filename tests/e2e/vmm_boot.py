# SPDX-License-Identifier: BSD-3-Clause
# Debian's cloud kernel in insula-vmm, in the outer machine: boots with two processors, takes its
# serial input, reboots, and powers off. vmm_boot_inside.py does it there. Started by
# test_vmm_boot.sh.
import glob
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

# pylint: disable=wrong-import-position
import initramfs
import outer

# The first boot waits for a word on its serial port and reboots; the second powers off.
INIT = """
mib=$(($(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) / 1024 / 32 * 32))
clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
echo "up: $(grep -c ^processor /proc/cpuinfo) processors, $mib MiB, clock $clock"
echo "interrupts: $(grep -c 'IO-APIC.*ttyS0' /proc/interrupts)"
read word
echo "heard $word"
[ "$word" = reboot ] && reboot -f
poweroff -f
"""


def main():
    build = os.path.realpath(os.environ["INSULA_BUILD"])
    kernel = glob.glob(os.path.join(build, "guest-kernel", "boot", "vmlinuz-*"))[0]
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "guest-initramfs")
        initramfs.write(image, os.path.join(build, "guest-kernel"), (), {"init": INIT})
        machine = outer.Machine(folder, ("kvm-amd",), memory_mib=2048)
        told = machine.run(
            ["/usr/bin/python3", os.path.join(HERE, "vmm_boot_inside.py"),
             os.path.join(build, "vmm", "insula-vmm"), kernel, image], 200)
        print("\n".join(told))
        if told[-1:] != ["done"]:
            sys.exit(machine.last_words())


main()
