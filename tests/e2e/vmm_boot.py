# SPDX-License-Identifier: BSD-3-Clause
# Debian's cloud kernel in insula-vmm, in the outer machine: boots with two processors, takes its
# serial input, reboots, and powers off; then boots again on a virtio console, with disks, rng, a
# balloon, a disk and a network card that come and go, and a pause. vmm_boot_inside.py does it
# there. Started by test_vmm_boot.sh.
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
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "virtio_blk", "virtio_console", "virtio-rng", "virtio_balloon", "failover",
           "net_failover", "virtio_net")
# vda: a file; vdb: a block device, directly. Each answer is a line, each step waits for a word.
DEVICES = """
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo
echo "hvc0: up"
read word
echo "heard $word"
echo "rng: $(cat /sys/class/misc/hw_random/rng_current)"
echo "random: $(dd if=/dev/hwrng bs=1024 count=1 2>/dev/null | gzip -c | wc -c)"
for d in vda vdb; do
	q=/sys/block/$d
	echo "$d: $(cat $q/size) $(cat $q/serial) $(cat $q/queue/logical_block_size) $(cat $q/ro)"
	dd if=/dev/urandom of=/data bs=64k count=8 2>/dev/null
	dd if=/data of=/dev/$d bs=64k seek=2 conv=fsync 2>/dev/null
	echo "$d wrote: $(md5sum </data)"
	echo 3 >/proc/sys/vm/drop_caches
	echo "$d read: $(dd if=/dev/$d bs=64k skip=2 count=8 2>/dev/null | md5sum)"
	for i in 1 2 3 4 5; do
		dd if=/data of=/dev/$d bs=4k count=1 seek=$i conv=fsync 2>/dev/null
	done
	echo "$d flushed"
	read word
	blkdiscard /dev/$d && echo "$d discarded"
	read word
done
dd if=/dev/vdc of=/data bs=64k count=4 2>/dev/null
echo "vdc: $(cat /sys/block/vdc/ro) $(md5sum </data)"
mount -t tmpfs tmpfs /bin/../lib
dd if=/dev/zero of=/lib/fill bs=1M count=64 2>/dev/null
echo "filled"
read word
rm /lib/fill
echo "freed"
read word
echo "ballooned: $(sed -n 's/^balloon_inflate //p' /proc/vmstat)"
read word
until [ -b /dev/vdd ] && [ -d /sys/class/net/eth0 ]; do sleep 0.1; done
echo "plugged: $(cat /sys/block/vdd/serial) $(cat /sys/class/net/eth0/address)"
dd if=/data of=/dev/vdd bs=64k conv=fsync 2>/dev/null
echo "vdd wrote: $(md5sum </data)"
read word
while [ -e /sys/block/vdd ] || [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
echo "unplugged"
read word
echo "uptime: $(cut -d ' ' -f 1 /proc/uptime)"
read word
echo "uptime: $(cut -d ' ' -f 1 /proc/uptime)"
poweroff -f
"""


def main():
    build = os.path.realpath(os.environ["INSULA_BUILD"])
    kernel = glob.glob(os.path.join(build, "guest-kernel", "boot", "vmlinuz-*"))[0]
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "guest-initramfs")
        initramfs.write(image, os.path.join(build, "guest-kernel"), (), {"init": INIT})
        devices = os.path.join(folder, "devices-initramfs")
        initramfs.write(devices, os.path.join(build, "guest-kernel"), MODULES, {"init": DEVICES})
        disk = os.path.join(folder, "disk")
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        machine = outer.Machine(folder, ("kvm-amd", "virtio_blk"), memory_mib=2048)
        told = machine.run(
            ["/usr/bin/python3", os.path.join(HERE, "vmm_boot_inside.py"),
             os.path.join(build, "vmm", "insula-vmm"), kernel, image, devices], 200, [disk],
            deaths=1)
        print("\n".join(told))
        if told[-1:] != ["done"]:
            sys.exit(machine.last_words())


main()
