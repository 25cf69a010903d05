#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# HOSTILE.md A (vhost-user socket) and parts of B (rings) against port kind vhost-user: one port of
# vhost_loop is attacked, the other is the victim. After every attack the process must live, must
# answer the victim within a second, must carry the victim's packets, and must hold no more fds or
# packet buffers than before. Run by test_vhost_socket.sh; argument: the vhost_loop binary.
import atexit
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from vhost_front_end import *  # noqa: E402,F403

FRAME = bytes.fromhex("020000000002 020000000001 0800") + bytes.fromhex(
    "45000020000100004011 66ca 0a000001 0a000002 0001 0002 000c 0000") + bytes(4)
rng = random.Random(11)


def until(what, condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.01)


class Loop:
    def __init__(self, binary, *options):
        self.dir = tempfile.mkdtemp()
        self.a, self.b = self.dir + "/a", self.dir + "/b"
        self.process = subprocess.Popen([binary, *options, self.a, self.b], stdout=subprocess.PIPE,
                                        stderr=open(self.dir + "/err", "wb"), text=True)
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        atexit.register(self.process.kill)
        assert self.process.stdout.readline() == "ready\n"

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def maps(self):
        with open(f"/proc/{self.process.pid}/maps") as f:
            return sum("memfd:guest" in line for line in f)

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads_cpu_s(self, name):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/stat") as f:
                head, rest = f.read().rsplit(")", 1)
            if name in head:
                total += int(rest.split()[11]) + int(rest.split()[12])
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        out = self.process.communicate(timeout=10)[0]
        assert self.process.returncode == 0, f"exit status {self.process.returncode}"
        assert "mbufs 0\n" in out, "packet buffers leaked: " + out[-200:]
        with open(self.dir + "/err") as f:
            assert len(f.readlines()) <= 1, "what a guest does made it log"


# The loop in echo mode: what the victim sends it gets back.
class Check:
    def __init__(self, binary):
        self.loop = Loop(binary, "-s", "-i")
        self.victim(5)  # first use allocates; librte_vhost may notice a new listener a second late
        self.base = self.loop.fds()

    def victim(self, seconds=1):
        with FrontEnd(self.loop.b, timeout=seconds) as v:
            v.setup()
            v.receive()
            v.transmit(FRAME, 5)
            until("the victim's packets come back", lambda: v.used_index(0) == 5, 1)

    def after(self, name):
        assert self.loop.process.poll() is None, f"{name}: died with {self.loop.process.returncode}"
        self.victim()
        until(f"{name}: fds go back to {self.base}, are {self.loop.fds()}",
              lambda: self.loop.fds() <= self.base, 3)
        until(f"{name}: guest memory is unmapped", lambda: self.loop.maps() == 0, 3)


def open_attacker(c):
    return FrontEnd(c.loop.a)


def h01_headers(c):
    for size in range(1, 12):
        with open_attacker(c) as f:
            f.sock.sendall(bytes(size))
    for size in (0, 1, 7, 9, 600, 700, 0x7FFFFFFF, 0xFFFFFFFF):
        with open_attacker(c) as f:
            f.send(SET_FEATURES, bytes(8), size=size)
    # Claims more than it sends, and stays: nobody else may wait for it.
    for sent in (0, 1, 7):
        with open_attacker(c) as f:
            f.send(SET_FEATURES, bytes(sent), size=8)
            c.victim()
            assert f.is_closed(), "a stalled message kept its connection"
    with open_attacker(c) as f:
        f.sock.sendall(b"\1")
        c.victim()


def h02_requests(c):
    for prepared in (False, True):
        for request in range(256):
            with open_attacker(c) as f:
                try:
                    if prepared:
                        f.send(SET_OWNER)
                        f.send(SET_FEATURES, struct.pack("<Q", F_VERSION_1 | F_PROTOCOL))
                    f.send(request, rng.randbytes(rng.choice((0, 1, 8, 12, 40, 264, 600))),
                           flags=rng.choice((1, 5, 9, 0, 0xFFFFFFFF)))
                    f.send(request, rng.randbytes(8))
                except Closed:
                    pass


def odd_fds():
    read, write = os.pipe()
    return [read, write, os.open("/", os.O_RDONLY), select.epoll().fileno(),
            os.open("/dev/null", os.O_RDWR),
            os.eventfd(0), os.memfd_create("odd"), socket.socketpair()[0].detach()]


