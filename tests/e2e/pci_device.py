# SPDX-License-Identifier: BSD-3-Clause
# PCI devices as ports, in an outer machine with an IOMMU: network cards that the switch drives by
# itself, through VFIO, each on a cable to a card that the machine's own kernel drives. What is done
# with them is in pci_device_inside.py.
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import outer

SECONDS = 240
MODULES = ("vfio-pci", "vfio_iommu_type1", "virtio_net", "tun", "veth", "nf_tables", "8021q")
# A DPDK driver and the IOMMU both want the modern device.
MODERN = "virtio-net-pci,disable-legacy=on"
BEHIND = f"{MODERN},iommu_platform=on"
# What is where on the bus; inside finds them by that.
CARDS = (
    ("e1000e", "10", 0), (MODERN, "11", 0),
    (BEHIND, "12", 1), (MODERN, "13", 1),
    # Two functions of one card are one IOMMU group; no cable.
    (f"{BEHIND},multifunction=on", "14.0", 2), (BEHIND, "14.1", 3),
    ("rtl8139", "15", 4),
)


def hardware():
    made = ["-machine", "q35", "-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"]
    for number, (card, where, cable) in enumerate(CARDS):
        made += ["-netdev", f"hubport,id=n{number},hubid={cable}",
                 "-device", f"{card},netdev=n{number},bus=pcie.0,addr={where},romfile="]
    return made


def main():
    os.environ.setdefault("INSULA_BUILD", os.path.realpath(os.path.join(HERE, "../../build")))
    with tempfile.TemporaryDirectory(dir=os.environ["INSULA_BUILD"]) as directory:
        machine = outer.Machine(directory, MODULES)
        lines = machine.run(
            ["/usr/bin/python3", os.path.join(HERE, "pci_device_inside.py")], SECONDS,
            environment={"PYTHONDONTWRITEBYTECODE": "1",
                         "INSULA_BUILD": os.environ["INSULA_BUILD"]},
            hardware=hardware(), words="intel_iommu=on")
        print("\n".join(lines))
        assert lines and lines[-1] == "passed", machine.last_words(6000)
        print(f"{machine.seconds:.0f} s")


main()
