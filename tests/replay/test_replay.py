#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# beside: yes
# `insula replay` as a user calls it: its files, its refusals, the formats it reads, and that the
# same input gives the same bytes whatever the burst and the number of simulated workers.
import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["INSULA_ROOT"]
INSULA = os.path.join(os.environ["INSULA_BUILD"], "control/insula")
FIXTURES = os.path.join(ROOT, "pcap-fixtures")
POLICY = os.path.join(FIXTURES, "policies/two_tenants.yaml")
WEB = bytes.fromhex("020000000a11")
DB = bytes.fromhex("020000000a12")


def fixture(name):
    return os.path.join(FIXTURES, "in", name + ".pcap")


def pcap(frames, magic=0xA1B23C4D, link=1, units=1000000000, cut=None):
    out = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for ns, data in frames:
        kept = data[:cut]
        out += struct.pack("<IIII", ns // 10**9, ns % 10**9 * units // 10**9, len(kept), len(data))
        out += kept
    return out


def pcapng(frames, resolution):
    out = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    out += struct.pack("<IIHHIHHIII", 1, 32, 1, 0, 0, 9, 1, resolution, 0, 32)
    for ns, data in frames:
        stamp = ns * 10**resolution // 10**9
        body = data + bytes(-len(data) % 4)
        size = 32 + len(body)
        out += struct.pack("<IIIIIII", 6, size, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(data),
                           len(data)) + body + struct.pack("<I", size)
    return out


def plain(n, size=46):
    """Non-IP from red/web to red/db: dropped, each for the same reason."""
    return [(1000 * 10**9 + i * 1000, DB + WEB + b"\x88\xb5" + bytes(size)) for i in range(n)]


def frames_of(path):
    data, at = pathlib.Path(path).read_bytes(), 24
    while at < len(data):
        s, ns, size = struct.unpack_from("<III", data, at)
        yield s * 10**9 + ns, data[at + 16:at + 16 + size]
        at += 16 + size


def tree(path):
    files = {}
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            files[os.path.relpath(file, path)] = pathlib.Path(file).read_bytes()
    return files


def verdicts_of(out):
    return json.loads(pathlib.Path(out, "verdicts.json").read_text())


class Replay(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.n = 0

    def path(self, name, data=None):
        path = os.path.join(self.scratch.name, name)
        if data is not None:
            with open(path, "wb") as f:
                f.write(data)
        return path

    def insula(self, *words, status=0):
        done = subprocess.run(
            [INSULA, "replay", *words], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def replay(self, inputs, *words, status=0):
        self.n += 1
        out = self.path(f"out{self.n}")
        given = [w for i in inputs for w in ("--in", i)]
        done = self.insula("--policy", POLICY, *given, "--out", out, *words, status=status)
        return done, out

    def refused(self, data, what):
        capture = self.path("bad.pcap", data)
        done, out = self.replay([f"red/web.eth0={capture}"], status=1)
        self.assertIn(f"{capture}: {what}", done.stderr)
        self.assertFalse(os.path.exists(out), "something was left behind")

    def test_files(self):
        done, out = self.replay([f"red/web.eth0={fixture('l2/routed')}"])
        self.assertEqual(sorted(tree(out)), ["red/app.eth0.pcapng", "verdicts.json"])
        verdicts = verdicts_of(out)
        self.assertEqual([v["verdict"] for v in verdicts], ["forwarded", "dropped", "dropped"])
        self.assertEqual([v["stage"] for v in verdicts], ["policy", "route", "route"])
        self.assertEqual(verdicts[0]["rule"], "route red/dmz")
        self.assertEqual(verdicts[0]["out"], ["red/app.eth0"])
        self.assertEqual(verdicts[1]["drop"], "route_ttl")
        self.assertIn("3 packets: 1 forwarded, 0 answered, 0 taken, 2 dropped", done.stdout)
        self.assertIn("1 dropped: route_ttl: TTL ran out at the gateway", done.stdout)
        self.assertEqual(done.stderr, "")

    def test_json(self):
        done, _ = self.replay([f"red/web.eth0={fixture('l2/routed')}"], "--json")
        total = json.loads(done.stdout)
        self.assertEqual((total["packets"], total["dropped"]), (3, 2))
        web = [p for p in total["ports"] if p["port"] == "red/web.eth0"][0]
        self.assertEqual(web["drops"], {"route_ttl": 1, "route_no_route": 1})

    def test_rewrite(self):
        inputs = [f"red/web.eth0={fixture('nat/udp_out')}", f"internet={fixture('nat/udp_back')}"]
        _, out = self.replay(inputs)
        verdicts = verdicts_of(out)
        self.assertEqual(verdicts[0]["rule"], "snat red/lan internet")
        self.assertEqual(verdicts[0]["rewrite"]["from"], "udp 10.0.0.11:4000 > 203.0.113.7:5000")
        self.assertRegex(verdicts[0]["rewrite"]["to"],
                         "^udp 198.51.100.2:[0-9]+ > 203.0.113.7:5000$")
        self.assertEqual(verdicts[-1]["out"], ["red/web.eth0"])
        # the router's answer to the switch's question is no loss
        arp = [v for v in verdicts if v["in"] == "internet"][0]
        self.assertEqual((arp["verdict"], arp["stage"]), ("taken", "service"))
        self.assertNotIn("dropped", [v["verdict"] for v in verdicts])
        # another seed, another external port, and nothing else
        _, other = self.replay(inputs, "--seed", "1")
        theirs = verdicts_of(other)
        self.assertNotEqual(verdicts[0]["rewrite"]["to"], theirs[0]["rewrite"]["to"])

    def test_same_bytes(self):
        inputs = [f"red/web.eth0={fixture('l2/bridged_tcp_burst')}",
                  f"red/db.eth0={fixture('l2/bridged_udp')}",
                  f"internet={fixture('nat/unsolicited')}"]
        _, first = self.replay(inputs)
        want = tree(first)
        for burst in ("1", "7", "32"):
            for workers in ("1", "2", "4"):
                _, out = self.replay(inputs, "--burst", burst, "--workers", workers)
                self.assertEqual(want, tree(out), f"burst {burst}, {workers} workers")

    def test_all_workers(self):
        # as many as --help says; their packet memory is for two runs of --against, too
        inputs = [f"red/web.eth0={fixture('l2/routed')}", f"red/db.eth0={fixture('l2/ping_db')}"]
        _, first = self.replay(inputs)
        for workers in range(2, 17):
            _, out = self.replay(inputs, "--workers", str(workers))
            self.assertEqual(tree(first), tree(out), f"{workers} workers")
        self.against(("# Two", "# two"), inputs, "--workers", "16", status=0)

    def test_formats(self):
        frames = plain(5)
        forms = {
            "us": pcap(frames, magic=0xA1B2C3D4, units=10**6),
            "ns": pcap(frames),
            "ng-us": pcapng(frames, 6),
            "ng-ns": pcapng(frames, 9),
        }
        outs = []
        for name, data in forms.items():
            _, out = self.replay([f"red/web.eth0={self.path(name, data)}"])
            outs.append(tree(out))
        self.assertIn(b'"drop":"guard_non_ip"', outs[0]["verdicts.json"])
        for out in outs[1:]:
            self.assertEqual(outs[0], out)

    def test_order(self):
        # by time, then by the order of --in, then by number; also within a file
        frames = plain(3)
        late = self.path("late", pcap([frames[2], frames[0], frames[1]]))
        same = self.path("same", pcap([frames[1]]))
        _, out = self.replay([f"red/web.eth0={late}", f"red/db.eth0={same}"])
        verdicts = verdicts_of(out)
        self.assertEqual([(v["in"], v["packet"]) for v in verdicts],
                         [("red/web.eth0", 2), ("red/web.eth0", 3), ("red/db.eth0", 1),
                          ("red/web.eth0", 1)])

    def test_refused_files(self):
        self.refused(pcap(plain(3), cut=40), "packet 1: only 40 of 60 bytes were captured")
        self.refused(pcap(plain(3))[:-7], "packet 3: truncated dump file")
        self.refused(pcap(plain(1), link=101), "link type")
        self.refused(pcap([(0, b"123456789")], link=147), "packet 1: 9 bytes hold no virtio_net")
        self.refused(b"not a capture at all, but long enough", "not a capture: unknown file format")
        self.refused(b"", "not a capture: truncated")

    def test_refused_words(self):
        capture = fixture("l2/routed")
        done, _ = self.replay([f"red/nobody.eth0={capture}"], status=1)
        self.assertIn("the policy has no port 'red/nobody.eth0'", done.stderr)
        done, _ = self.replay(["red/web.eth0=/no/such/file"], status=1)
        self.assertIn("/no/such/file: No such file or directory", done.stderr)
        self.replay([], status=2)
        self.replay(["red/web.eth0"], status=2)
        self.replay([f"red/web.eth0={capture}"], "--seed", "x", status=2)
        for option, word, most in (("--burst", "0", 32), ("--workers", "99", 16),
                                   ("--burst", "2x", 32), ("--workers", "-1", 16)):
            done, _ = self.replay([f"red/web.eth0={capture}"], option, word, status=2)
            self.assertEqual(done.stderr,
                             f"insula replay: {option} is {word}; 1 to {most} is possible\n")
        for seed in ("18446744073709551616", "99999999999999999999999"):
            done, _ = self.replay([f"red/web.eth0={capture}"], "--seed", seed, status=2)
            self.assertIn(f"--seed is {seed}; a number up to 18446744073709551615 is needed",
                          done.stderr)
        self.replay([f"red/web.eth0={capture}"], "--seed", "18446744073709551615")
        for option, first, then in (("--policy", POLICY, "x"), ("--seed", "1", "1"),
                                    ("--burst", "2", "3"), ("--workers", "1", "2"),
                                    ("--out", "a", "b"), ("--against", "a", "b")):
            done = self.insula(option, first, option, then, "--in", f"a={capture}", status=2)
            self.assertIn(f'{option} is given twice, "{first}" and "{then}"', done.stderr)
        done, _ = self.replay([f"red/web.eth0={capture}"] * 2, status=2)
        self.assertIn("--in names port red/web.eth0 twice", done.stderr)
        self.insula("--policy", POLICY, "--in", f"red/web.eth0={capture}", status=2)
        bad = self.path("bad.yaml", b"version: 1\ntenants:\n  - {nome: x}\n")
        done = self.insula(
            "--policy", bad, "--in", f"a={capture}", "--out", self.path("o"), status=1)
        self.assertIn(f"{bad}:3:", done.stderr)
        done = subprocess.run([INSULA, "status", "--seed", "1"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)

    def against(self, change, inputs, *words, status):
        text = pathlib.Path(POLICY).read_text()
        self.assertIn(change[0], text)
        new = self.path("new.yaml", text.replace(*change).encode())
        given = [w for i in inputs for w in ("--in", i)]
        return self.insula("--policy", POLICY, "--against", new, *given, *words, status=status)

    def test_against_same(self):
        inputs = [f"red/web.eth0={fixture('l2/routed')}", f"internet={fixture('nat/unsolicited')}"]
        done = self.against(("# Two", "# two"), inputs, status=0)
        self.assertEqual(done.stdout, "0 of 7 packets end otherwise, in 0 flows\n")
        done = self.against(("# Two", "# two"), inputs, "--json", status=0)
        self.assertEqual(json.loads(done.stdout), {"packets": 7, "changed": 0, "flows": []})

    def test_against_changed(self):
        # db goes elsewhere: what was bridged to it finds nobody, three packets of one flow
        inputs = [f"red/web.eth0={fixture('l2/bridged_udp')}"]
        change = ('mac: "02:00:00:00:0a:12"', 'mac: "02:00:00:00:0a:13"')
        done = self.against(change, inputs, status=1)
        self.assertEqual(done.stdout.splitlines(), [
            "red/web.eth0: udp 10.0.0.11:4000 > 10.0.0.12:5000: 3 packets from number 1 on",
            "  old: forwarded to red/db.eth0 (segment red/lan)",
            "  new: dropped: fdb_unknown_unicast",
            "3 of 3 packets end otherwise, in 1 flow",
        ])
        done = self.against(change, inputs, "--json", status=1)
        flow = json.loads(done.stdout)["flows"][0]
        self.assertEqual(flow["flow"], "udp 10.0.0.11:4000 > 10.0.0.12:5000")
        self.assertEqual(flow["old"], {"verdict": "forwarded to red/db.eth0",
                                       "rule": "segment red/lan"})
        self.assertEqual(flow["new"], {"verdict": "dropped: fdb_unknown_unicast", "rule": ""})

    def test_against_other_address(self):
        # the same way out behind another address
        inputs = [f"red/web.eth0={fixture('nat/udp_out')}", f"internet={fixture('nat/udp_back')}"]
        done = self.against(("address: 198.51.100.2/24", "address: 198.51.100.3/24"), inputs,
                            "--json", status=1)
        old, new = [[f[w]["verdict"] for f in json.loads(done.stdout)["flows"]]
                    for w in ("old", "new")]
        self.assertEqual(old[0], "forwarded to internet from 198.51.100.2")
        self.assertEqual(new[0], "forwarded to internet from 198.51.100.3")
        self.assertIn("forwarded to red/web.eth0 for 10.0.0.11", old)
        self.assertIn("dropped: policy_uplink_unsolicited", new)

    def test_against_port_gone(self):
        inputs = [f"red/web.eth0={fixture('l2/bridged_udp')}"]
        nics = "\n        nics: [{network: lan, netns: n,"
        done = self.against(("- name: web" + nics, "- name: site" + nics), inputs, status=1)
        self.assertIn("red/web.eth0: udp 10.0.0.11:4000 > 10.0.0.12:5000: 3 packets", done.stdout)
        self.assertIn("  new: dropped: port_no_policy", done.stdout)

    def test_against_trouble(self):
        inputs = [f"red/nobody.eth0={fixture('l2/bridged_udp')}"]
        done = self.against(("# Two", "# two"), inputs, status=2)
        self.assertIn("neither policy has a port 'red/nobody.eth0'", done.stderr)
        self.against(("version: 1", "version: 2"), inputs, status=2)
        self.against(("# Two", "# two"), inputs, "--out", self.path("o"), status=2)
        self.against(("# Two", "# two"), ["red/web.eth0=/no/such/file"], status=2)

    def test_other_hosts_macs(self):
        # MACs that the file leaves open are this host's only with its state
        own = plain(1)
        foreign = [(ns, DB + bytes.fromhex("02ffffffffff") + data[12:]) for ns, data in plain(3)]
        policy = pathlib.Path(POLICY).read_text(encoding="utf-8")
        other = self.path("other.yaml", policy.replace("# Two", "# two").encode())
        for frames, n in ((foreign, 1), (foreign + own, 0), ([], 0)):
            capture = f"red/web.eth0={self.path('web.pcap', pcap(frames))}"
            warning = "red/web.eth0: all packets are dropped as guard_src_mac; their MACs are " \
                      "not those of this policy: --state-dir /var/lib/insula?"
            done, _ = self.replay([capture])
            self.assertEqual(done.stderr, f"insula replay: {warning}\n" * n)
            done = self.insula("--policy", POLICY, "--against", other, "--in", capture)
            self.assertEqual(done.stderr, f"insula replay: {warning}\n" * n)

    def full(self, *words, status):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([INSULA, "replay", "--policy", POLICY, *words], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual(
            done.stderr, "insula replay: standard output: No space left on device\n")
        self.assertEqual(done.returncode, status)

    def test_output_is_full(self):
        given = ["--in", f"red/web.eth0={fixture('l2/routed')}"]
        self.full(*given, "--out", self.path("o"), status=1)
        self.full(*given, "--out", self.path("p"), "--json", status=1)
        # 1 would say that something differs
        self.full(*given, "--against", POLICY, status=2)
        self.full(*given, "--against", POLICY, "--json", status=2)

    def test_disk_is_full(self):
        # of files over 64 KiB; each of verdicts and capture alone, and both
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

        long = max((f for _, f in frames_of(fixture("l2/mtu")) if len(f) <= 1514), key=len)
        for i, (frame, n) in enumerate(((plain(1)[0][1], 2000), (long, 100), (long, 2000))):
            capture = self.path("many.pcap", pcap([(10**12 + k, frame) for k in range(n)]))
            out = self.path(f"full{i}")
            done = subprocess.run(
                [INSULA, "replay", "--policy", POLICY, "--in", f"red/web.eth0={capture}", "--out",
                 out], capture_output=True, text=True, timeout=60, check=False, preexec_fn=limit,
                restore_signals=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("File too large", done.stderr)
            self.assertFalse(os.path.exists(out), "something was left behind")

    def test_ended_at_start(self):
        # what DPDK wants to have for its start goes, whoever ends it
        scratch = self.path("tmp")
        os.mkdir(scratch)
        caught = 0
        for end in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 3:
            out = self.path(f"ended{self.n}")
            self.n += 1
            with subprocess.Popen(
                    [INSULA, "replay", "--policy", POLICY, "--in",
                     f"red/web.eth0={fixture('l2/routed')}", "--out", out],
                    stdout=subprocess.DEVNULL, env=os.environ | {"TMPDIR": scratch}) as run:
                while run.poll() is None and not os.listdir(scratch):
                    pass
                run.send_signal(end)
                caught += run.wait(60) == -end
            self.assertEqual(os.listdir(scratch), [])
        self.assertGreater(caught, 0)

    def test_used_directory(self):
        _, out = self.replay([f"red/web.eth0={fixture('l2/routed')}"])
        before = tree(out)
        self.n -= 1
        done, _ = self.replay([f"red/web.eth0={fixture('l2/gateway')}"], status=1)
        self.assertIn("is not empty; name a new directory", done.stderr)
        self.assertEqual(before, tree(out))


if __name__ == "__main__":
    sys.stdout.flush()
    unittest.main(argv=[sys.argv[0], "-v"])
