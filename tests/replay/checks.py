# SPDX-License-Identifier: BSD-3-Clause
# Finds the checks of C sources (conditions, operands of && and ||, comparisons, cases of a switch)
# in the functions that a set of roots reaches, and rewrites the sources so that each check can be
# negated at run time. For mutants.py. It reads tokens, not types: what is compiled must be written
# as `dev format` writes it, without macros that stand for statements.
import collections
import re

Check = collections.namedtuple("Check", "path function line text start end kind")
# head: the tokens before its name; body: indices of the tokens of { and }
Function = collections.namedtuple("Function", "path name head params body")

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*)
      |(?P<word>[A-Za-z_]\w*)
      |(?P<value>(?:\d|\.\d)[\w.]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<sign>\.\.\.|<<=|>>=|->|\+\+|--|&&|\|\||<<|>>|[-+*/%&|^=!<>]=
        |[][(){};,?:~!%^&*+=|<>/.-])""",
    re.X | re.M | re.S)
ASSIGN = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
COMPARE = {"==", "!=", "<", ">", "<=", ">="}
CLOSES = {"(": ")", "[": "]", "{": "}"}
CONSTANTS = {"true", "false", "NULL"}
TRANSPARENT = {"likely", "unlikely"}
UNEVALUATED = {"sizeof", "offsetof", "typeof", "__attribute__", "static_assert", "_Static_assert"}


class Source:
    """A file's tokens, and its functions and tables by name."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.tokens = [m for m in TOKEN.finditer(text) if m.lastgroup != "skip"]
        self.words = [m.group() for m in self.tokens]
        self.match = self.brackets()
        self.functions, self.tables = [], {}
        self.definitions()

    def brackets(self):
        match, open_ = {}, []
        for i, w in enumerate(self.words):
            if w in CLOSES:
                open_.append(i)
            elif w in CLOSES.values():
                match[open_.pop()] = i
        return match

    def definitions(self):
        words, start, group, i = self.words, 0, None, 0
        while i < len(words):
            if words[i] == "{":
                end = self.match[i]
                if group is not None and self.match[group] == i - 1:
                    self.functions.append(Function(
                        self.path, words[group - 1], words[start : group - 1],
                        words[group + 1 : i - 1], (i, end)))
                    start = end + 1
                elif words[i - 1] == "=":
                    name = [w for w in words[start:i] if w[0].isalpha()][-1]
                    self.tables[name] = self.called(i, end)
                i, group = end, None
            elif words[i] in CLOSES:
                group, i = i, self.match[i]
            elif words[i] == ";":
                start, group = i + 1, None
            i += 1

    def called(self, begin, end):
        """Words that may be functions, which are not the names of members."""
        return {self.words[i] for i in range(begin, end)
                if self.tokens[i].lastgroup == "word" and self.words[i - 1] not in (".", "->")}


def reached(sources, roots):
    """The functions that can be called from the roots, which are functions or tables of them."""
    by_file, everybody, tables = {}, {}, {}
    for source in sources:
        for f in source.functions:
            by_file[source.path, f.name] = (source, f)
            if "static" not in f.head or source.path.endswith(".h"):
                everybody[f.name] = (source, f)
        tables.update((name, (source, calls)) for name, calls in source.tables.items())
    found, todo = {}, []
    for root in roots:
        if root in tables:
            source, calls = tables[root]
            todo += [by_file.get((source.path, c)) or everybody.get(c) for c in calls]
        else:
            todo.append(everybody[root])
    first = {(f.path, f.name) for _, f in filter(None, todo)}
    while todo:
        source, f = todo.pop() or (None, None)
        if f and (f.path, f.name) not in found:
            found[f.path, f.name] = (source, f)
            calls = source.called(*f.body)
            todo += [by_file.get((source.path, c)) or everybody.get(c) for c in calls]
    return first, list(found.values())


