#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Negates each check of the pipeline in turn and wants a case of pcap-fixtures/TESTLIST to fail for
# it. Those for which none does must stand in pcap-fixtures/SURVIVORS with the reason, and no others
# may.
import argparse
import collections
import concurrent.futures
import fnmatch
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import checks  # noqa: E402

ROOT = pathlib.Path(os.environ.get("INSULA_ROOT") or pathlib.Path(__file__).parents[2])
BUILD = ROOT / "build-mutants"
TREE = BUILD / "tree"
RUNNER = BUILD / "out/tests/replay/run_fixtures"
EXPLAINED = ROOT / "pcap-fixtures/SURVIVORS"
FOLDERS = ["vswitch", "vlan", "dhcp"]
# What decides about packets: the table of stages, and the timers a replay has. All that they can
# call is mutated.
PIPELINE = ["pipeline", "neighbour_tick", "switch_expire"]
FIRST = 8  # cases that are tried before all the others

Result = collections.namedtuple("Result", "number how case")


def read_sources():
    paths = sorted(p for f in FOLDERS for p in (ROOT / f).glob("*.[ch]"))
    return [checks.Source(str(p.relative_to(ROOT)), p.read_text()) for p in paths]


class Mutants:
    """The checks of the tree as it stands: number n is checks[n - 1], its key keys[n - 1]."""

    def __init__(self):
        self.sources = read_sources()
        self.first, self.checks = checks.find(self.sources, PIPELINE)
        self.keys = checks.keys(self.checks)
        self.number = {key: n for n, key in enumerate(self.keys, 1)}

    def where(self, number):
        c = self.checks[number - 1]
        return f"{c.path}:{c.line}: {c.function}: {self.keys[number - 1].split(': ', 1)[1]}"


# --- the build: the tree with its checks wrapped

def put(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def mirror(mutants):
    """The tree again, by links, but for the folders whose sources are rewritten."""
    shutil.rmtree(TREE, ignore_errors=True) if not (TREE / "meson.build").is_symlink() else None
    TREE.mkdir(parents=True, exist_ok=True)
    for there in ROOT.iterdir():
        here = TREE / there.name
        if there.name in FOLDERS:
            here.mkdir(exist_ok=True)
        elif not there.name.startswith(("build", ".git")) and not here.is_symlink():
            here.symlink_to(there)
    numbered = collections.defaultdict(list)
    for n, c in enumerate(mutants.checks, 1):
        numbered[c.path].append((n, c))
    kept = set()
    for source in mutants.sources:
        kept.add(TREE / source.path)
        put(TREE / source.path, checks.instrument(source, mutants.first, numbered[source.path]))
    for folder in FOLDERS:
        put(TREE / folder / "meson.build", (ROOT / folder / "meson.build").read_text())
        for path in (TREE / folder).glob("*.[ch]"):
            if path not in kept:
                path.unlink()


def build(mutants):
    mirror(mutants)
    commands = [["ninja", "-C", str(BUILD / "out"), "tests/replay/run_fixtures"]]
    if not (BUILD / "out/build.ninja").exists():
        commands.insert(0, ["meson", "setup", str(BUILD / "out"), str(TREE), "-Dmutants=true",
                            "-Dwerror=false", "-Dwarning_level=0"])
    for command in commands:
        done = subprocess.run(command, text=True, errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            print(done.stdout[-6000:])
            sys.exit("mutants: the rewritten sources do not compile")


# --- runs

def limits():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 31, 1 << 31))


