# SPDX-License-Identifier: BSD-3-Clause
# Runs linux_guest.py's checks of insula-vmm in the outer machine, where KVM is whole. Argument: the
# folder of guest_kernel.sh. Started by test_vmm_linux.sh.
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(os.path.dirname(HERE), "lib")
sys.path.insert(0, LIB)

# pylint: disable=wrong-import-position
import outer

EXPECTED = ["ok boots and gets its lease", "ok pings, takes and sends data",
            "ok nothing reaches the other tenant", "ok goes on when the switch is killed"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        machine = outer.Machine(folder, ("kvm-amd", "tun", "veth", "nf_tables"), memory_mib=3072)
        told = machine.run(
            ["/bin/bash", "-c", 'exec "$@" >"$OUTER_REPORT" 2>&1', "-", "/usr/bin/python3",
             os.path.join(LIB, "sandbox.py"), "/usr/bin/python3",
             os.path.join(HERE, "linux_guest.py"), sys.argv[1], "vmm"], 240,
            environment={"INSULA_BUILD": os.path.realpath(os.environ["INSULA_BUILD"])})
        print("\n".join(told))
        if [line for line in told if line.startswith("ok ")] != EXPECTED:
            sys.exit(f"expected: {EXPECTED}\n{machine.last_words()}")


main()
