# SPDX-License-Identifier: BSD-3-Clause
# Room for DPDK devices in the switch: as many as a file may have fit, by a switch that is started
# anew when the one that runs was reckoned for fewer, which `diff` tells; it is kept when they go,
# and found again by another insulad. Runs in a sandbox.
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import sandbox

DEVICES_MAX = 32


def document(first, end):
    found = {"version": 1, "tenants": [laptops.tenant("red", 10, ["10.0.0.11"])]}
    found["tenants"][0]["instances"] += [
        {"name": f"n{n}", "nics": [{"network": "lan", "type": "ethdev",
                                    "devargs": f"net_null{n},no-rx=1"}]}
        for n in range(first, end)]
    return found


def switch():
    [pid] = labs.processes("insula-switch")
    return pid


def wait_up(lab, n):
    deadline = time.monotonic() + 20
    while (states := [p["state"] for p in lab.list("port") if "/n" in p["name"]]) != ["up"] * n:
        assert time.monotonic() < deadline, f"{states}\n{lab.log()[-2000:]}"
        time.sleep(0.1)


def test_room(lab):
    first = switch()
    small = labs.memory_kib(first)
    lab.apply_document(document(0, 4))
    wait_up(lab, 4)
    assert switch() == first, "it had room for four"

    text = lab.try_document("diff", document(0, 5))[1]
    assert "switch insula-switch: device_queues 4 -> 8" in text, text
    lab.apply_document(document(0, 5))
    wait_up(lab, 5)
    assert switch() != first

    # Others come before these go.
    lab.apply_document(document(0, 8))
    lab.apply_document(document(8, 16))
    wait_up(lab, 8)

    lab.apply_document(document(0, DEVICES_MAX))
    wait_up(lab, DEVICES_MAX)
    status, text = lab.try_document("apply", document(0, DEVICES_MAX + 1))
    assert status == 1 and "more than 32 DPDK devices" in text, text
    wait_up(lab, DEVICES_MAX)

    lab.kill("insula-switch")
    while not labs.processes("insula-switch"):
        time.sleep(0.01)
    wait_up(lab, DEVICES_MAX)

    kept = switch()
    lab.apply_document(document(0, 1))
    wait_up(lab, 1)
    lab.kill("insulad")
    lab.start()
    wait_up(lab, 1)
    assert switch() == kept, "another switch without need"
    assert lab.try_document("diff", document(0, 1)) == (0, "")
    assert not lab.stop_insulad()
    lab.start()
    wait_up(lab, 1)
    assert labs.memory_kib(switch()) < max(small + 16384, 65536), labs.memory_kib(switch())


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(document(0, 0))
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
