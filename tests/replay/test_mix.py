#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# A replay's result is one of the packets' order alone: the frames of all cases of TESTLIST, mixed
# by lot, many at one time, give the same verdicts and captures for every burst size and number of
# simulated workers. INSULA_TEST_SEED: another lot. With --long, many, and of all policies.
# long-timeout: 1200
import collections
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("INSULA_ROOT") or pathlib.Path(__file__).parents[2])
BUILD = pathlib.Path(os.environ.get("INSULA_BUILD") or ROOT / "build")
FIXTURES = ROOT / "pcap-fixtures"
SEED = int(os.environ.get("INSULA_TEST_SEED", "1"))
LONG = bool(os.environ.get("INSULA_TEST_LONG"))
ROUNDS = 8 if LONG else 1
GROUPS = 150  # of 20 packets, in the middle
START_NS = 1700000000 * 10**9
# (burst, workers); the first is what the others have to give.
PLAIN, *OTHERS = [(1, 1), (2, 2), (7, 3), (32, 4)] + [(32, 1), (1, 4), (2, 3), (7, 1)] * LONG
ONE_PORT = ("one_port", ["red/web.eth0", "red/db.eth0", "internet"])
VNET = 147  # link type USER0: a virtio_net_hdr of ten bytes before each frame


# A fixture's frames, those that stand behind a header that says something left out.
def frames_of(path):
    data = path.read_bytes()
    link, at = struct.unpack_from("<I", data, 20)[0], 24
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frame, at = data[at + 16:at + 16 + size], at + 16 + size
        if link != VNET:
            yield frame
        elif not any(frame[:10]):
            yield frame[10:]


# Policy: port: frames of all its cases.
def pools():
    pool = collections.defaultdict(lambda: collections.defaultdict(dict))
    for line in (FIXTURES / "TESTLIST").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        for word in words[2].split(","):
            port, _, path = word.partition("=")
            pool[words[1]][port].update(dict.fromkeys(frames_of(FIXTURES / "in" / path)))
    return {policy: {port: list(frames) for port, frames in ports.items()}
            for policy, ports in pool.items()}


# Some more of a frame's kind: to another's MAC, from or to another port, the other way round.
def varied(lot, frame, macs):
    frame = bytearray(frame)
    if lot.random() < 0.3:
        frame[:6] = lot.choice(macs)
    if len(frame) > 42 and frame[12:15] == b"\x08\x00\x45" and frame[23] in (6, 17):
        at = lot.choice((34, 36))
        if lot.random() < 0.5:
            frame[at:at + 2] = lot.randrange(4000, 4004).to_bytes(2, "big")
        if lot.random() < 0.1:
            frame[26:34] = frame[30:34] + frame[26:30]
        if frame[23] == 17:
            frame[40:42] = bytes(2)  # no checksum; nor does anybody look at IPv4's here
    return bytes(frame)


# Groups of one port and one time: few different frames each, again and again.
def mix(lot, ports):
    macs = sorted({f[:6] for frames in ports.values() for f in frames if len(f) > 6})
    few = {port: [varied(lot, lot.choice(frames), macs) for _ in range(40)] + frames[:40]
           for port, frames in ports.items() if frames}
    mixed, now = collections.defaultdict(list), START_NS
    for _ in range(GROUPS):
        port = lot.choice(sorted(few))
        some = lot.choices(few[port], k=lot.randrange(1, 8))
        mixed[port] += [(now, lot.choice(some)) for _ in range(lot.randrange(1, 40))]
        now += lot.choice((0, 1000, 10**6, 10**8, 10**9, 30 * 10**9))
    return mixed


def write(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        for ns, data in frames:
            file.write(struct.pack("<IIII", ns // 10**9, ns % 10**9, len(data), len(data)) + data)


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*"))
            if p.is_file()}


class Mix(unittest.TestCase):
    def replay(self, policy, captures, how):
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch, "out")
            words = [w for port, path in captures.items() for w in ("--in", f"{port}={path}")]
            done = subprocess.run(
                [BUILD / "control/insula", "replay", "--policy",
                 FIXTURES / "policies" / f"{policy}.yaml", *words, "--out", out, "--burst",
                 str(how[0]), "--workers", str(how[1])],
                capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return tree(out)

    def compare(self, policy, ports, seed):
        lot = random.Random(seed)
        with tempfile.TemporaryDirectory() as scratch:
            captures = {}
            for port, frames in mix(lot, ports).items():
                captures[port] = os.path.join(scratch, port.replace("/", "."))
                write(captures[port], frames)
            want = self.replay(policy, captures, PLAIN)
            for how in OTHERS:
                self.same(want, self.replay(policy, captures, how),
                          f"{policy}, seed {seed}, burst {how[0]}, {how[1]} workers")

    def same(self, want, got, what):
        a, b = (t["verdicts.json"].decode().splitlines() for t in (want, got))
        differ = [f"-{x}\n+{y}" for x, y in zip(a, b) if x != y]
        self.assertEqual(differ[:5], [], f"{what}: {len(differ)} verdicts differ")
        self.assertEqual([f for f in want | got if want.get(f) != got.get(f)], [], what)

    def test_mixed(self):
        pool = pools()
        some = sorted(pool) if LONG else ["two_tenants", "trunks"]
        for i in range(ROUNDS):
            for policy in some:
                self.compare(policy, pool[policy], f"{SEED}.{i}")

    # What can be told apart by one external port only: where sessions and mappings meet most.
    def test_scarce(self):
        policy, names = ONE_PORT
        pool = pools()[policy]
        for i in range(ROUNDS):
            self.compare(policy, {name: pool[name] for name in names}, f"{SEED}.{i}.scarce")


if __name__ == "__main__":
    unittest.main()
