# SPDX-License-Identifier: BSD-3-Clause
# Blue's segment replaced by red's: blue's instances hang on red's network, under addresses of their
# own so that they can really be reached. The demo, which still expects tests/demo.yaml, must see it
# in the matrix and exit with 1.
import os
import tempfile

import yaml

import demo_lib

NAMES = ("red-1", "red-2", "blue-1", "blue-2", "internet")


def sabotaged():
    with open(os.path.join(demo_lib.ROOT, "tests", "demo.yaml"), encoding="utf-8") as file:
        document = yaml.safe_load(file)
    red, blue = document["tenants"]
    for number, instance in enumerate(blue["instances"], 21):
        instance["nics"][0]["address"] = f"10.0.0.{number}"
        red["instances"].append(instance)
    return document | {"tenants": [red]}


def main():
    with tempfile.TemporaryDirectory() as folder:
        path, policy = os.path.join(folder, "out.json"), os.path.join(folder, "sabotaged.yaml")
        with open(policy, "w", encoding="utf-8") as file:
            yaml.safe_dump(sabotaged(), file)
        code, text = demo_lib.run("--json", path, "--apply", policy)
        document = demo_lib.load(path)
    assert code == 1 and not document["ok"], f"exit status {code}"
    wrong = {k for k, c in demo_lib.cells(document, NAMES).items()
             if c["expected"] != c["observed"]}
    assert wrong == {(a, b, p) for a in NAMES[:4] for b in NAMES[:4] for p in ("ping", "tcp")
                     if a.split("-")[0] != b.split("-")[0]}, sorted(wrong)
    # That and the leases, and nothing else, is why.
    named = demo_lib.problems(text)
    assert len(named) == len(wrong) + 2, named
    assert sum("the policy says not reached, observed reached" in p for p in named) == len(wrong)


main()
