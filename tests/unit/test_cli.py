#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# The command line against an insulad played by this file: what it asks, what it prints in each
# format, its exit statuses, and start and stop with a stand-in. Usage: test_cli.py INSULA
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler

INSULA = os.path.abspath(sys.argv.pop(1))

PORTS = {
    "ports": [
        {"id": 1, "name": "red/web.eth0", "address": "10.0.0.11", "up": True, "vlans": [1, 2]},
        {"id": 22, "name": "red/db.eth0", "address": None, "up": False, "trouble": "a: b # c"},
    ]
}
STATUS = {
    "version": "0.1.0",
    "generation": 7,
    "switch": {"pid": 4711, "workers": 1},
    "uplinks": [{"name": "internet", "mode": "nat"}],
    "warnings": ["no hugepages, no huge pages", "no vfio"],
}
UPLINKS = {"uplinks": [
    {"name": "internet", "id": 1, "state": "broken", "trouble": "no such interface"},
]}
DROPS = {"drops": [
    {"reason": "guard_storm", "count": 0, "text": "too much"},
    {"reason": "tx_full", "count": 3, "text": "the receiver's queue is full"},
]}
CHANGES = [
    {"op": "create", "kind": "tenant", "name": "red", "detail": ""},
    {"op": "update", "kind": "port", "name": "red/web.eth0", "detail": "mtu 1500 -> 1400"},
    {"op": "delete", "kind": "network", "name": "blue/lan", "detail": "vlan 20"},
]

# Plays insulad behind --ready-fd: argv[1] of the script itself says how.
STAND_IN = """#!/usr/bin/env python3
import os, sys, socketserver
from http.server import BaseHTTPRequestHandler
run, fd = sys.argv[sys.argv.index("--run-dir") + 1], int(sys.argv[sys.argv.index("--ready-fd") + 1])
print("2026-01-31T23:59:59Z error insulad: a word for the log", file=sys.stderr, flush=True)
if os.environ["STAND_IN"] != "serve":
    os.write(fd, b"no, for a reason\\n" if os.environ["STAND_IN"] == "say" else b"")
    sys.exit(1)
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"stopping":true}')
        self.server.done = True
    def log_message(self, *args):
        pass
    def address_string(self):
        return ""
os.makedirs(run, exist_ok=True)
path = run + "/insulad.sock"
server = socketserver.UnixStreamServer(path, Handler)
server.done = False
os.write(fd, b"ready\\n")
os.close(fd)
assert sorted(os.listdir("/proc/self/fd"))[:3] == ["0", "1", "2"] and os.getcwd() == "/"
while not server.done:
    server.handle_request()
os.unlink(path)
"""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    answer = {}  # path -> (status, object or bytes)
    asked = []

    def serve(self):
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        Handler.asked.append((self.command, self.path, self.headers.get("X-Insula-File"), body))
        status, data = Handler.answer.get(self.path, (404, {"errors": ["no such thing"]}))
        if status == 0:  # die without a word
            return
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("X-Insula-File", "site.yaml")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = serve

    def log_message(self, *args):
        pass

    def address_string(self):
        return ""