class Finder:
    """The checks of one function."""

    def __init__(self, source, function):
        self.s, self.f, self.words = source, function, source.words
        self.checks = []
        self.returns_bool = "bool" in function.head
        params = function.params
        self.bools = {b for a, b in zip(params, params[1:]) if a == "bool"}
        self.block(function.body[0] + 1, function.body[1])

    def note(self, i, j, kind="check"):
        start, end = self.s.tokens[i].start(), self.s.tokens[j - 1].end()
        text = re.sub(r"//[^\n]*", "", self.s.text[start:end])
        text = " ".join(text.split())
        line = self.s.text.count("\n", 0, start) + 1
        self.checks.append(Check(self.f.path, self.f.name, line, text, start, end, kind))

    # --- statements: each takes the index it begins at and returns the one behind it

    def block(self, i, end):
        while i < end:
            i = self.statement(i)

    def statement(self, i):
        words, match = self.words, self.s.match
        word = words[i]
        if word == "{":
            self.block(i + 1, match[i])
            return match[i] + 1
        if word in ("if", "while"):
            self.expression(i + 2, match[i + 1], True)
            i = self.statement(match[i + 1] + 1)
            return self.statement(i + 1) if word == "if" and words[i] == "else" else i
        if word == "do":
            i = self.statement(i + 1)
            self.expression(i + 2, match[i + 1], True)
            return match[i + 1] + 2
        if word == "for":
            return self.loop(i + 2, match[i + 1])
        if word == "switch":
            return self.switch(i + 1)
        if word in ("case", "default"):
            return words.index(":", i) + 1
        if words[i + 1] == ":" and self.s.tokens[i].lastgroup == "word":
            return i + 2
        end = self.semicolon(i)
        if word == "return":
            self.expression(i + 1, end, self.returns_bool)
        elif word not in ("static", "goto", "break", "continue") and word not in UNEVALUATED:
            self.plain(i, end)
        return end + 1

    def semicolon(self, i):
        while self.words[i] != ";":
            i = self.s.match[i] + 1 if self.words[i] in CLOSES else i + 1
        return i

    def plain(self, i, end):
        if self.words[i] == "const":
            i += 1
        if self.words[i] == "bool":
            parts = self.split(i + 1, end, {","})
            for a, b in parts:
                self.bools.add(self.words[a])
                self.expression(a, b, False)
        else:
            self.expression(i, end, False)

    def loop(self, i, end):
        first = self.semicolon(i)
        self.plain(i, first)
        second = self.semicolon(first + 1)
        self.expression(first + 1, second, True)
        self.expression(second + 1, end, False)
        return self.statement(end + 1)

    def switch(self, paren):
        i, end = paren + 1, self.s.match[paren]
        self.expression(i, end, False)
        at = end + 2
        while at < self.s.match[end + 1]:
            if self.words[at] == "case":
                colon = self.words.index(":", at)
                value = self.s.tokens[i].start(), self.s.tokens[end - 1].end()
                label = " ".join(self.words[at + 1 : colon])
                line = self.s.text.count("\n", 0, self.s.tokens[at].start()) + 1
                self.checks.append(Check(self.f.path, self.f.name, line, "case " + label,
                                         *value, "case"))
                at = colon
            elif self.words[at] == "switch":  # its cases are its own
                body = self.s.match[at + 1] + 1
                at = self.s.match[body]
            at += 1
        return self.statement(end + 1)

    # --- expressions: tokens i to j - 1; boolean: only whether it is 0 matters

    def split(self, i, j, at):
        parts, begin = [], i
        while i < j:
            if self.words[i] in at:
                parts.append((begin, i))
                begin = i + 1
            i = self.s.match[i] + 1 if self.words[i] in CLOSES else i + 1
        return parts + [(begin, j)]

    def outside(self, i, j):
        """Indices of the tokens that stand in no bracket of this expression."""
        while i < j:
            yield i
            i = self.s.match[i] + 1 if self.words[i] in CLOSES else i + 1

    def expression(self, i, j, boolean):
        if i >= j:
            return
        parts = self.split(i, j, {","})
        if len(parts) > 1:
            for a, b in parts:
                self.expression(a, b, boolean and b == j)
            return
        for k in self.outside(i, j):
            if self.words[k] in ASSIGN:
                self.nested(i, k)
                self.expression(k + 1, j, boolean or self.words[k - 1] in self.bools and
                                self.words[k - 2] not in (".", "->"))
                return
            if self.words[k] == "?":
                return self.choice(i, k, j, boolean)
        for sign in ("||", "&&"):
            parts = self.split(i, j, {sign})
            if len(parts) > 1:
                self.note(i, j)
                for a, b in parts:
                    self.expression(a, b, True)
                return
        self.leaf(i, j, boolean)

    def choice(self, i, question, j, boolean):
        deep = 0
        for k in self.outside(question + 1, j):
            if self.words[k] == "?":
                deep += 1
            elif self.words[k] == ":" and deep == 0:
                break
            elif self.words[k] == ":":
                deep -= 1
        self.expression(i, question, True)
        self.expression(question + 1, k, boolean)
        self.expression(k + 1, j, boolean)

    def leaf(self, i, j, boolean):
        words, match = self.words, self.s.match
        if words[i] == "(" and match[i] == j - 1:
            return self.expression(i + 1, j - 1, boolean)
        if words[i] in TRANSPARENT and match.get(i + 1) == j - 1:
            return self.expression(i + 2, j - 1, True)
        compares = any(words[k] in COMPARE for k in self.outside(i, j))
        if words[i] == "!" and not compares:
            inner = i
            while words[inner] == "!":
                inner += 1
            if words[inner] == "(" and match[inner] == j - 1:
                return self.expression(inner + 1, j - 1, True)
            boolean = True
        constant = j == i + 1 and (words[i] in CONSTANTS or self.s.tokens[i].lastgroup == "value")
        if (compares or boolean) and not constant:
            self.note(i, j)
        self.nested(i, j)

    def nested(self, i, j):
        for k in self.outside(i, j):
            if self.words[k] in CLOSES and self.words[k - 1] not in UNEVALUATED:
                self.expression(k + 1, self.s.match[k], False)


