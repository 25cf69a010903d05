# SPDX-License-Identifier: BSD-3-Clause
# Unmodified Debian cloud kernels as instances of kind vm, run by insulad on insula-switch:
# instances_inside.py, in the outer machine, where KVM is whole. Argument: the folder of
# guest_kernel.sh. Started by test_instances.sh.
import glob
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(os.path.dirname(HERE), "lib")
sys.path.insert(0, LIB)

# pylint: disable=wrong-import-position
import initramfs
import outer

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "virtio_blk", "failover", "net_failover", "virtio_net", "pvpanic", "pvpanic-mmio",
           "evdev", "button")
GUEST_MIB, GUESTS = 128, 4
SECONDS = 480


# Unpacked, in hugepages: a guest is up after 10 s instead of 40, under emulation in emulation.
def main():
    build = os.path.realpath(os.environ["INSULA_BUILD"])
    agent = os.path.join(build, "tests", "e2e", "guest-agent")
    kernel = glob.glob(os.path.join(sys.argv[1], "boot", "vmlinuz-*"))[0]
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "guest-initramfs")
        with open(agent, "rb") as file:
            initramfs.write(image, sys.argv[1], MODULES, {"init": file.read()}, packed=False)
        machine = outer.Machine(folder, ("kvm-amd", "tun", "veth", "nf_tables"), memory_mib=2560)
        told = machine.run(
            ["/bin/bash", "-c", 'exec "$@" >"$OUTER_REPORT" 2>&1', "-", "/usr/bin/python3",
             os.path.join(LIB, "sandbox.py"), "/usr/bin/python3",
             os.path.join(HERE, "instances_inside.py"), kernel, image, agent], SECONDS,
            environment={"INSULA_BUILD": build, "GUEST_MIB": GUEST_MIB}, deaths=1,
            words=f"hugepages={GUESTS * GUEST_MIB // 2}")
        print("\n".join(told))
        print(f"the outer machine ran for {machine.seconds:.0f} s")
        if told[-1:] != ["done"]:
            sys.exit(machine.last_words())


main()
