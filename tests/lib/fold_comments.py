#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Folds comments that are wider than 100 columns, which clang-format leaves alone: a comment of its
# own flows on into the next line of its paragraph; one behind code moves to the line above.
# Called by format.sh with the files to rewrite.
import re
import sys

WIDTH = 100
OWN = re.compile(r"^(\s*)// ?(\s*)(\S.*)$")
ITEM = re.compile(r"[-*] |\d+[.)] ")
BEHIND = re.compile(r"^(\s*)(\S.*?)\s*// (.*)$")


def wide(line):
    return len(line.expandtabs(8)) > WIDTH


# The text of the following line if it belongs to the same paragraph, or None.
def goes_on(line, indent, hang):
    match = OWN.match(line)
    if match and match.group(1, 2) == (indent, hang) and not ITEM.match(match.group(3)):
        return match.group(3)
    return None


def fold(lines, at, out):
    indent, inner, text = OWN.match(lines[at]).groups()
    hang = inner + " " * len(ITEM.match(text).group() if ITEM.match(text) else "")
    words = text.split()
    prefix = indent + "// " + inner
    while words:
        line = prefix + words.pop(0)
        while words and not wide(line + " " + words[0]):
            line += " " + words.pop(0)
        out.append(line)
        prefix = indent + "// " + hang
        if words and at + 1 < len(lines):
            more = goes_on(lines[at + 1], indent, hang)
            if more:
                words += more.split()
                at += 1
    return at + 1


def folded(lines):
    out = []
    at = 0
    while at < len(lines):
        line = lines[at]
        behind = BEHIND.match(line)
        if not wide(line) or line.endswith("\\") or "clang-format" in line:
            out.append(line)
            at += 1
        elif OWN.match(line):
            at = fold(lines, at, out)
        elif behind and '"' not in behind.group(3) and behind.group(2).count('"') % 2 == 0:
            indent, code, comment = behind.groups()
            lines[at : at + 1] = [indent + "// " + comment, indent + code]
        else:
            out.append(line)
            at += 1
    return out


for path in sys.argv[1:]:
    with open(path) as f:
        text = f.read()
    new = "\n".join(folded(text.split("\n")))
    if new != text:
        with open(path, "w") as f:
            f.write(new)
