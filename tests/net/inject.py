# SPDX-License-Identifier: BSD-3-Clause
# Every allocation and every system call that can fail of an apply, made to fail once: the apply
# says so and nothing has changed, or it has done all of it; insulad lives, and the same file goes
# in afterwards. fault.c does the failing, inside insulad and (allocations alone) the switch. A
# seeded sample; with --long all of them. Arguments: fault.c's library; a seed;
# GROUP:PROGRAM:WAY:NTH of one case to look at. Runs in a sandbox.
import contextlib
import json
import mmap
import os
import random
import re
import sqlite3
import struct
import subprocess
import sys
import time

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox

LONG = bool(os.environ.get("INSULA_TEST_LONG"))
BUDGET_S, MIN_CASES = 75, 20  # of the sample
SPACES = ("web", "db", "gone", "fresh")
PAGE = 4096
HEAD = struct.Struct("=IIQQQII32s")  # fault.c: struct page
PROGRAMS = ("insulad", "insula-switch")
GROUPS = ("allocation", "call")
WAYS = ("small-large", "large-small", "small-two", "two-small")  # two workers: another switch


def nic(space, **more):
    return {"name": space, "nics": [{"network": "lan", "netns": space} | more]}


# What an apply can do to a port, a network and the host is in the way from one to the other, and in
# the way back.
def documents():
    lan = {"name": "lan", "vlan": 10, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1",
           "dns": ["192.0.2.53"]}
    pool = {"name": "desks", "vlan": 11, "subnet": "10.0.1.0/24", "gateway": "10.0.1.1",
            "pool": "10.0.1.100-10.0.1.199", "dns": ["192.0.2.53"], "snat": "internet"}
    small = {"version": 1, "tenants": [{"name": "red", "networks": [lan], "instances": [
        nic("web", address="10.0.0.11"), nic("db"), nic("gone")]}]}
    desk = {"name": "desk", "nics": [{"network": "desks", "type": "packet", "interface": "up0",
                                      "clients": "many"}]}
    guest = {"name": "guest", "nics": [{"network": "lan", "type": "vhost-user"}]}
    large = {"version": 1, "uplinks": [{"name": "internet", "mode": "nat"}],
             "trunks": [{"name": "lab", "interface": "up1", "allowed": [10, 11]}],
             "tenants": [{"name": "red", "networks": [lan | {"mtu": 1400}, pool], "instances": [
                 nic("web", address="10.0.0.11", mac="02:aa:bb:cc:dd:01"), nic("db", queues=2),
                 nic("fresh"), desk, guest]}]}
    return {"small": small, "large": large, "two": small | {"settings": {"workers": 2}}}


