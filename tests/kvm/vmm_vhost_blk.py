# SPDX-License-Identifier: BSD-3-Clause
# The test guest's disks in insula-vmm, served by qemu-storage-daemon (vhost-user-blk): qcow2, NBD,
# more than one queue, a disk that grows, compared from outside by qemu-img; back ends that die, and
# some that talk nonsense.
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
from disks import MIB, SECTOR, Machine, image, path_of, read, run, run_cases
from guest_qemu import PLAIN_RINGS, pattern

QUEUES = 4
DAEMONS = []


def qemu_img(*words):
    return subprocess.run(["qemu-img", *words], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def qcow2(name, size=8 * MIB):
    qemu_img("create", "-q", "-f", "qcow2", path_of(name), str(size))
    return path_of(name)


# Bytes of `path` that it holds, as qemu-img says: (begin, end) each.
def allocated(path):
    held = []
    for block in json.loads(qemu_img("map", "--output=json", "-f", "qcow2", path)):
        begin, end = block["start"], block["start"] + block["length"]
        if block["data"] and held and held[-1][1] == begin:
            held[-1] = (held[-1][0], end)
        elif block["data"]:
            held.append((begin, end))
    return held


def check_content(path, expected):
    raw = path + ".raw"
    qemu_img("check", "-q", path)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, raw)
    assert read(raw) == expected


# What a case that failed has left.
def kill_daemons():
    for daemon in DAEMONS:
        if daemon.process.poll() is None:
            daemon.kill()


class Daemon:
    """qemu-storage-daemon; `words` are its options, before the export of a node `disk`."""

    def __init__(self, name, *words, writable="on"):
        self.path, ready = path_of(name + ".sock"), path_of(name + ".pid")
        for stale in (self.path, ready):
            if os.path.exists(stale):
                os.unlink(stale)
        command = ["qemu-storage-daemon", *words, "--export",
                   f"vhost-user-blk,id=export,node-name=disk,writable={writable},"
                   f"num-queues={QUEUES},addr.type=unix,addr.path={self.path}",
                   "--pidfile", ready]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(command)
        DAEMONS.append(self)
        # the last thing that it does before it serves
        while not os.path.exists(ready):
            assert self.process.poll() is None, command
            time.sleep(0.01)

    # Written out, and closed.
    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0

    def kill(self):
        self.process.kill()
        self.process.wait(20)


def serve_qcow2(path, name, writable="on"):
    return Daemon(name, "--blockdev",
                  f"node-name=disk,driver=qcow2,discard=unmap,file.driver=file,"
                  f"file.filename={path}", writable=writable)


def disk(path, words=""):
    return f"vhost-user={path}{words}"


EVERYTHING = ("disk:0,blk-is-zero:99:2,blk-write:100:5000:7,blk-verify:100:5000:7:3,"
              "blk-write:300:77:8:1,blk-flush,blk-verify:100:200:7:128,blk-verify:300:77:8,"
              "blk-zero:8000:1000,blk-is-zero:8000:20,blk-refused:read:16384:1,"
              "blk-refused:read:16383:2,blk-refused:write:16383:2,blk-refused:77:0:1")


def everything():
    expected = bytearray(8 * MIB)
    expected[100 * SECTOR:5100 * SECTOR] = pattern(7, 100 * SECTOR, 5000 * SECTOR)
    expected[300 * SECTOR:377 * SECTOR] = pattern(8, 300 * SECTOR, 77 * SECTOR)
    return expected


def test_qcow2():
    for words, options in (("", ""), ("", PLAIN_RINGS), (f",queues={QUEUES}", ""),
                           (",queues=2", "poll")):
        path = qcow2("disk")
        daemon = serve_qcow2(path, "disk")
        lines = run(EVERYTHING, disk(daemon.path, words), options=options)
        assert any(line.startswith("ok disk 0 sectors 16384 ") for line in lines), lines
        daemon.end()
        check_content(path, everything())