def h03_fds(c):
    fds = odd_fds()
    fds[3] = os.dup(fds[5])  # the epoll object closed its own
    for request in range(1, 42):
        if request == SET_INFLIGHT_FD:
            continue  # librte_vhost cannot pass: vswitch/PORTS.md
        for n in (0, 1, 2, 8, 9, 64):
            with open_attacker(c) as f:
                try:
                    f.send(SET_OWNER)
                    f.send(request, struct.pack("<II", rng.choice((0, 1)), 0),
                           [rng.choice(fds) for _ in range(n)])
                    f.send(GET_FEATURES)
                except Closed:
                    pass
    # The wrong kind as call or kick fd closes the connection.
    epoll = select.epoll()
    for request in (SET_VRING_CALL, SET_VRING_KICK):
        for fd in (*fds[:3], epoll.fileno(), fds[4], fds[6], fds[7]):
            with open_attacker(c) as f:
                f.send(SET_OWNER)
                f.send(request, struct.pack("<Q", 1), [fd])
                assert f.is_closed(), f"request {request} took the wrong kind of fd"
    for fd in fds:
        os.close(fd)


def h03_full_call_fd(c):
    full = os.eventfd(0)  # blocking
    os.eventfd_write(full, 0xFFFFFFFFFFFFFFFE)
    with open_attacker(c) as f:
        f.setup(call=full)
        os.set_blocking(full, True)  # it was made non-blocking; this is the same open file
        f.transmit(FRAME, 5)
        until("taken", lambda: f.used_index(1) == 5)
        c.victim()
    os.close(full)


