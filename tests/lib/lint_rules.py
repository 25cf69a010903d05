#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The house rules that no other tool checks. Called by lint.sh from the top of the tree; prints
# "file:line: what is wrong" and exits with 1 if there was anything. Long functions are only told.
import os
import re
import sys

WIDTH = 100
FILE_LINES = 700
FUNCTION_TOLD = 60
FUNCTION_LINES = 100
FOLDERS = ["vmm", "vswitch", "vlan", "dhcp", "control"]
SKIPPED = re.compile(r"(build(-.*)?|\.git|__pycache__)$")
# Where anybody's checkout may lie: paths below these are nobody's in particular.
COMMON_PARENTS = {"/", "/tmp", "/var/tmp", "/home", "/root", "/opt", "/srv", "/mnt", "/usr/src"}

MUTABLE_STATIC = re.compile(r"\t+static\s+(?!.*\bconst\b)")

wrong = []


def complain(path, line, what):
    wrong.append(f"{path}:{line}: {what}")


def tree():
    for folder, folders, names in os.walk("."):
        folders[:] = sorted(f for f in folders if not SKIPPED.match(f))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name))
            if not os.path.islink(path) and name != ".git":
                yield path


def text_of(path):
    data = open(path, "rb").read()
    if b"\0" in data[:8192]:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def is_c(path):
    return path.endswith((".c", ".h"))


def is_code(path, text):
    return is_c(path) or path.endswith((".py", ".sh")) or text.startswith("#!/")


def check_head(path, lines):
    if not any("SPDX-License-Identifier: BSD-3-Clause" in line for line in lines[:3]):
        complain(path, 1, "no SPDX line in the first three")
    if is_c(path):
        if len(lines) < 2 or not lines[1].startswith("//"):
            complain(path, 2, "the head says nothing of what the file does")
        if path.endswith(".h") and "#pragma once" not in lines:
            complain(path, 1, "a header without #pragma once")


def check_lines(path, text, lines):
    if text and not text.endswith("\n"):
        complain(path, len(lines), "no newline at the end")
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > WIDTH:
            complain(path, number, f"wider than {WIDTH} columns")
        if line != line.rstrip():
            complain(path, number, "blanks at the end")
    if len(lines) > FILE_LINES:
        complain(path, len(lines), f"longer than {FILE_LINES} lines")


def check_functions(path, lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            length = number - start - 1
            name = re.search(r"(\w+)\(", " ".join(lines[max(0, start - 4) : start - 1]))
            name = name.group(1) if name else "?"
            if length > FUNCTION_LINES:
                complain(path, start, f"{name} has {length} lines, more than {FUNCTION_LINES}")
            elif length > FUNCTION_TOLD and not path.startswith("tests/"):
                print(f"{path}:{start}: told only: {name} has {length} lines")
            start = None
        elif start and not path.startswith("tests/") and MUTABLE_STATIC.match(line):
            complain(path, number, "a mutable static in a function")


def pure(path):
    name = os.path.basename(path)
    return path.startswith(("vlan/", "dhcp/", "control/", "vmm/")) or (
        path.startswith("vswitch/") and re.match(r"(session|nat)_(table|index|state|ports)", name)
    )


def check_borders(path, lines):
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        if pure(path) and re.search(r"\brte_\w", code):
            complain(path, number, "DPDK in a part that is pure")
        if "rte_vhost" in code and not path.startswith(("vswitch/vhost_", "tests/")):
            complain(path, number, "librte_vhost outside vswitch/vhost_*")


def check_words(path, lines, parent):
    if path.startswith("tests/lib/lint"):
        return
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            complain(path, number, "an open end in the source: do it or file it")
        if parent and parent.search(line):
            complain(path, number, "a path of this machine")


def check_python(path, text):
    try:
        compile(text, path, "exec")
    except SyntaxError as error:
        complain(path, error.lineno, error.msg)


def check_readmes():
    for folder in FOLDERS:
        readme = os.path.join(folder, "README.md")
        if not os.path.exists(readme):
            complain(readme, 1, "is missing")
            continue
        text = text_of(readme)
        for name in sorted(os.listdir(folder)):
            if name.endswith(".c") and not re.search(r"(?<![\w.])" + re.escape(name), text):
                complain(readme, 1, f"does not name {name}")


def parent_pattern():
    parent = os.path.dirname(os.getcwd())
    if parent in COMMON_PARENTS:
        return None
    return re.compile(r"(?<![\w/.])" + re.escape(parent) + r"(/|\b)")


def main():
    parent = parent_pattern()
    for path in tree():
        text = text_of(path)
        if text is None:
            continue
        lines = text.splitlines()
        check_words(path, lines, parent)
        if not is_code(path, text):
            continue
        check_head(path, lines)
        check_lines(path, text, lines)
        if is_c(path):
            check_functions(path, lines)
            check_borders(path, lines)
        elif path.endswith(".py") or "python" in lines[0]:
            check_python(path, text)
    check_readmes()
    for line in wrong:
        print(line)
    return 1 if wrong else 0


sys.exit(main())
