# SPDX-License-Identifier: BSD-3-Clause
# What the tests of the demo share: start it, wait for a line, check its JSON document.
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "lib"), os.path.join(ROOT, "tests", "demo")]
BUILD = os.environ.get("INSULA_BUILD", os.path.join(ROOT, "build"))


def start(*options, build=("--build", BUILD)):
    words = [os.path.join(ROOT, "tests", "demo", "run.sh"), *build, *options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)


# Reads until a line that begins with `marker`.
def wait_line(process, marker):
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith(marker):
            return text
    raise AssertionError(f"no line '{marker}' in:\n{text}")


# The problems the demo named.
def problems(text):
    _, found, rest = text.partition("Not as it should be:\n")
    return [line.strip() for line in rest.splitlines() if line.startswith("  ")] if found else []


def run(*options, **keywords):
    process = start(*options, **keywords)
    text, _ = process.communicate(timeout=150)
    print(text, flush=True)
    return process.returncode, text


SHAPE = {
    "ok": bool,
    "leases": [{"instance": str, "address": str}],
    "matrix": [{"from": str, "to": str, "proto": str, "expected": bool, "observed": bool}],
    "iperf": {"gbps": float, "bridge_gbps": float},
    "snat": [{"instance": str, "proto": str, "bytes": int, "hash_ok": bool}],
    "memory_kib": {"switch": int, "control": int},
    "vms": int,
}


# Exactly this shape: no key more, none less.
def check_shape(value, shape, where="document"):
    if isinstance(shape, dict):
        assert isinstance(value, dict) and value.keys() == shape.keys(), f"{where}: {value}"
        for key, inner in shape.items():
            check_shape(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{where}: {value}"
        for number, item in enumerate(value):
            check_shape(item, shape[0], f"{where}[{number}]")
    else:
        assert type(value) is shape, f"{where}: {value!r} is not {shape.__name__}"


def load(path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    check_shape(document, SHAPE)
    return document


# {(from, to, proto): cell}; every ordered pair of `names` once per protocol.
def cells(document, names):
    at = {(c["from"], c["to"], c["proto"]): c for c in document["matrix"]}
    want = {(a, b, p) for a in names for b in names if a != b for p in ("ping", "tcp")}
    assert at.keys() == want and len(document["matrix"]) == len(want), sorted(at)
    return at
