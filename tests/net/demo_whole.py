# SPDX-License-Identifier: BSD-3-Clause
# The demo succeeds, and its JSON says what tests/demo.yaml means, worked out here by hand.
import os
import tempfile

import demo_lib

MACHINES = ("red-vm", "blue-vm") if os.access("/dev/kvm", os.R_OK | os.W_OK) else ()
NAMES = ("red-1", "red-2", "blue-1", "blue-2", "internet", *MACHINES)
LEASES = {"red-1": "10.0.0.11", "red-2": "10.0.0.12", "blue-1": "10.0.0.11", "blue-2": "10.0.0.12"}
LEASES |= {name: "10.0.0.254" for name in MACHINES}


def reaches(source, target):
    if source == "internet":
        return False
    return target == "internet" or source.split("-")[0] == target.split("-")[0]


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.json")
        # As the README has it: what is missing is installed and built first (nothing, by now).
        code, _ = demo_lib.run("--json", path, build=())
        document = demo_lib.load(path)
    assert code == 0 and document["ok"], f"exit status {code}"
    assert {r["instance"]: r["address"] for r in document["leases"]} == LEASES
    for (source, target, proto), cell in demo_lib.cells(document, NAMES).items():
        want = reaches(source, target)
        assert cell["expected"] == cell["observed"] == want, f"{source} {target} {proto}: {cell}"
    rows = {(r["instance"].split("-")[0], r["proto"]): r for r in document["snat"]}
    assert rows.keys() == {(t, p) for t in ("red", "blue") for p in ("icmp", "tcp")}, rows
    for row in rows.values():
        assert row["hash_ok"] and row["bytes"] > 0, row
    assert document["iperf"]["gbps"] > 0 and document["iperf"]["bridge_gbps"] > 0
    assert 0 < document["memory_kib"]["switch"] < 64 << 10, document["memory_kib"]
    assert document["vms"] == len(MACHINES), document["vms"]
    assert document["memory_kib"]["control"] > 0, document["memory_kib"]


main()