def h04_tables(c):
    page = 4096
    for regions, n in (
            ([(0, page, 0, 0)], 0), ([(0, page, 0, 0)], 9), ([(0, page, 0, 0)], 0xFFFFFFFF),
            ([(0, 0, 0, 0)], 1), ([(0, page, 0, 0), (page // 2, page, page, 0)], 2),
            ([(0, 2 * MEMORY_SIZE, 0, 0)], 1), ([(0, page, 0, MEMORY_SIZE)], 1),
            ([(0, page, 0, 2**64 - 1)], 1), ([(2**64 - 1, page, 0, 0)], 1),
            ([(0, page, 2**64 - 1, 0)], 1), ([(0, 2**64 - 1, 0, 1)], 1),
            ([(0, 2**63, 0, 2**63)], 1)):
        with open_attacker(c) as f:
            f.make_memory()
            f.send(SET_OWNER)
            f.send(SET_MEM_TABLE, f.mem_table(regions, n), [f.memfd] * min(len(regions), 8))
            assert f.is_closed(), f"table {regions}, {n} was taken"
    # Memory that nobody has is mapped as easily: the address space is everybody's.
    huge = os.memfd_create("huge")
    os.ftruncate(huge, 2**41)
    for sizes in ([2**41], [2**38] * 8):
        with open_attacker(c) as f:
            f.send(SET_OWNER)
            f.send(SET_MEM_TABLE, f.mem_table([(i * 2**41, size, i * 2**41, 0)
                                               for i, size in enumerate(sizes)]),
                   [huge] * len(sizes))
            assert f.is_closed(), f"tables of {sizes} bytes were taken"
    os.close(huge)
    # Replaced while running.
    with open_attacker(c) as f:
        f.setup()
        f.receive()
        f.transmit(FRAME, RING_SIZE)
        for i in range(2000):
            f.send(SET_MEM_TABLE, f.mem_table([(GUEST_BASE, MEMORY_SIZE - 4096 * (i % 2),
                                                USER_BASE, 0)]),
                   [f.memfd])
            f.kick()
        f.features()


def is_refused(f):
    try:
        f.features()
        return False
    except Closed:
        return True


# The memory's file shrinks (what is left: nothing, one ring, both but nothing that they point at)
# under a worker, under the switch while it handles messages, and while it maps.
def h05_shrinks(c):
    for size in (0, 0x10000, DATA):
        with open_attacker(c) as f:
            f.setup()
            f.receive()
            f.transmit(FRAME, 5)
            until("the device runs", lambda end=f: end.used_index(0) == 5)
            f.avail(1, 20, [(i, i % 5) for i in range(5, 20)])
            os.ftruncate(f.memfd, size)
            f.kick()
            c.victim()
            until("the broken port's connection is closed", lambda end=f: is_refused(end))
            os.ftruncate(f.memfd, MEMORY_SIZE)
    for request in (GET_VRING_BASE, SET_VRING_ADDR, SET_VRING_KICK, SET_VRING_ENABLE):
        with open_attacker(c) as f:
            f.setup()
            f.ask(GET_VRING_BASE, struct.pack("<II", 1, 0))
            os.ftruncate(f.memfd, 0)
            try:
                if request == GET_VRING_BASE:
                    f.send(request, struct.pack("<II", 0, 0))
                f.start_ring(1)
                f.send(SET_VRING_ENABLE, struct.pack("<II", 1, 0))
                f.features()
            except Closed:
                pass
    shrinks_while_mapped(c)


def shrinks_while_mapped(c):
    memfd = os.memfd_create("guest")
    end = threading.Event()

    def flip():
        while not end.is_set():
            os.ftruncate(memfd, 0)
            os.ftruncate(memfd, MEMORY_SIZE)

    thread = threading.Thread(target=flip)
    thread.start()
    for _ in range(100):
        with open_attacker(c) as f:
            try:
                f.setup()
                for _ in range(20):
                    f.send(SET_MEM_TABLE, f.mem_table(), [memfd])
                    f.kick()
                f.features()
            except Closed:
                pass
    end.set()
    thread.join()
    os.close(memfd)


# Pages of a disk's file come when the disk gives them: no worker may wait for that.
def h05_not_memory(c):
    with tempfile.TemporaryFile(dir="/var/tmp") as file, open_attacker(c) as f:
        kind = subprocess.run(["stat", "-f", "-c", "%T", f"/dev/fd/{file.fileno()}"],
                              pass_fds=[file.fileno()], capture_output=True, text=True, check=True)
        assert kind.stdout != "tmpfs\n", "/var/tmp is memory: no other file to try"
        file.truncate(MEMORY_SIZE)
        f.send(SET_OWNER)
        f.send(SET_MEM_TABLE, f.mem_table(), [file.fileno()])
        assert f.is_closed(), "a file on a disk was taken for memory"


def h06_rings(c):
    def try_one(live, request, payload, fds=()):
        with open_attacker(c) as f:
            if live:
                f.setup()
            else:
                f.send(SET_OWNER)
            f.send(request, payload, fds)
            assert f.is_closed(), f"request {request} with {payload.hex()} was taken"

    fd = os.eventfd(0)
    for live in (False, True):
        for index in (0xFFFFFFFF, 255, 0x10001, 2):
            for request in (SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_ENABLE):
                try_one(live, request, struct.pack("<II", index, 64))
            try_one(live, SET_VRING_ADDR, struct.pack("<IIQQQQ", index, 0, 0, 0, 0, 0))
            for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
                try_one(live, request, struct.pack("<Q", index & 0xFF | 2), [fd])
        for size in (0, 3, 33, 32769, 65536, 0xFFFFFFFF, *((2, 16) if live else ())):
            try_one(live, SET_VRING_NUM, struct.pack("<II", 0, size))
        try_one(live, SET_VRING_BASE, struct.pack("<II", 0, 65536))  # H-08
    os.close(fd)


# What a running ring was checked against when it started, it keeps; none starts unsized.
def h06_order(c):
    for size in (32, 128, RING_SIZE, 1024, 32768):
        with open_attacker(c) as f:
            f.setup()
            f.transmit(FRAME, RING_SIZE)
            f.send(SET_VRING_NUM, struct.pack("<II", 1, size))
            assert f.is_closed(), f"size {size} was taken while live"
    for stopped in (False, True):
        for request in (SET_VRING_ADDR, SET_VRING_KICK):
            with open_attacker(c) as f:
                f.negotiate()
                if stopped:
                    f.start_ring(1)
                    f.ask(GET_VRING_BASE, struct.pack("<II", 1, 0))
                kick = os.eventfd(0)
                if request == SET_VRING_ADDR:
                    f.send(request, f.ring_addr(1))
                else:
                    f.send(request, struct.pack("<Q", 1), [kick])
                os.close(kick)
                assert f.is_closed(), f"request {request} was taken for a ring without a size"
    with open_attacker(c) as f:  # the used_event of the last ring would lie behind the memory
        f.negotiate()
        f.start_ring(1, at=(0, MEMORY_SIZE - 4 - 2 * RING_SIZE, 0x8000))
        f.send(SET_FEATURES, struct.pack("<Q", FEATURES))
        f.features()
        f.send(SET_FEATURES, struct.pack("<Q", FEATURES | F_EVENT_IDX))
        assert f.is_closed(), "features changed under a ring"
    with open_attacker(c) as f:  # the polite way to stop and start again
        f.setup()
        f.receive()
        for _ in range(50):
            for vring in (0, 1):
                f.ask(GET_VRING_BASE, struct.pack("<II", vring, 0))
                f.memory[f.ring_at(vring)[0]:f.ring_at(vring)[0] + 0x10000] = bytes(0x10000)
            for vring in (0, 1):
                f.start_ring(vring)
            f.receive()
            f.transmit(FRAME, 5)
            until("the restarted ring's packets come back", lambda: f.used_index(0) == 5)
    with open_attacker(c) as f:  # ignored, as the standard has it; it leaked the rings' tables
        f.send(SET_OWNER)
        for _ in range(500):
            f.send(SET_VRING_NUM, struct.pack("<II", 0, 32768))
            f.send(RESET_OWNER)
        f.setup()


# H-14, where the switch writes: an index that promises more buffers than the ring has, each of
# them nearly or quite empty.
def h14_lying_avail(c):
    for size in (0, 1, 12, 40):
        for index in (RING_SIZE + 1, 0x7FFF, 0xFFFF):
            with open_attacker(c) as f:
                f.setup()
                for i in range(RING_SIZE):
                    f.desc(0, i, GUEST_BASE + DATA + 0x1000 + i * 0x800, size, DESC_WRITE, 0)
                f.avail(0, index, [(i, i) for i in range(RING_SIZE)])
                f.transmit(FRAME, RING_SIZE)
                until("all of it is read", lambda: f.used_index(1) == RING_SIZE)
            c.victim()


# A ring is stopped, and started again where it stood; one that broke the rules, too.
def stop_and_start(c):
    def stop(f):
        return struct.unpack("<II", f.ask(GET_VRING_BASE, struct.pack("<II", 1, 0)))

    with open_attacker(c) as f:
        f.setup()
        f.receive()
        f.transmit(FRAME, 5)
        until("the first are taken", lambda: f.used_index(1) == 5)
        assert stop(f) == (1, 5), "GET_VRING_BASE does not know where the ring stands"
        f.start_ring(1, base=5)
        f.avail(1, 9, [(i, i % 5) for i in range(5, 9)])
        f.kick()
        until("the ring goes on", lambda: f.used_index(1) == 9)
        f.avail(1, 9 + RING_SIZE + 1, [])
        f.kick()
        c.victim()
        assert f.used_index(1) == 9
        f.avail(1, 12, [(i, i % 5) for i in range(9, 12)])  # too late to be good
        f.kick()
        c.victim()
        assert f.used_index(1) == 9, "a ring that broke the rules goes on"
        assert stop(f) == (1, 9)
        f.start_ring(1, base=9)
        f.kick()
        until("the ring is good again", lambda: f.used_index(1) == 12)


def h07_addresses(c):
    for address in (0, 1, USER_BASE - 16, USER_BASE + 1, USER_BASE + MEMORY_SIZE - 8, 2**64 - 16,
                    USER_BASE + MEMORY_SIZE, USER_BASE + DATA):
        for part in range(3):
            with open_attacker(c) as f:
                f.setup()
                where = [USER_BASE + x for x in f.ring_at(1)]
                where[part] = address
                try:
                    f.send(SET_VRING_ADDR, struct.pack("<IIQQQQ", 1, 0, where[0], where[2],
                                                       where[1], 0))
                    f.transmit(FRAME, 10)
                    f.features()
                except Closed:
                    pass


def h12_connects(c):
    for _ in range(1000):
        open_attacker(c).close()
    half_open = [open_attacker(c) for _ in range(100)]
    c.victim()
    for f in half_open:
        f.close()

    class Cut(Exception):
        pass

    for last in range(1, 24):  # cut at every message boundary of a polite start
        with open_attacker(c) as f:
            sent = [0]
            send = f.send

            def counted(*args, **kwargs):
                if sent[0] == last:
                    raise Cut
                sent[0] += 1
                send(*args, **kwargs)

            f.send = counted
            try:
                f.setup()
            except Cut:
                pass


def h13_features(c):
    for bit in range(64):
        with open_attacker(c) as f:
            if f.features() >> bit & 1:
                continue
            f.send(SET_FEATURES, struct.pack("<Q", 1 << bit))
            assert f.is_closed(), f"feature {bit} was not offered but taken"
    with open_attacker(c) as f:  # toggled live
        f.setup()
        f.transmit(FRAME, RING_SIZE)
        f.send(SET_FEATURES, struct.pack("<Q", F_VERSION_1 | F_PROTOCOL))
        assert f.is_closed(), "features changed while the device runs"


# Random rings (H-14 to H-20): whatever they hold, the others go on.
def rings_noise(c):
    for round_ in range(60):
        with open_attacker(c) as f:
            f.setup()
            for i in range(RING_SIZE):
                where = rng.choice((GUEST_BASE + DATA, GUEST_BASE, GUEST_BASE + MEMORY_SIZE - 7,
                                    0, 2**64 - 8,
                                    GUEST_BASE + f.ring_at(1)[0]))
                f.desc(1, i, where, rng.choice((0, 1, 12, 13, 64, 2000, 4096, 16 * 300, 0x8000)),
                       rng.choice((0, 0, 1, 1, 2, 3, 4, 5, 6, 7)),
                       rng.choice((0, i, (i + 1) % RING_SIZE, 255, 256, 65535)))
            f.memory[DATA:DATA + 0x8000] = rng.randbytes(0x8000)
            f.avail(1, rng.choice((1, 100, 256, 257, 0x8000, 0xFFFF)),
                    [(i, rng.choice((i, 0, 255, 256, 65535))) for i in range(RING_SIZE)])
            f.kick()
            f.features()
            if round_ % 10 == 0:
                c.victim()


# The switch as client: a peer that hangs up at once must cost neither the thread nor the others.
def h12_hang_up(binary):
    loop = Loop(binary)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(loop.a)
    listener.listen(16)
    listener.settimeout(5)
    listener.accept()[0].close()
    before, end, n = loop.threads_cpu_s("vhost"), time.monotonic() + 3, 0
    while time.monotonic() < end:
        listener.accept()[0].close()
        n += 1
    used = loop.threads_cpu_s("vhost") - before
    assert used < 0.6, f"{n} reconnects in 3 s took {used:.2f} s of CPU"
    victim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    victim.bind(loop.b)
    victim.listen(1)
    victim.settimeout(3)
    with FrontEnd(sock=victim.accept()[0]) as v:
        v.setup()
    listener.close()
    loop.stop()


# A port is taken out at the moment its far end hangs up: nothing dials for what is freed.
def leaves_together(binary):
    loop = Loop(binary)
    listeners = []
    for path in (loop.a, loop.b):
        listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listeners[-1].bind(path)
        listeners[-1].listen(16)
        listeners[-1].settimeout(5)
    for _ in range(150):
        ends = [listener.accept()[0] for listener in listeners]
        os.kill(loop.process.pid, signal.SIGUSR2)
        moment = time.monotonic() + rng.random() / 2000  # somewhere about the ports' end
        while time.monotonic() < moment:
            pass
        for end in ends:
            end.close()
        while (line := loop.process.stdout.readline()) != "anew\n":
            assert line, f"died with {loop.process.wait()}"
    for listener in listeners:
        listener.close()
    loop.stop()


def main():
    binary = sys.argv[1]
    c = Check(binary)
    for attack in (h01_headers, h02_requests, h03_fds, h03_full_call_fd, h04_tables, h05_shrinks,
                   h05_not_memory, h06_rings, h06_order, stop_and_start, h07_addresses,
                   h14_lying_avail, h12_connects, h13_features, rings_noise):
        if len(sys.argv) > 2 and attack.__name__ not in sys.argv[2:]:
            continue
        begin = time.monotonic()
        attack(c)
        c.after(attack.__name__)
        print(f"ok {attack.__name__} {time.monotonic() - begin:.1f} s", flush=True)
    c.loop.stop()
    if len(sys.argv) <= 2 or "h12_hang_up" in sys.argv[2:]:
        h12_hang_up(binary)
        print("ok h12_hang_up")
    if len(sys.argv) <= 2 or "leaves_together" in sys.argv[2:]:
        leaves_together(binary)
        print("ok leaves_together")


main()
