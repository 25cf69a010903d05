# SPDX-License-Identifier: BSD-3-Clause
# Sockets between the test guest and the host by insula-vmm: both ways, refused, closed, too many of
# them, paused, lied to; and what a machine that may connect sees of the host. Called by
# test_vmm_vsock.sh.
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
import machine as machines
from disks import FOLDER, run_cases
from guest_qemu import PLAIN_RINGS, pattern

PORT, SECONDS, EACH_WAY = 1234, 20, 64
INJECT = os.path.join(machines.BUILD, "tests", "kvm", "vmm-inject")
KILLED = {"openat": (257, -100, 0, 0), "an IPv4 socket": (41, 2, 0o2004001, 0),
          "a datagram socket": (41, 1, 0o2004002, 0), "recvmsg": (47, 0, 0, 0),
          "KVM_RUN": (16, 0, 0xae80, 0), "bind": (49, 0, 0, 0), "listen": (50, 0, 0),
          "mkdir": (83, 0, 0), "unlink": (87, 0)}


# A folder that the machine's user may search, and the path in it.
def path_of(name):
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    return os.path.join(folder, "v.sock")


class Server:
    """Port `port` of the host's: each connection is `handle`d by a thread of its own."""

    def __init__(self, path, handle, port=PORT):
        self.path, self.handle = f"{path}_{port}", handle
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.socket.listen(128)
        self.kept = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.kept.append(connection)
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def echo(connection):
    while data := connection.recv(10000):
        connection.sendall(data)
    connection.close()


def keep(_connection):
    pass


def vmm(run, path, *options, keys="", cid=3):
    return machines.Machine(machines.command(run, "--vsock", f"cid={cid},socket={path}", *options,
                                             keys=keys), seconds=SECONDS)


def dial(path, line=f"CONNECT {PORT}\n".encode()):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)  # waits, if the backlog is full
    s.settimeout(SECONDS)
    s.sendall(line)
    return s


def read_line(s):
    text = b""
    while not text.endswith(b"\n") and (byte := s.recv(1)):
        text += byte
    return text


# size: whole words
def exchange(s, size):
    data, got = pattern(5, 0, size), b""
    sender = threading.Thread(target=s.sendall, args=(data,))
    sender.start()
    while len(got) < size and (more := s.recv(65536)):
        got += more
    sender.join()
    assert got == data, f"{len(got)} of {size} bytes came back, or others"


def test_guest_connects():
    for keys in ("", PLAIN_RINGS, "poll"):
        path = path_of("connects")
        server = Server(path, echo)
        machine = vmm(f"vsock-refused:{PORT + 1},vsock-echo:{PORT}:8:1,"
                      f"vsock-echo:{PORT}:1000000:2,vsock-refused:0", path, keys=keys)
        machine.done()
        server.close()


# The socket's file stays, and the next machine takes its place.
def test_nobody_listens():
    path = path_of("nobody")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{path}_{PORT}")
        os.chmod(f"{path}_{PORT}", 0o666)
        for _ in range(2):
            vmm(f"vsock-refused:{PORT}", path).done()


def test_host_connects():
    path = path_of("dials")
    for keys in ("", PLAIN_RINGS):
        machine = vmm(f"vsock-listen:{PORT},vsock-listen:{PORT}", path, keys=keys)
        machine.wait("ok vsock-listen listens")
        for line in (b"CONNECT\n", b"connect 7\n", b"CONNECT 7x\n", b"CONNECT 4294967296\n",
                     b"CONNECT -1\n", b"x" * 30, b"CONNECT 77\n"):
            with dial(path, line) as s:
                try:
                    assert s.recv(100) == b"", line
                except ConnectionResetError:
                    pass  # not all of the line was read
        names = set()
        for size in (8, 300000):
            with dial(path) as s:
                names.add(read_line(s))
                exchange(s, size)
                s.shutdown(socket.SHUT_WR)
                assert s.recv(1) == b""
        assert len(names) == 2 and all(name.startswith(b"OK ") for name in names), names
        machine.done()


# What is behind the line belongs to the guest; who closes at once is no harm.
def test_host_hurries():
    path = path_of("hurries")
    machine = vmm(f"vsock-listen:{PORT},vsock-listen:{PORT},vsock-refused:1", path)
    machine.wait("ok vsock-listen listens")
    with dial(path, f"CONNECT {PORT}\nhello".encode()) as s:
        assert read_line(s).startswith(b"OK ") and s.recv(5) == b"hello"
    machine.wait("ok vsock-listen from")
    machine.wait("ok vsock-listen listens")
    dial(path, b"CONN").close()
    dial(path, b"CONNECT 5").close()
    with dial(path) as s:
        read_line(s)
    machine.done()