# What is discarded is given back.
def test_discard():
    path = qcow2("discard")
    daemon = serve_qcow2(path, "discard")
    run("disk:0,blk-write:0:16384:5,blk-flush,blk-discard:128:8192,blk-flush",
        disk(daemon.path, ",queues=4"))
    daemon.end()
    expected = bytearray(pattern(5, 0, 8 * MIB))
    expected[128 * SECTOR:8320 * SECTOR] = bytes(8192 * SECTOR)
    check_content(path, expected)
    assert allocated(path) == [(0, 128 * SECTOR), (8320 * SECTOR, 8 * MIB)], allocated(path)


# By NBD from another daemon, which has a raw file.
def test_nbd():
    path, nbd = image("nbd"), path_of("nbd.server")
    server = Daemon("nbd-server", "--blockdev",
                    f"node-name=disk,driver=raw,file.driver=file,file.filename={path}",
                    "--nbd-server", f"addr.type=unix,addr.path={nbd}",
                    "--export", "nbd,id=nbd,node-name=disk,writable=on", writable="off")
    daemon = Daemon("nbd", "--blockdev", "node-name=disk,driver=nbd,server.type=unix,"
                    f"server.path={nbd},export=disk")
    run(EVERYTHING, disk(daemon.path))
    daemon.end()
    server.end()
    assert read(path) == everything()


def test_readonly():
    path = qcow2("readonly")
    daemon = serve_qcow2(path, "readonly", writable="off")
    run("disk:0,blk-is-zero:0:10,blk-refused:write:0:1", disk(daemon.path))
    daemon.end()


# More often than a back end has slots for memory; one connection for all of them.
def test_reboots():
    daemon = serve_qcow2(qcow2("reboots"), "reboots")
    machine = Machine("disk:0,blk-write:0:100:1,blk-verify:0:100:1", [disk(daemon.path)],
                      reboots=True)
    for _ in range(40):
        machine.wait("guest: done")
    machine.kill()
    daemon.end()


# A guest that is reset with its disk at work: what is under way ends before the rings are others'.
def test_reset_at_work():
    daemon = Daemon("at-work", "--object", "throttle-group,id=slow,x-iops-total=20",
                    "--blockdev", "node-name=disk,driver=throttle,throttle-group=slow,"
                    f"file.driver=file,file.filename={image('at-work')}")
    machine = Machine("disk:0,blk-is-zero:0:2,blk-start:0:2048,triple-fault",
                      [disk(daemon.path, ",queues=2")], reboots=True)
    for _ in range(4):
        machine.wait("ok triple-fault")
    assert not any(line.startswith("fail") for line in machine.lines), machine.lines
    machine.kill()
    daemon.end()


# A daemon dies under one machine: that says so, its other disk goes on, so does the machine beside.
# What was flushed is in the image.
def test_killed():
    path, beside_path, raw = qcow2("killed"), qcow2("beside"), image("killed.file")
    daemon, beside_daemon = serve_qcow2(path, "killed"), serve_qcow2(beside_path, "beside")
    beside = Machine("disk:0," + ",".join(["blk-write:0:8000:3", "blk-verify:0:8000:3"] * 20),
                     [disk(beside_daemon.path)])
    machine = Machine("disk:0,blk-write:8000:1000:1,blk-flush,blk-broken:10,"
                      "disk:1,blk-write:0:8000:2,blk-flush,blk-verify:0:8000:2",
                      [disk(daemon.path, ",queues=4"), f"file={raw}"])
    machine.wait("ok blk-flush")
    daemon.kill()
    told = machine.wait("insula-vmm: ")
    assert daemon.path in told and "its back end has gone" in told, told
    machine.done()
    assert sum(line.startswith("insula-vmm:") for line in machine.lines) == 1, machine.lines
    assert read(raw, 0, 8000) == pattern(2, 0, 8000 * SECTOR)
    beside.done()
    beside_daemon.end()
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, path + ".raw")
    assert read(path + ".raw", 8000, 1000) == pattern(1, 8000 * SECTOR, 1000 * SECTOR)


def refused(words, *told, status=1):
    machine = Machine("disk:0", [words])
    code, text = machine.end(), " ".join(machine.lines)
    assert code == status and all(word in text for word in told), (words, code, machine.lines)
    print(text[:300])


