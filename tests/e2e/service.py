# SPDX-License-Identifier: BSD-3-Clause
# insulad as a unit of systemd, in the outer machine: killed, it is back and the switch as it was;
# stopping the unit stops insulad alone; `insula stop` ends everything for good. service_inside.sh
# does and tells it there. Started by test_service.sh.
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

# pylint: disable=wrong-import-position
import outer

HERE = os.path.dirname(os.path.abspath(__file__))
GUESTS = "guests: cpu io memory pids, 0 in it, sleep beside them"
EXPECTED = ["started: insulad 1, switch 1", GUESTS, "killed: insulad 2, switch 1", GUESTS,
            "stopped: insulad none, switch 1", "started again: insulad 3, switch 1",
            "insula stop: insulad none, switch none"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        machine = outer.Machine(folder, ("tun", "nf_tables"))
        told = machine.run(["/bin/bash", os.path.join(HERE, "service_inside.sh")], 240,
                           environment={"INSULA_BUILD": os.path.realpath(
                               os.environ["INSULA_BUILD"])})
        print("\n".join(told))
        if told != EXPECTED:
            sys.exit(f"expected: {EXPECTED}\n{machine.last_words()}")


main()