def run(number, cases, scratch, seen=None):
    """None if every case passes, else (how, case)."""
    env = {"PATH": str(scratch / "no-tshark"), "INSULA_MUTANT": str(number),
           "INSULA_SOURCE_ROOT": str(ROOT)}
    env.update({"INSULA_MUTANTS_SEEN": str(seen)} if seen else {})
    with tempfile.TemporaryDirectory(dir=scratch) as work:  # what a crash leaves goes with it
        env["TMPDIR"] = work
        done = subprocess.run([RUNNER, "--quick", *cases], env=env, preexec_fn=limits, cwd=ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode == 0:
        return None
    passed = sum(line.startswith("ok ") for line in done.stdout.splitlines())
    failed = [line.split(" - ")[1] for line in done.stdout.splitlines()
              if line.startswith("not ok ")]
    how = "failed" if failed else ("hung" if done.returncode == -signal.SIGPROF else "crashed")
    return how, failed[0] if failed else f"after {passed} cases", done.stdout[-3000:]


def baseline(scratch):
    """Runs all cases as they are: {number: {case: what it was}}."""
    seen = scratch / "seen"
    wrong = run(0, [], scratch, seen)
    if wrong:
        print(wrong[2])
        sys.exit(f"mutants: {wrong[1]} {wrong[0]} with nothing negated")
    met = collections.defaultdict(dict)
    for line in seen.read_text().splitlines():
        case, *pairs = line.split()
        for pair in pairs:
            number, values = pair.split(":")
            met[int(number)][case] = int(values)
    return met


def order(met):
    """For each check its cases, those that meet few checks first."""
    size = collections.Counter(case for cases in met.values() for case in cases)
    return {n: sorted(cases, key=lambda c: (size[c], c)) for n, cases in met.items()}


def judge(number, cases, scratch):
    for some in (cases[:FIRST], cases[FIRST:]):
        wrong = run(number, some, scratch) if some else None
        if wrong:
            return Result(number, wrong[0], wrong[1])
    return Result(number, "survived" if cases else "unmet", None)


def judge_all(mutants, numbers, cases, scratch, args):
    results, last = [], time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        todo = [pool.submit(judge, n, cases.get(n, []), scratch) for n in numbers]
        for future in concurrent.futures.as_completed(todo):
            r = future.result()
            results.append(r)
            if args.all:
                print(f"{r.how:9}{mutants.where(r.number)}" + (f"  [{r.case}]" if r.case else ""),
                      flush=True)
            elif time.monotonic() - last > 60:
                last = time.monotonic()
                print(f"# {len(results)} of {len(numbers)}", flush=True)
    return sorted(results)


# --- what is known

def read_explained(path):
    """{key: line}: lines that begin with a blank give the reason for the keys above them."""
    keys, waiting, wrong = {}, [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            waiting = []
        else:
            if line in keys:
                wrong.append(f"{path.name}:{number}: again: {line}")
            keys[line] = number
            waiting.append(number)
            continue
    if waiting:
        wrong.append(f"{path.name}:{waiting[0]}: no reason is given")
    return keys, wrong


def compare(mutants, results, explained):
    """Complaints, a line each."""
    wrong = []
    for r in results:
        key = mutants.keys[r.number - 1]
        alive = r.how in ("survived", "unmet")
        if alive and key not in explained:
            wrong.append(f"{mutants.where(r.number)}: " + (
                "negated, no case fails" if r.how == "survived" else "no case meets it"))
        elif not alive and key in explained:
            wrong.append(f"{EXPLAINED.name}:{explained[key]}: take it out, {r.case} fails for it: "
                         f"{key}")
    return wrong


def stale(mutants, explained):
    return [f"{EXPLAINED.name}:{n}: the pipeline has no such check: {key}"
            for key, n in explained.items() if key not in mutants.number]


def report(results):
    how = collections.Counter(r.how for r in results)
    killed = how["failed"] + how["crashed"] + how["hung"]
    print(f"{len(results)} checks: {killed} killed ({how['failed']} by a case that failed, "
          f"{how['crashed']} crashed, {how['hung']} hung), {how['survived']} survived, "
          f"{how['unmet']} met by no case")


def main():
    about = argparse.ArgumentParser(description="Negates each check of the pipeline in turn; a "
                                    "case of TESTLIST must fail for it, or SURVIVORS say why not.")
    about.add_argument("pattern", nargs="*", help="only checks whose name in SURVIVORS matches, "
                       "for example 'vswitch/guard.c:*'")
    about.add_argument("--list", action="store_true", help="only print the checks")
    about.add_argument("--all", action="store_true", help="print what became of each check")
    about.add_argument("--known", action="store_true",
                       help="only look whether SURVIVORS names checks that are there")
    about.add_argument("--sample", type=int, metavar="N", help="only N checks, by lot")
    about.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    about.add_argument("--jobs", type=int, default=os.cpu_count())
    args = about.parse_args()
    mutants = Mutants()
    explained, wrong = read_explained(EXPLAINED)
    wrong += stale(mutants, explained)
    numbers = [n for n, key in enumerate(mutants.keys, 1) if not args.pattern or
               any(fnmatch.fnmatchcase(key, p) for p in args.pattern)]
    if args.sample is not None:
        print(f"--sample {args.sample} --seed {args.seed}")
        numbers = sorted(random.Random(args.seed).sample(numbers, min(args.sample, len(numbers))))
    if args.list:
        print("\n".join(mutants.where(n) for n in numbers))
    elif not args.known:
        build(mutants)
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            results = judge_all(mutants, numbers, order(baseline(scratch)), scratch, args)
        report(results)
        wrong += compare(mutants, results, explained)
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