class Cli(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.run_dir = self.tmp.name + "/run"
        self.state_dir = self.tmp.name + "/state/deep"
        os.mkdir(self.run_dir)
        Handler.answer, Handler.asked = {}, []
        self.server = None

    def tearDown(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.tmp.cleanup()

    def serve(self, **answer):
        Handler.answer = {"/v1/" + path: value for path, value in answer.items()}
        self.server = Server(self.run_dir + "/insulad.sock", Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def insula(self, *args, status=0, stdin="", **env):
        p = subprocess.run(
            [INSULA, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            env={
                "PATH": os.environ["PATH"],
                "INSULA_RUN_DIR": self.run_dir,
                "INSULA_STATE_DIR": self.state_dir,
                "http_proxy": "http://127.0.0.1:1",
                **env,
            },
        )
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        return p.stdout, p.stderr

    def test_usage(self):
        for args in (
            [],
            ["bogus"],
            ["instance"],
            ["image", "import", "a"],
            ["image", "import", "a", "b", "--cpus", "2"],
            ["image", "list", "--format", "raw"],
            ["image", "import", "a", "b", "--mirror", "c"],
            ["image", "build", "windows"],
            ["volume", "create", "a", "5"],
            ["volume", "resize", "a", "5GB"],
            ["volume", "resize", "a", "5GiB", "--force"],
            ["image", "build", "debian-12", "--size", "2"],
            ["instance", "bogus"],
            ["instance", "list", "x"],
            ["instance", "start"],
            ["instance", "start", "--force", "red/web"],
            ["list"],
            ["list", "port", "x"],
            ["list", "horse"],
            ["apply"],
            ["status", "-f", "x"],
            ["-o", "xml", "status"],
            ["--bogus"],
            ["apply", "-f", "a.yaml", "-f", "b.yaml"],
        ):
            out, err = self.insula(*args, status=2)
            self.assertEqual(out, "")
            self.assertNotEqual(err, "")
        self.assertIn('-f is given twice, "a.yaml" and "b.yaml"', err)
        self.assertIn("insula 0.", self.insula("--version")[0])
        for args, said in (
            ("apply x", "apply: unexpected 'x'; a file is named by -f FILE\nusage: insula apply"),
            ("diff", "diff: -f FILE is missing\nusage: insula diff -f FILE"),
            ("list port x", "list: unexpected 'x'\n"),
            ("list", "list: too few words\nusage: insula list KIND"),
            ("list port --nope", "option '--nope'\nusage: insula list KIND"),
            ("list port -f x", "list: does not have -f FILE\n"),
            ("instance start --force red/web", "instance start: does not have --force\n"),
        ):
            self.assertIn(said, self.insula(*args.split(), status=2)[1])

    def test_help(self):
        out, _ = self.insula("--help")
        listed = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        names = [line[2:19].strip() for line in listed]
        self.assertEqual(len(names), 31)
        for name in [*names, "instance", "image", "volume"]:
            words = name.split()
            for args in ([*words, "--help"], ["help", *words], ["-h", *words]):
                out, _ = self.insula(*args)
                self.assertIn("usage: insula " + name, out)
                self.assertIn("Example: ", out)

        self.assertIn("Powers off all VMs", self.insula("stop", "--help")[0])
        self.assertIn("the import goes on", self.insula("image", "import", "--help")[0])

    def test_user_data(self):
        def write(name, text):
            with open(f"{self.tmp.name}/{name}", "wb") as f:
                f.write(text)
            return f.name

        def create(*words, status=0):
            Handler.asked.clear()
            _, err = self.insula("instance", "create", "red/web", "--image", "a", *words,
                                 status=status)
            return err or json.loads(Handler.asked[0][3])["user_data"]

        self.serve(instances=(200, {"changes": [], "generation": 1, "warnings": []}))
        Handler.answer["/v1/instances/red%2Fweb"] = (200, {"state": "running"})
        data = write("data", b"#!/bin/sh\necho \"a\"\n")
        self.assertEqual(create("--user-data", data), '#!/bin/sh\necho "a"\n')
        keys = write("keys", b"# mine\nssh-ed25519 AAAA it's me\n\nssh-rsa BBBB")
        self.assertEqual(create("--ssh-key", keys), "#cloud-config\nssh_authorized_keys:\n"
                         "  - 'ssh-ed25519 AAAA it''s me'\n  - 'ssh-rsa BBBB'\n")
        for words, why in (
            (("--ssh-key", keys, "--user-data", data), "do not go together"),
            (("--ssh-key", write("k", b"-----BEGIN OPENSSH PRIVATE KEY-----\n")), "private key"),
            (("--ssh-key", write("n", b"# none\n\n")), "has no key"),
            (("--user-data", write("z", b"a\0b")), "is no text"),
            (("--user-data", write("l", b"\xe4\n")), "is no text in UTF-8"),
            (("--user-data", "/nonexistent"), "/nonexistent: No such file"),
        ):
            self.assertIn(why, create(*words, status=1))
            self.assertEqual(Handler.asked, [])

    def test_sizes(self):
        self.serve()
        for words in (["volume", "create", "w", "16385GiB"], ["volume", "resize", "w", "0MiB"]):
            _, err = self.insula(*words, status=2)
            self.assertIn("allowed: 1MiB to 16384GiB, in MiB or GiB", err)

    # insulad has done what it was told, and then what another command said.
    def test_overtaken(self):
        def answer(state, wanted):
            about = (200, {"name": "red/web", "state": state, "wanted": wanted})
            name = "/v1/instances/red%2Fweb"
            return {name: about, **{f"{name}/{word}": about for word in (
                "start", "stop", "restart", "pause", "resume")}}

        self.serve()
        for state, wanted, words, why in (
            ("stopped", "stopped", ("start", "restart", "pause", "resume"), "somebody has stopped"),
            ("paused", "paused", ("start", "restart", "stop", "resume"), "somebody's command"),
            ("running", "started", ("stop", "pause"), "somebody's command"),
        ):
            Handler.answer = answer(state, wanted)
            for word in words:
                _, err = self.insula("instance", word, "red/web", status=1)
                self.assertTrue(err.startswith(f"insula: red/web is {state}: {why}"), err)
        Handler.answer = answer("stopped", "stopped")
        out, _ = self.insula("instance", "stop", "red/web")
        self.assertEqual(out, "red/web is stopped\n")

    def test_image(self):
        name = self.tmp.name + "/disk"
        with open(name, "wb") as f:
            f.write(b"QFI\xfb")
        ready = {"name": "deb", "state": "ready", "sha256": "12ab"}
        self.serve(images=(200, {}), **{"images/deb": (200, ready)})
        out, err = self.insula("image", "import", "deb", name, "--kernel", name, "--cmdline", "a b")
        self.assertEqual(out, "image deb is ready, SHA-256 12ab\n")
        self.assertIn("--format qcow2 is meant?", err)
        self.assertEqual(Handler.asked[0][:2], ("POST", "/v1/images"))
        wanted = {"name": "deb", "path": name, "kernel": name, "cmdline": "a b"}
        self.assertEqual(json.loads(Handler.asked[0][3]), wanted)
        _, err = self.insula("image", "import", "deb", name, "--format", "qcow2")
        self.assertEqual(err, "")
        Handler.answer["/v1/images/deb"] = (200, {"state": "failed", "trouble": "too bad"})
        _, err = self.insula("image", "import", "deb", name, "--format", "raw", status=1)
        self.assertEqual(err, "insula: image deb: too bad\n")
        _, err = self.insula("image", "import", "deb", "/nonexistent", status=1)
        self.assertIn("/nonexistent: No such file", err)

    # By a stand-in of mmdebstrap: what it is asked for, and what becomes of what it makes.
    def test_image_interrupted(self):
        importing = {"name": "deb", "state": "importing", "done_bytes": 1, "total_bytes": 2}
        self.serve(images=(200, {}), **{"images/deb": (200, importing)})
        for number in (signal.SIGINT, signal.SIGTERM):
            Handler.asked.clear()
            with subprocess.Popen(
                [INSULA, "image", "import", "deb", INSULA], text=True, stderr=subprocess.PIPE,
                env=dict(os.environ, INSULA_RUN_DIR=self.run_dir),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            ) as p:
                while len(Handler.asked) < 3:  # it waits
                    self.assertIsNone(p.poll())
                    time.sleep(0.01)
                p.send_signal(number)
                self.assertIn("the import goes on in insulad: `insula image show deb` tells how "
                              "far it is, `insula image delete deb` ends it\n", p.stderr.read())
            self.assertEqual(p.returncode, -number)

    @unittest.skipUnless(os.geteuid() == 0, "insula image build needs root")
    def test_image_build(self):
        folder = self.tmp.name + "/bin"
        os.mkdir(folder)
        with open(folder + "/mmdebstrap", "w") as f:
            f.write(
                f"#!/bin/bash\nprintf '%s\\n' \"$@\" >{self.tmp.name}/asked\n"
                'for root; do case $root in */root) break ;; esac; done\n'
                'mkdir -p "$root/boot"; echo kernel >"$root/boot/vmlinuz-6.1"\n'
                'echo initrd >"$root/boot/initrd.img-6.1"\n'
                f"exit $(cat {self.tmp.name}/status)\n"
            )
        os.chmod(folder + "/mmdebstrap", 0o755)
        with open(self.tmp.name + "/status", "w") as f:
            f.write("0")
        tmp = self.tmp.name + "/tmp"
        os.mkdir(tmp)
        path = folder + ":/usr/sbin:" + os.environ["PATH"]
        ready = {"name": "web", "state": "ready", "sha256": "12ab"}
        self.serve(images=(200, {"images": []}), **{"images/web": (200, ready)})
        words = ["image", "build", "debian-12", "--name", "web", "--packages", "nginx",
                 "--mirror", "http://m/debian", "--size", "8MiB"]
        out, err = self.insula(*words, PATH=path, TMPDIR=tmp)
        self.assertEqual(out, "image web is ready, SHA-256 12ab\n")
        self.assertIn("3 of 3: import", err)
        with open(self.tmp.name + "/asked") as f:
            asked = f.read().splitlines()
        self.assertEqual(asked[-3::2], ["bookworm", "http://m/debian"])
        self.assertIn("cloud-init", asked[2])
        self.assertTrue(asked[2].endswith(",nginx"), asked[2])
        posted = json.loads(Handler.asked[1][3])
        self.assertEqual(posted["cmdline"], "root=/dev/vda rw console=ttyS0")
        self.assertTrue(posted["kernel"].endswith("/root/boot/vmlinuz-6.1"), posted)
        self.assertEqual(os.listdir(tmp), [])
        Handler.answer["/v1/images"] = (200, {"images": [ready]})
        _, err = self.insula(*words, status=1, PATH=path, TMPDIR=tmp)
        self.assertIn("there is an image web already", err)
        Handler.answer["/v1/images"] = (200, {"images": []})
        with open(self.tmp.name + "/status", "w") as f:
            f.write("1")
        _, err = self.insula(*words, status=1, PATH=path, TMPDIR=tmp)
        self.assertIn("mmdebstrap has failed", err)
        self.assertEqual(os.listdir(tmp), [])
        _, err = self.insula(*words, status=1, PATH="/nonexistent", TMPDIR=tmp)
        self.assertIn("mmdebstrap is missing: apt-get install mmdebstrap", err)

    # Somebody takes connections and never answers.
    def test_no_answer(self):
        os.makedirs(self.run_dir, exist_ok=True)
        path = self.run_dir + "/insulad.sock"
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen(8)
            for args in (["list", "port"], ["status"], ["apply", "-f", "-"]):
                _, err = self.insula(*args, status=1, INSULA_TIMEOUT="1")
                self.assertIn(f"insula: insulad on {path} has not answered in time", err)
        os.unlink(path)

    # As many wait for it as it lets wait: it runs, and nobody is told to start it.
    def test_crowded(self):
        path = self.run_dir + "/insulad.sock"
        with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as waiting:
            silent.bind(path)
            silent.listen(0)
            waiting.connect(path)
            for args in (["list", "port"], ["status"], ["apply", "-f", "-"], ["stop"]):
                _, err = self.insula(*args, status=1, INSULA_TIMEOUT="1")
                self.assertRegex(err, f"^insula: insulad on {path} runs, and more clients wait")
        os.unlink(path)

    def test_not_running(self):
        sock = self.run_dir + "/insulad.sock"
        for args in (["status"], ["list", "port"], ["config"], ["show", "tenant", "red"]):
            _, err = self.insula(*args, status=1)
            self.assertEqual(
                err, f"insula: insulad does not answer on {sock}; start it with: insula start\n"
            )
        out, _ = self.insula("stop")
        self.assertEqual(out, f"insulad does not run on {self.run_dir}\n")

    def test_dies(self):
        self.serve(status=(0, None))
        _, err = self.insula("status", status=1)
        self.assertIn("went away without an answer", err)

    def test_list(self):
        self.serve(ports=(200, PORTS))
        for kind in ("port", "ports"):
            out, _ = self.insula("list", kind)
            lines = [line.split() for line in out.splitlines()]
            self.assertEqual(lines[0], ["NAME", "ID", "ADDRESS", "TROUBLE"])
            self.assertEqual(lines[1], ["red/web.eth0", "1", "10.0.0.11"])
            self.assertEqual(lines[2], ["red/db.eth0", "22", "-", "a:", "b", "#", "c"])
            self.assertIn("red/web.eth0  1 ", out)  # numbers stand right
        self.assertEqual(json.loads(self.insula("list", "port", "-o", "json")[0]), PORTS)
        out, _ = self.insula("-o", "yaml", "show", "port")
        self.assertEqual(
            out,
            "ports:\n- id: 1\n  name: red/web.eth0\n  address: \"10.0.0.11\"\n  up: true\n"
            "  vlans:\n  - 1\n  - 2\n- id: 22\n  name: red/db.eth0\n  address: null\n"
            "  up: false\n  trouble: 'a: b # c'\n",
        )
        self.assertNotIn("\x1b", out)

    def test_uplinks(self):
        self.serve(uplinks=(200, UPLINKS))
        head, row = self.insula("list", "uplink")[0].splitlines()
        self.assertEqual(head.split(), ["NAME", "ID", "STATE", "TROUBLE"])
        self.assertTrue(row.endswith("broken no such interface"), row)

    def test_show(self):
        self.serve(**{"ports/red%2Fweb.eth0": (200, PORTS["ports"][0])})
        out, _ = self.insula("show", "port", "red/web.eth0")
        rows = [line.split(None, 1) for line in out.splitlines()]
        self.assertIn(["address", "10.0.0.11"], rows)
        self.assertIn(["vlans", "1, 2"], rows)
        _, err = self.insula("show", "port", "red/../x?y", status=1)
        self.assertEqual(err, "no such thing\n")
        self.assertEqual(Handler.asked[-1][1], "/v1/ports/red%2F..%2Fx%3Fy")
        out, _ = self.insula("show", "port", "nobody", "-o", "json", status=1)
        self.assertEqual(json.loads(out), {"errors": ["no such thing"]})
        self.insula("show", "port", "", status=1)  # a name that is missing, not all of them
        self.assertEqual(Handler.asked[-1][1], "/v1/ports/")

    def test_status(self):
        self.serve(status=(200, STATUS))
        out, _ = self.insula("status")
        rows = [line.split(None, 1) for line in out.splitlines() if line]
        self.assertIn(["switch.pid", "4711"], rows)
        self.assertIn(["warnings", "no hugepages, no huge pages"], rows)
        self.assertIn(["no", "vfio"], rows)
        self.assertIn(["internet", "nat"], rows)
        self.assertEqual(json.loads(self.insula("status", "-o", "json")[0]), STATUS)

    def test_drops(self):
        self.serve(drops=(200, DROPS))
        out, _ = self.insula("list", "drops")
        self.assertRegex(out, r"tx_full +3 the receiver's queue is full")
        self.assertNotIn("guard_storm", out)
        self.assertEqual(json.loads(self.insula("list", "drops", "-o", "json")[0]), DROPS)

    def test_apply(self):
        name = self.tmp.name + "/a.yaml"
        with open(name, "w") as f:
            f.write("version: 1\n")
        self.serve(config=(200, {"generation": 3, "changes": CHANGES}))
        out, _ = self.insula("apply", "-f", name)
        self.assertEqual(
            out,
            "+ tenant red\n~ port red/web.eth0: mtu 1500 -> 1400\n- network blue/lan: vlan 20\n"
            "3 changes, generation 3\n",
        )
        self.assertEqual(Handler.asked[-1], ("PUT", "/v1/config", name, b"version: 1\n"))
        self.insula("apply", "-f", "-", stdin="# in\n")
        self.assertEqual(Handler.asked[-1], ("PUT", "/v1/config", "<stdin>", b"# in\n"))
        warnings = ["port red/web.eth0: no `netns`"]
        answer = {"generation": 4, "changes": [], "warnings": warnings}
        Handler.answer["/v1/config"] = (200, answer)
        out, err = self.insula("apply", "-f", name)
        self.assertEqual(out, "0 changes, generation 4\n")
        self.assertEqual(err, "insula: port red/web.eth0: no `netns`\n")
        Handler.answer["/v1/config"] = (200, {"generation": 3, "changes": CHANGES})
        out, _ = self.insula("apply", "-f", name, "-o", "json")
        self.assertEqual(json.loads(out)["changes"], CHANGES)

    def test_apply_refused(self):
        errors = ["a.yaml:3: vlan is missing; allowed: 1..4094", "a.yaml:9: b; c"]
        self.serve(config=(422, {"errors": errors}))
        out, err = self.insula("apply", "-f", "-", status=1)
        self.assertEqual(err, "\n".join(errors) + "\ninsula: nothing has been changed\n")
        self.assertEqual(out, "")
        out, _ = self.insula("apply", "-f", "-", "-o", "json", status=1)
        self.assertEqual(json.loads(out), {"errors": errors})
        _, err = self.insula("apply", "-f", "/nonexistent", status=1)
        self.assertIn("/nonexistent: No such file", err)
        _, err = self.insula("apply", "-f", self.tmp.name, status=1)
        self.assertIn("Is a directory", err)
        big = self.tmp.name + "/big"
        with open(big, "w") as f:
            f.truncate((16 << 20) + 1)
        _, err = self.insula("apply", "-f", big, status=1)
        self.assertIn("is too large; allowed: at most 16 MiB", err)

    def test_diff(self):
        self.serve(diff=(200, {"changes": CHANGES[:1]}))
        out, _ = self.insula("diff", "-f", "-", status=1)
        self.assertEqual(out, "+ tenant red\n")
        Handler.answer["/v1/diff"] = (200, {"changes": [], "warnings": []})
        self.assertEqual(self.insula("diff", "-f", "-"), ("", ""))
        Handler.answer["/v1/diff"] = (200, {"changes": [], "warnings": ["a", "b"]})
        self.assertEqual(self.insula("diff", "-f", "-"), ("", "insula: a\ninsula: b\n"))
        Handler.answer["/v1/diff"] = (422, {"errors": ["x:1: y; z"]})
        self.insula("diff", "-f", "-", status=2)

    def test_config(self):
        self.serve(config=(200, b"# mine\nversion: 1\n"))
        self.assertEqual(self.insula("config")[0], "# mine\nversion: 1\n")
        out, _ = self.insula("config", "-o", "json")
        self.assertEqual(json.loads(out), {"file": "site.yaml", "yaml": "# mine\nversion: 1\n"})

    def test_full_disk(self):
        self.serve(ports=(200, PORTS))
        for words in (["list", "port", "--run-dir", self.run_dir], ["--help"], ["--version"]):
            with open("/dev/full", "w") as full:
                p = subprocess.run(
                    [INSULA, *words], stdout=full, stderr=subprocess.PIPE, text=True
                )
            self.assertEqual(p.returncode, 1, words)
            self.assertIn("standard output", p.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "insula start needs root")
    def test_start_stop(self):
        program = self.tmp.name + "/stand-in"
        with open(program, "w") as f:
            f.write(STAND_IN)
        os.chmod(program, 0o755)
        how = {"INSULA_INSULAD": program, "STAND_IN": "serve"}
        out, _ = self.insula("start", **how)
        self.assertRegex(out, r"^insulad runs \(pid \d+\)\n$")
        pid = int(out.split()[-1].rstrip(")"))
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        out, _ = self.insula("start", **how)
        self.assertEqual(out, f"insulad runs already (pid {pid})\n")
        out, _ = self.insula("stop", "-o", "json")
        self.assertEqual(json.loads(out), {"stopped": True, "pid": pid})
        self.assertFalse(os.path.exists(f"/proc/{pid}/exe"))
        self.assertEqual(os.stat(self.state_dir).st_mode & 0o777, 0o700)
        with open(self.state_dir + "/insulad.log") as f:
            self.assertIn("a word for the log", f.read())

    @unittest.skipUnless(os.geteuid() == 0, "insula start needs root")
    def test_start_fails(self):
        program = self.tmp.name + "/stand-in"
        with open(program, "w") as f:
            f.write(STAND_IN)
        os.chmod(program, 0o755)
        log = self.state_dir + "/insulad.log"
        for how in ("say", "die"):
            _, err = self.insula("start", status=1, INSULA_INSULAD=program, STAND_IN=how)
            self.assertEqual(
                err,
                "insulad: a word for the log\n"
                f"insula: insulad did not start; its log is {log}\n",
            )
        _, err = self.insula(
            "start", "--state-dir", self.state_dir + "//", status=1, INSULA_INSULAD=program,
            STAND_IN="say",
        )
        self.assertIn(f"its log is {log}\n", err)
        _, err = self.insula("start", status=1, INSULA_INSULAD="/nonexistent")
        self.assertIn("INSULA_INSULAD", err)

    # A log that is no file: said, and not waited for. Cleaning up goes without it.
    @unittest.skipUnless(os.geteuid() == 0, "insula start needs root")
    def test_log_is_no_file(self):
        log = self.state_dir + "/insulad.log"
        program = self.tmp.name + "/stand-in"
        with open(program, "w") as f:
            f.write('#!/bin/sh\necho "insulad: a word"\nexit $STAND_IN\n')
        os.chmod(program, 0o755)
        os.makedirs(self.state_dir)
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/null", path)):
            make(log)
            how = {"INSULA_INSULAD": program, "STAND_IN": "0"}
            _, err = self.insula("start", status=1, **how)
            self.assertEqual(
                err, f"insula: {log} is not a regular file; move it away with "
                f"`mv {log} {log}.other`\n")
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(self.run_dir + "/insulad.sock")
            out, err = self.insula("stop", **how)
            self.assertIn("is cleaned up", out)
            _, err = self.insula("stop", status=1, **how | {"STAND_IN": "1"})
            self.assertEqual(
                err, "insulad: a word\ninsula: cannot clean up behind a dead insulad\n")
            os.unlink(self.run_dir + "/insulad.sock")
            (os.rmdir if make is os.mkdir else os.unlink)(log)

    # Behind a dead insulad, another one cleans up; what it says is told when it fails.
    @unittest.skipUnless(os.geteuid() == 0, "insula stop needs root to clean up")
    def test_clean_up(self):
        program = self.tmp.name + "/stand-in"
        with open(program, "w") as f:
            f.write('#!/bin/sh\necho "insulad: with $*"\nexit $STAND_IN\n')
        os.chmod(program, 0o755)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.run_dir + "/insulad.sock")
        out, _ = self.insula("stop", INSULA_INSULAD=program, STAND_IN="0")
        self.assertEqual(
            out, f"insulad had died; what it left on {self.run_dir} is cleaned up\n"
        )
        out, _ = self.insula("stop", "-o", "json", INSULA_INSULAD=program, STAND_IN="0")
        self.assertEqual(json.loads(out), {"cleaned_up": True})
        _, err = self.insula("stop", status=1, INSULA_INSULAD=program, STAND_IN="1")
        self.assertEqual(
            err,
            f"insulad: with --run-dir {self.run_dir} --state-dir {self.state_dir} --clean-up\n"
            "insula: cannot clean up behind a dead insulad; its log is "
            f"{self.state_dir}/insulad.log\n",
        )


unittest.main(verbosity=0)