class Fault:
    """What fault.c is told and tells, by program."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(PAGE * len(PROGRAMS))
            self.map = mmap.mmap(file.fileno(), PAGE * len(PROGRAMS))

    def read(self, program):
        words = HEAD.unpack_from(self.map, PAGE * PROGRAMS.index(program))
        return dict(zip(("armed", "group", "nth", *GROUPS, "failed", "n_frames", "what"), words))

    @contextlib.contextmanager
    def armed(self, program, group, nth):
        at = PAGE * PROGRAMS.index(program)
        HEAD.pack_into(self.map, at, 0, GROUPS.index(group), nth, 0, 0, 0, 0, b"")
        struct.pack_into("=I", self.map, at, 1)
        try:
            yield
        finally:
            struct.pack_into("=I", self.map, at, 0)

    # What failed last, and where: for name().
    def last(self, program):
        page = self.read(program)
        at = PAGE * PROGRAMS.index(program) + HEAD.size
        return program, page["what"], struct.unpack_from(f"={page['n_frames']}Q", self.map, at)

    # Innermost first.
    def name(self, last):
        program, what, frames = last
        text = [what.rstrip(b"\0").decode()]
        text += [name for frame in frames[2:] if (name := symbol(self.maps[program], frame))]
        return " < ".join(text[:14])

    # Before they can die.
    def note_maps(self):
        self.maps = {}
        for program in PROGRAMS:
            with open(f"/proc/{labs.processes(program)[0]}/maps", encoding="ascii") as file:
                self.maps[program] = [line.split() for line in file]


def symbol(maps, address):
    for span, _, offset, _, _, *path in maps:
        first, last = (int(word, 16) for word in span.split("-"))
        if first <= address < last and path and path[0].startswith("/"):
            at = address - first + int(offset, 16)
            done = subprocess.run(["addr2line", "-f", "-e", path[0], hex(at - 1)], text=True,
                                  capture_output=True, check=False)
            name = done.stdout.split("\n")[0]
            return name if name and name != "??" else f"{os.path.basename(path[0])}+{at:#x}"
    return ""


# The interfaces of one namespace with their addresses, as far as somebody set them.
def links(space):
    shown = json.loads(netns.run("ip", *(["-n", space] if space else []), "-j", "-d", "address",
                                 "show").stdout or "[]")
    return {f"{space}/{link['ifname']}": [
        link["ifindex"], link.get("linkinfo", {}).get("info_kind"), link.get("address"),
        link["mtu"], "UP" in link["flags"], link.get("promiscuity"), link.get("ifalias"),
        link.get("num_tx_queues"),
        sorted(a["local"] for a in link["addr_info"] if a["family"] == "inet")]
        for link in shown}


def sysctls():
    found, top = {}, "/proc/sys/net/ipv4"
    for path in ["ip_forward"] + [f"conf/{name}/forwarding" for name in os.listdir(f"{top}/conf")]:
        with open(f"{top}/{path}", encoding="ascii") as file:
            found[path] = file.read().strip()
    return found


def rows(db, query):
    return sorted(map(repr, db.execute(query)))


# What is durable. Rounds are counted, and numbers that are free stay known: neither is anything.
def durable(directory):
    path = os.path.join(directory, "state", "insula.db")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        return {"meta": rows(db, "SELECT * FROM meta WHERE key NOT IN ('round', 'generation')"),
                "ids": rows(db, "SELECT kind, id, key FROM ids WHERE live"),
                "addresses": rows(db, "SELECT segment, address, key FROM addresses WHERE live"),
                "sections": rows(db, "SELECT hash FROM sections"),
                "root": rows(db, "SELECT substr(root, 25) FROM roots ORDER BY generation DESC "
                                 "LIMIT 1"),
                "notes": rows(db, "SELECT * FROM notes WHERE key NOT LIKE 'fallback:%'"),
                "leases": rows(db, "SELECT * FROM leases")}
    finally:
        db.close()


# What a comparison of two applies of one file may find different: what an apply made anew.
def without_history(state):
    strip = {k: v[1:] for k, v in state["links"].items()}
    return state | {"links": strip, "durable": state["durable"] | {"sections": [], "root": []},
                    "generation": 0}


class Bench:
    def __init__(self, library):
        self.directory = sandbox.DIRECTORY
        self.lab = labs.Lab(None, self.directory)
        self.fault_file = os.path.join(self.directory, "fault")
        self.fault = Fault(self.fault_file)
        self.files, self.states, self.at, self.now = {}, {}, "", None
        os.environ["INSULA_FAULT"], self.library = self.fault_file, library
        for space in SPACES:
            netns.create(space)
        for name in ("up0", "up1"):
            netns.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}peer")
            for end in (name, f"{name}peer"):
                netns.ip("", "link", "set", end, "addrgenmode", "none")
        for name, document in documents().items():
            self.files[name] = os.path.join(self.directory, f"{name}.yaml")
            with open(self.files[name], "w", encoding="utf-8") as file:
                yaml.dump(document, file, Dumper=labs.NoAliases)

    def start(self):
        os.environ["LD_PRELOAD"] = self.library
        try:
            self.lab.start()
        finally:
            del os.environ["LD_PRELOAD"]
        self.pids = {program: labs.processes(program) for program in PROGRAMS}
        self.fault.note_maps()

    # After a failure, so that the next case is about itself.
    def begin_anew(self):
        self.lab.stop()
        for name in ("up0", "up1"):
            netns.ip("", "link", "set", name, "down", "mtu", "1500")
        for space in ("", *SPACES):
            for link in links(space):
                if link.split("/")[1].startswith(("eth0", "ins")):
                    netns.run("ip", *(["-n", space] if space else []), "link", "del",
                              link.split("/")[1], check=False)
        self.lab.started, self.at = True, ""
        self.start()
        for name in ("large", "small"):  # libraries keep what they opened first
            self.reach(name)

    def log_lines(self, n):
        with open(os.path.join(self.directory, "state", "insulad.log"), encoding="utf-8") as file:
            return [f"     {line.rstrip()}" for line in file.readlines()[-n:]]

    def apply(self, name):
        done = subprocess.run([self.lab.insula_program, "apply", "-f", self.files[name]], text=True,
                              capture_output=True, timeout=60, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def ask(self, *words):
        return json.loads(self.lab.insula(*words, "-o", "json"))

    def state(self):
        status, found = self.ask("status"), {}
        for space in ("", *SPACES):
            found |= links(space)
        ports = [{k: v for k, v in port.items() if not re.search("packets|bytes|drops", k)}
                 for port in self.ask("list", "port")["ports"]]
        return {"links": found, "sysctls": sysctls(), "ports": ports,
                "nft": netns.run("nft", "list", "ruleset").stdout,
                "networks": self.ask("list", "network"), "warnings": status["warnings"],
                "generation": status["generation"],
                "switch": status["switch"]["generation"] == status["generation"],
                "durable": durable(self.directory)}

    # What is open, but for the connections of `insula`, which come and go.
    def fds(self):
        found = {}
        for program in PROGRAMS:
            [pid] = labs.processes(program)
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    kind = re.sub("[0-9]+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
                    # librte_vhost keeps some from its first port on
                    if (program, kind) != ("insula-switch", "pipe:[N]"):
                        found[pid, kind] = found.get((pid, kind), 0) + 1
        return found

    def leak(self, before):
        deadline = time.monotonic() + 4
        pids = {pid for pid, _ in before}  # a switch started anew is another matter
        while more := {k: v for k, v in self.fds().items()
                       if k[0] in pids and v > before.get(k, 0)}:
            if time.monotonic() > deadline:
                return f"fds: {more}, before: { {k: before.get(k) for k in more} }"
            time.sleep(0.1)
        return ""

    # Waits until the state is as wanted: what is repaired is repaired within seconds.
    def settle(self, wanted, view, seconds=4):
        deadline = time.monotonic() + seconds
        while view(state := self.state()) != view(wanted):
            if time.monotonic() > deadline:
                return difference(view(wanted), view(state))
            time.sleep(0.1)
        self.now = state
        return ""

    def reach(self, name):
        status, text = self.apply(name)
        assert status == 0, f"a plain apply fails: {text}"
        if name not in self.states:
            self.states[name] = self.state()
        wrong = self.settle(self.states[name], without_history)
        assert not wrong, f"a plain apply of {name}: {wrong}"
        self.at = name

    def count(self, program, group, source, target):
        self.reach(source)
        with self.fault.armed(program, group, 0):
            self.reach(target)
            return self.fault.read(program)[group]

    # What is wrong as a sentence, whatever it is.
    def try_case(self, program, group, way, nth):
        try:
            if self.at != way.split("-")[0]:
                self.reach(way.split("-")[0])
            return self.case(program, group, way, nth)
        except (AssertionError, netns.CommandFailed, subprocess.TimeoutExpired,
                sqlite3.Error, OSError) as error:
            return repr(error)

    # One failure, and what is to be seen of it. Ends at `target`.
    def case(self, program, group, way, nth):
        source, target = way.split("-")
        before, fds, self.at = self.now, self.fds(), ""
        with self.fault.armed(program, group, nth):
            status, text = self.apply(target)
        if not self.fault.read(program)["failed"]:
            return "" if status == 0 else f"nothing failed, and yet: {text}"
        if self.pids["insulad"][0] not in labs.processes("insulad"):
            return f"insulad died: {text}"
        if status == 0 and ", because " in text: # the next candidate, as documented
            self.apply(source)
            return "" if re.search("red/guest.eth0.*tap", text) else text
        if status == 0:
            self.at = target
            return self.settle(self.states[target], without_history)
        if not clear(text):
            return f"exit status {status} and no reason: {text!r}"
        if "is stored as generation" in text: # said by a commit that the switch has yet to follow
            return self.settle(self.states[target], without_history)
        wrong = self.settle(before, lambda state: state) or self.leak(fds)
        if wrong:
            wrong = f"it said '{text}', and yet: {wrong}"
        try:
            self.reach(target)
        except AssertionError as error:
            return f"{wrong}; afterwards {error}"
        return wrong


# A sentence, and not only that something is wrong.
def clear(text):
    return re.search(r"insula: .*\w+ .*\w", text) and not re.search(r"Success|\(null\)|Empty reply",
                                                                   text)


def difference(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        found = [difference(a.get(k), b.get(k), f"{path}.{k}") for k in sorted({*a, *b})
                 if a.get(k) != b.get(k)]
        return "; ".join(found)
    if isinstance(a, list) and isinstance(b, list) and len(a) + len(b) > 12:
        a, b = [x for x in a if x not in b], [x for x in b if x not in a]
    return f"{path}: wanted {str(a)[:300]}, found {str(b)[:300]}"


def run(bench, seed, one):
    for name in ("small", "large", "two", "small", "large", "two"):
        bench.states.pop(name, None)
        bench.reach(name)
    cases = []
    for program, group in (("insulad", "call"), ("insulad", "allocation"),
                           ("insula-switch", "allocation")):
        for way in WAYS if program == "insulad" else WAYS[:2]:
            n = bench.count(program, group, *way.split("-"))
            print(f"{program}: {n} {group}s {way}", flush=True)
            assert n > 10, "fault.c is not in there"
            cases.append([(program, group, way, nth) for nth in range(1, n + 1)])
    if one:
        group, program, way, nth = one.split(":")
        cases = [[(program, group, way, int(nth))]]
    yield from order(cases, random.Random(seed))


# The ways alternate, as the one begins where the other ends. From each list in turn, shuffled.
def order(lists, rng):
    for cases in lists:
        rng.shuffle(cases)
    while any(lists):
        for cases in lists:
            if cases:
                yield cases.pop()


def main():
    seed = sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] else str(random.randrange(1 << 32))
    print(f"seed {seed}", flush=True)
    bench, n, failed, last = Bench(sys.argv[1]), 0, {}, None
    bench.start()
    try:
        begin = time.monotonic()
        for case in run(bench, seed, sys.argv[3] if len(sys.argv) > 3 else ""):
            if not LONG and time.monotonic() - begin > BUDGET_S:
                break
            program, group, way, nth = case
            n += 1
            wrong = bench.try_case(*case)
            if wrong:
                where = bench.fault.name(bench.fault.last(program))
                print(f"FAIL {group}:{program}:{way}:{nth} {where}\n     {wrong}\n"
                      f"     before it: {last and bench.fault.name(last)}", flush=True)
                print(*bench.log_lines(4), sep="\n", flush=True)
                failed[where] = wrong
                bench.begin_anew()
            last = bench.fault.last(program)
            if n % 500 == 0:
                print(f"{n} cases, {time.monotonic() - begin:.0f} s", flush=True)
        print(f"{n} cases in {time.monotonic() - begin:.0f} s, {len(failed)} places fail")
    finally:
        errors = bench.lab.stop()
    print("\n".join(errors))
    sys.exit(bool(failed or errors or n < MIN_CASES))


main()