def test_refused():
    refused("vhost-user=/no/such/socket", "/no/such/socket", "No such file",
            "qemu-storage-daemon --blockdev")
    daemon = serve_qcow2(qcow2("refused"), "refused")
    refused(f"vhost-user={daemon.path},queues={QUEUES + 1}", daemon.path, "5 queues")
    daemon.kill()
    refused(f"vhost-user={daemon.path}", daemon.path, "Connection refused")
    refused(f"vhost-user={'x' * 200}", "too long")
    for words in ("readonly", "direct", "serial=a", "file=/dev/null"):
        refused(f"vhost-user={daemon.path},{words}", "--disk", status=2)


def message(request, payload, flags=5):
    return struct.pack("<III", request, flags, len(payload)) + payload


def space(sectors):
    return struct.pack("<IIIQ", 0, 60, 0, sectors) + bytes(52)


# The answers of a good back end to what it is asked, by the request's number.
GOOD = {1: struct.pack("<Q", 1 << 32 | 1 << 30 | 1 << 9), 15: struct.pack("<Q", 1 << 9 | 1 << 5),
        24: space(1000), 11: bytes(8)}


class Fake:
    """A back end that serves nothing, and answers from `answers` instead of what is GOOD: what is
    None hangs up. Its own requests go to `requests`."""

    def __init__(self, answers):
        self.path, self.answers, self.requests = path_of("fake"), answers, None
        self.has_requests = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.listener.accept()[0] as s, contextlib.suppress(ConnectionResetError):
            while self.answer(s):
                pass

    def answer(self, s):
        head, fds, _flags, _address = socket.recv_fds(s, 12, 8)
        if not head:
            return False
        request, _flags, size = struct.unpack("<III", head)
        if size:
            s.recv(size, socket.MSG_WAITALL)
        if request == 21:
            self.requests = socket.socket(fileno=fds.pop())
            self.has_requests.set()
        for fd in fds:
            os.close(fd)
        answer = self.answers.get(request, GOOD.get(request, b""))
        if answer:
            s.sendall(answer if request in self.answers else message(request, answer))
        return answer is not None

    def end(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.listener.close()
        if self.requests:
            self.requests.close()
        os.unlink(self.path)


NONSENSE = {
    "hangs up": {1: None},
    "hangs up later": {24: None},
    "no configuration": {15: message(15, bytes(8))},
    "old": {1: message(1, struct.pack("<Q", 1 << 30))},
    "short": {24: message(24, bytes(20))},
    "long": {24: message(24, bytes(500))},
    "huge": {1: struct.pack("<III", 1, 5, 1 << 31)},
    "another": {24: message(15, bytes(72))},
    "no reply": {24: message(24, bytes(72), flags=1)},
}


def test_nonsense():
    for name, answers in NONSENSE.items():
        back_end = Fake(answers)
        print(name, end=": ")
        refused(f"vhost-user={back_end.path}", back_end.path, "its back end")
        back_end.end()


# Does not give the rings back when the guest ends: bounded, and told.
def test_silent():
    back_end = Fake({11: b""})
    machine = Machine("disk:0", [disk(back_end.path)])
    machine.done()
    assert "is of no use: Connection timed out" in machine.lines[-1], machine.lines
    back_end.end()


# A disk has another size: the guest is told. What else a back end may ask for ends it.
def test_grows():
    back_end = Fake({})
    machine = Machine("disk:0,blk-size:2000,blk-broken", [disk(back_end.path)])
    machine.wait("ok blk-size waits")
    back_end.has_requests.wait(20)
    back_end.answers = {24: message(24, space(2000))}
    back_end.requests.sendall(message(2, b"", flags=1))
    machine.wait("ok blk-size 2000")
    back_end.requests.sendall(struct.pack("<III", 2, 1, 1 << 31))
    told = machine.wait("insula-vmm: ")
    assert "is of no use: Protocol error" in told, told
    machine.done()
    back_end.end()


run_cases(globals(), kill_daemons)
