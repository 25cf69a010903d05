#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Port kind vhost-user inside insula-switch as it runs: unprivileged, under seccomp, workers asleep.
# A port as server and one as client are added over the control socket, front ends attach, send,
# receive nothing, leave, come back, and lie once; then the ports go. Run by test_vhost_switch.sh;
# argument: the insula-switch binary.
import fcntl
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from vhost_front_end import *  # noqa: E402,F403

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "../../control/proto.h"), encoding="utf-8") as header:
    [VERSION_] = map(int, re.findall(r"PROTO_VERSION = (\d+)", header.read()))
MAGIC, REPLY = 0x31434E49, 0x8000
PORT_ADD, PORT_DEL, PORT_LIST, SECTION_PUT, POLICY_COMMIT = 2, 3, 4, 6, 7
VHOST, SERVER = 2, 1
HEADER, STATUS, ENTRY = 16, 16 + 8 + 240, 24 + 64 + 256
FRAME = bytes(64)
NONE = 0xFFFFFFFF


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.seq = 0

    def ask(self, kind, body, fds=()):
        self.seq += 1
        message = struct.pack("<IHHII", MAGIC, VERSION_, kind, self.seq, HEADER + len(body)) + body
        socket.send_fds(self.sock, [message], fds)
        while True:
            reply = self.sock.recv(1 << 16)
            if struct.unpack_from("<H", reply, 6)[0] == kind | REPLY:
                error = struct.unpack_from("<i", reply, HEADER)[0]
                assert error == 0, reply[HEADER + 8:STATUS].split(b"\0")[0].decode()
                return reply[STATUS:]

    def add(self, port, flags, path, queues=1):
        self.ask(PORT_ADD,
                 struct.pack("<IHHII", port, VHOST, flags, 1500, queues) + name(f"p{port}") +
                 path.encode().ljust(256, b"\0"))

    # Workers serve a port once the policy names it: one tenant, one segment, ports 1 and 2.
    def commit_policy(self):
        section = tenant_section()
        digest = hashlib.sha256(section).digest()
        ref = digest + struct.pack("<IIQ", 1, len(section), 1)
        root = struct.pack("<IIQII", 0x52504E49, 1, 1, 1, 24 + len(ref)) + ref
        self.ask(SECTION_PUT, ref, [sealed(section)])
        self.ask(POLICY_COMMIT, b"", [sealed(root)])

    def is_up(self, port):
        data = self.ask(PORT_LIST, struct.pack("<II", 0, 0))
        size = (len(data) - 8) // struct.unpack_from("<I", data, 4)[0]
        for at in range(8, len(data), size):
            if struct.unpack_from("<I", data, at)[0] == port:
                return struct.unpack_from("<I", data, at + 16)[0] == 1
        return False


def tenant_section():
    subnet, gateway = socket.inet_aton("10.0.0.0"), socket.inet_aton("10.0.0.1")
    segment = struct.pack("<IIHH", 1, 1, 10, 1500) + subnet + gateway + bytes(
        [2, 0, 0, 0, 1, 1, 24, 0]) + bytes(20) + struct.pack("<II", 3600, 0) + name("lan")
    ports = b"".join(struct.pack("<IIBB", i, 1, 0, 0) + bytes([2, 0, 0, 0, 0, i]) +
                     socket.inet_aton(f"10.0.0.1{i}") + struct.pack("<IIII", 0, 0, NONE, NONE) +
                     bytes(4) + name(f"p{i}") for i in (1, 2))
    size = 32 + NAME_SIZE + len(segment) + len(ports)
    header = struct.pack("<IIIIIIII", 0x53504E49, 1, 1, size, 1, 2, 0, 0) + name("t")
    return header + segment + ports


def sealed(data):
    fd = os.memfd_create("policy", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def name(text):
    return text.encode().ljust(NAME_SIZE, b"\0")


def name_size():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(here + "/../../control/policy.h") as f:
        for line in f:
            if "POLICY_NAME_SIZE" in line and "=" in line:
                return int(line.split("=")[1].split(",")[0].split("/")[0])
    raise AssertionError("POLICY_NAME_SIZE not found")


NAME_SIZE = name_size()


def until(what, condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.02)


def use(control, port, front_end):
    with front_end as f:
        f.setup()
        f.receive()
        until(f"port {port} is up", lambda: control.is_up(port))
        f.transmit(FRAME, 5)
        until("the worker wakes up and takes the frames", lambda: f.used_index(1) == 5)
    until(f"port {port} is down", lambda: not control.is_up(port))


def accept(listener):
    return FrontEnd(sock=listener.accept()[0])


def main():
    run = tempfile.mkdtemp()
    os.chmod(run, 0o755)
    switch = subprocess.Popen([sys.argv[1], "--run-dir", run])
    try:
        until("the control socket", lambda: os.path.exists(run + "/switch.sock"))
        control = Control(run + "/switch.sock")
        served, dialled = run + "/vhost/served", run + "/vhost/dialled"
        control.commit_policy()
        control.add(1, SERVER, served)
        for _ in range(3):
            until("the port listens", lambda: os.path.exists(served))
            use(control, 1, FrontEnd(served))
        print("ok a front end attaches to a listening port, three times")

        control.add(2, 0, dialled)  # nobody is there yet
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(dialled)
        os.chmod(dialled, 0o666)
        listener.listen(4)
        listener.settimeout(5)
        for _ in range(3):
            use(control, 2, accept(listener))
        print("ok a port finds its front end, three times")

        with FrontEnd(served) as f:
            f.send(SET_VRING_CALL, struct.pack("<Q", 1), [f.sock.fileno()])
            assert f.is_closed()
        use(control, 1, FrontEnd(served))
        print("ok a lie ends that connection alone")

        for port in (1, 2):
            control.ask(PORT_DEL, struct.pack("<II", port, 0))
        assert not os.path.exists(served), "the socket stayed"
        assert switch.poll() is None, f"the switch died with {switch.returncode}"
        switch.terminate()
        assert switch.wait(10) == 0, f"exit status {switch.returncode}"
    finally:
        switch.kill()
        switch.wait()
        shutil.rmtree(run, ignore_errors=True)


main()