def test_hostile():
    path = path_of("hostile")
    server = Server(path, keep)
    other = Server(path, echo, PORT + 1)
    machine = vmm(f"vsock-hostile:{PORT},vsock-echo:{PORT + 1}:100000:3", path)
    machine.done()
    server.close()
    other.close()


def fds(machine):
    return len(os.listdir(f"/proc/{machine.process.pid}/fd"))


# Neither the guest nor the host's programs get more than their share, nor do they take the other's.
def test_many():
    path = path_of("many")
    server = Server(path, echo)
    machine = vmm(f"vsock-echo:{PORT}:8:1,vsock-many:{PORT}:1000,vsock-echo:{PORT}:8:1,"
                  f"vsock-listen:{PORT}", path)
    machine.wait("ok vsock-echo")
    assert machine.wait("ok vsock-many") == f"ok vsock-many {EACH_WAY} accepted"
    machine.wait("ok vsock-listen listens")
    before = fds(machine)
    idle = [dial(path, b"") for _ in range(EACH_WAY + 8)]  # they say nothing
    late = dial(path)
    assert fds(machine) <= before + EACH_WAY, fds(machine) - before
    for s in idle:
        s.close()
    assert read_line(late).startswith(b"OK ")
    exchange(late, 1000)
    late.close()
    machine.done()
    server.close()


def call(api, method, path, body=""):
    result = subprocess.run(["curl", "--silent", "--show-error", "--fail-with-body",
                             "--unix-socket", api, "-X", method, "--data-binary", body,
                             f"http://x{path}"], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# Configured by the API; paused, nothing comes through, and all of it afterwards.
def test_paused():
    path, api = path_of("paused"), os.path.join(FOLDER, "api.sock")
    machine = machines.Machine([machines.VMM, "--api", api], seconds=SECONDS)
    while not os.path.exists(api):
        assert machine.process.poll() is None
    call(api, "PUT", "/v1/config",
         f'{{"kernel": "{machines.GUEST}", "memory": 64, "no-reboot": true, '
         f'"cmdline": "run=vsock-listen:{PORT}", "vsock": {{"cid": 9, "socket": "{path}"}}}}')
    call(api, "PUT", "/v1/boot")
    machine.wait("ok vsock-listen listens")
    with dial(path) as s:
        assert read_line(s).startswith(b"OK ")
        exchange(s, 104)
        call(api, "PUT", "/v1/pause")
        s.sendall(b"hello")
        s.settimeout(0.2)
        try:
            assert not s.recv(5), "it answered while it was paused"
        except TimeoutError:
            pass
        s.settimeout(SECONDS)
        call(api, "PUT", "/v1/resume")
        assert s.recv(5) == b"hello"
    machine.done()


# The thread that may connect, which waits in epoll_wait as the device thread does.
def socket_thread(pid):
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as f:
            if tid != pid and f.read().split()[0] == "232":
                return tid
    return None


def make_victim(path):
    machine = vmm("sleep:60000", path)
    machine.wait("guest: ready")
    while not (tid := socket_thread(machine.process.pid)):
        assert machine.process.poll() is None
    return machine, tid


def inject(tid, words):
    result = subprocess.run([INJECT, str(tid), *map(str, words)], check=True, capture_output=True,
                            text=True)
    return result.stdout.strip()


# It sees that folder and nothing else, and cannot change it.
def test_confined():
    path = path_of("confined")
    with open(os.path.join(os.path.dirname(path), "beside"), "w", encoding="ascii"):
        pass
    machine, _ = make_victim(path)
    for tid in os.listdir(f"/proc/{machine.process.pid}/task"):
        root = f"/proc/{machine.process.pid}/task/{tid}/root"
        assert sorted(os.listdir(root)) == ["beside", "v.sock"], os.listdir(root)
        assert os.statvfs(root).f_flag & os.ST_RDONLY, "its root folder can be written to"
        with open(f"/proc/{machine.process.pid}/task/{tid}/mountinfo", encoding="utf-8") as f:
            assert len(f.readlines()) == 1, "it has the host's mounts"
    machine.kill()
    for name, words in KILLED.items():
        machine, tid = make_victim(path)
        assert inject(tid, words) == "killed by signal 31", name
        assert machine.process.wait(SECONDS) == -31, name


def test_refusals():
    for words in ("", "cid=3", "socket=/tmp/x", "cid=2,socket=/tmp/x", "cid=3,socket=/tmp/",
                  "cid=4294967295,socket=/tmp/x", "cid=3,socket=/no/such/folder/x"):
        machine = machines.Machine(machines.command("sleep:1", "--vsock", words), seconds=SECONDS)
        assert machine.end() in (1, 2) and "--vsock" in machine.lines[0], machine.lines


run_cases(globals())
