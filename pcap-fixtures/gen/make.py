#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Makes the input captures, in/AREA/NAME.pcap, from the generators beside this file. Usage:
# make.py [--check] [AREA...]; --check writes nothing and fails where a capture would change.
import filecmp
import glob
import importlib
import os
import sys
import tempfile

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import lib  # noqa: E402


def areas(wanted):
    for path in sorted(glob.glob(os.path.join(here, "*.py"))):
        area = os.path.basename(path)[:-3]
        if area not in ("lib", "make") and (not wanted or area in wanted):
            yield area


def main():
    words = [w for w in sys.argv[1:] if w != "--check"]
    check = "--check" in sys.argv
    wrong = []
    for area in areas(words):
        importlib.import_module(area)
    with tempfile.TemporaryDirectory() as scratch:
        for area, name, function in lib.captures:
            below = os.path.join(area, name + ".pcap")
            there = os.path.join(lib.IN, below)
            made = os.path.join(scratch, below) if check else there
            lib.write(made, function())
            if check and not (os.path.exists(there) and filecmp.cmp(made, there, False)):
                wrong.append(there)
    for path in wrong:
        print(f"{path} is not what its generator makes")
    return 1 if wrong else 0


sys.exit(main())
