# SPDX-License-Identifier: BSD-3-Clause
# Machines in control groups: cgroup_inside.py, in the outer machine, which has the controllers that
# a test's host need not have. Started by test_cgroup.sh.
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(os.path.dirname(HERE), "lib")
sys.path.insert(0, LIB)

# pylint: disable=wrong-import-position
import outer

SECONDS = 150


def main():
    with tempfile.TemporaryDirectory() as folder:
        machine = outer.Machine(folder, ("kvm-amd", "tun", "veth", "nf_tables"))
        told = machine.run(
            ["/bin/bash", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup; '
             'exec "$@" >"$OUTER_REPORT" 2>&1', "-", "/usr/bin/python3",
             os.path.join(LIB, "sandbox.py"), "/usr/bin/python3",
             os.path.join(HERE, "cgroup_inside.py")], SECONDS,
            environment={"INSULA_BUILD": os.path.realpath(os.environ["INSULA_BUILD"])}, deaths=1)
        print("\n".join(told))
        print(f"the outer machine ran for {machine.seconds:.0f} s")
        if told[-1:] != ["done"]:
            sys.exit(machine.last_words())


main()