def find(sources, roots):
    """(functions that are roots, checks in what they reach), by file and place."""
    first, functions = reached(sources, roots)
    checks = [c for source, f in functions for c in Finder(source, f).checks]
    return first, sorted(checks, key=lambda c: (c.path, c.start, -c.end, c.line))


def keys(checks):
    """The names of the checks, in their order: file, function, text, and its number from 2 on if
    it stands several times in the function. Lines may move without a name changing."""
    seen, result = collections.Counter(), []
    for c in checks:
        key = f"{c.path}:{c.function}: {c.text}"
        seen[key] += 1
        result.append(key if seen[key] == 1 else f"{key} #{seen[key]}")
    return result


def instrument(source, first, numbered):
    """The text with every (number, check) of this file wrapped, and its roots marked."""
    inserts = []
    for f in source.functions:
        if (f.path, f.name) in first:
            inserts.append((source.tokens[f.body[0]].end(), 2, 0, " MUTANT_SCOPE;"))
    for number, c in numbered:
        label = f", {c.text[5:]}" if c.kind == "case" else ""
        name = "MUTANT_CASE" if label else "MUTANT"
        # What begins together: the longer first; what ends together: the shorter first. Of the
        # cases of one switch, the first noted is the outermost.
        inserts.append((c.start, 1, -c.end, f"{name}({number}{label}, "))
        inserts.append((c.end, 0, -c.start, ")"))
    out, at = [], 0
    for where, _, _, what in sorted(inserts, key=lambda x: x[:3]):
        out += [source.text[at:where], what]
        at = where
    return "".join(out) + source.text[at:]
