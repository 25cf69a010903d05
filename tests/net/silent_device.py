# SPDX-License-Identifier: BSD-3-Clause
# DPDK devices behind which nobody answers any more (virtio_user, whose driver waits a second): who
# else is on the switch does not wait for them, neither when it dies nor in an apply, and insulad is
# not held up by what it tries again. Runs in a sandbox.
import os
import socket
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

N_DEVICES, DARK_S, INTERVAL_S = 3, 0.5, 0.005
GET_FEATURES, GET_VRING_BASE = 1, 11  # "Front-end message types" of QEMU's vhost-user.rst
REPLY, VERSION_1 = 5, 1 << 32


class BackEnd:
    """As much of a vhost-user back end as virtio_user wants, for as long as it is answering."""

    def __init__(self, path):
        self.path, self.answering, self.tries, self.peers = path, True, 0, []
        self.pause_s = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)  # the switch is nobody
        self.listener.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer = self.listener.accept()[0]
            self.tries += 1
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            while len(head := self.take(peer, 12)) == 12:
                request, _, size = struct.unpack("=III", head)
                body = self.take(peer, size)
                if not self.answering:
                    continue
                if request in (GET_FEATURES, GET_VRING_BASE):
                    time.sleep(self.pause_s)
                if request == GET_FEATURES:
                    peer.sendall(struct.pack("=IIIQ", request, REPLY, 8, VERSION_1))
                elif request == GET_VRING_BASE:
                    peer.sendall(struct.pack("=III", request, REPLY, 8) + body[:4] + bytes(4))
        except OSError:
            pass  # the switch is dead
        peer.close()

    def hang_up(self):
        for peer in self.peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # of an earlier life

    @staticmethod
    def take(peer, size):
        data = b""
        while len(data) < size:
            more, fds, _, _ = socket.recv_fds(peer, size - len(data), 8)
            for fd in fds:
                os.close(fd)
            if not more:
                break
            data += more
        return data


def first_document():
    return {"version": 1, "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"])]}


def with_devices(ends, arguments=""):
    document = first_document()
    document["tenants"][0]["instances"].append({"name": "sick", "nics": [
        {"name": f"eth{n}", "network": "lan", "type": "ethdev",
         "devargs": f"net_virtio_user{n},path={end.path}{arguments}"}
        for n, end in enumerate(ends)]})
    return document


def states(lab):
    return [p["state"] for p in lab.list("port") if "/sick." in p["name"]]


def wait_states(lab, *wanted):
    deadline = time.monotonic() + 30
    while not set(now := states(lab)) <= set(wanted):
        assert time.monotonic() < deadline, f"{now} {lab.log()[-2000:]}"
        time.sleep(0.1)


class Stream:
    def __init__(self, lab, label):
        self.lab, self.label = lab, label
        self.wait = lab.agents["red-1"].start("stream", address="10.0.0.12", label=label,
                                              interval=INTERVAL_S)
        self.wait_after(0)

    def arrivals(self):
        answer = self.lab.agents["red-2"].call("arrivals", label=self.label)
        return [t for _, t, _ in answer["arrivals"]]

    def wait_after(self, moment):
        deadline = time.monotonic() + 20
        while not (times := self.arrivals()) or times[-1] <= moment:
            assert time.monotonic() < deadline, "nothing arrives any more"
            time.sleep(0.02)

    def end(self):
        self.lab.agents["red-1"].call("stop_stream", label=self.label)
        self.wait()
        times = self.arrivals()
        return max(b - a for a, b in zip(times, times[1:]))


def test_silent(lab):
    ends = [BackEnd(f"/run/silent{n}") for n in range(N_DEVICES)]
    lab.apply_document(with_devices(ends))
    wait_states(lab, "up")
    for end in ends:
        end.answering = False
    stream = Stream(lab, "silent")
    lab.kill("insula-switch")
    stream.wait_after(time.monotonic() + DARK_S)
    dark = stream.end()
    print(f"dark for {dark * 1000:.0f} ms", flush=True)
    assert dark < DARK_S, f"dark for {dark:.2f} s"

    # Each was tried once. From then on there is nearly always somebody who answers.
    wait_states(lab, "broken")
    deadline = time.monotonic() + 20
    while not all("does not answer" in p["trouble"] for p in lab.list("port")
                  if "/sick." in p["name"]):
        assert time.monotonic() < deadline, lab.list("port")
        time.sleep(0.1)
    tries = sum(end.tries for end in ends)
    time.sleep(4)  # a while in which little may happen
    more = sum(end.tries for end in ends) - tries
    assert more <= 1, f"tried {more} times in 4 s"

    begin = time.monotonic()
    text = lab.apply_document(with_devices(ends))
    took = time.monotonic() - begin
    assert took < 2, f"an apply of the same file took {took:.1f} s"
    assert "sick.eth2" in text, text

    # One that answers again is a sign that the others may.
    for end in ends:
        end.answering = True
    lab.apply_document(with_devices(ends))
    wait_states(lab, "up")


# Each answer comes within a second, all of them would take a quarter of a minute. Who goes takes no
# longer than who comes.
def test_slow(lab):
    ends = [BackEnd("/run/slow")]
    lab.apply_document(with_devices(ends, ",queues=8"))
    wait_states(lab, "up")
    ends[0].pause_s = 0.9
    switch = lab.status()["switch"]["pid"]
    begin = time.monotonic()
    lab.apply_document(first_document())
    assert time.monotonic() - begin < 2
    assert lab.status()["switch"]["pid"] == switch

    ends[0].pause_s = 0
    lab.apply_document(with_devices(ends, ",queues=8"))
    wait_states(lab, "up")
    ends[0].pause_s = 0.9
    stream = Stream(lab, "slow")
    lab.kill("insula-switch")
    stream.wait_after(time.monotonic() + DARK_S)
    wait_states(lab, "broken")
    stream.wait_after(time.monotonic() + DARK_S)
    dark = stream.end()
    assert dark < DARK_S, f"dark for {dark:.2f} s"


# The driver does not dial again: the port is made anew, and broken once nobody serves it.
def test_hang_up(lab):
    ends = [BackEnd("/run/leaving")]
    lab.apply_document(with_devices(ends))
    wait_states(lab, "up")
    mark, tries = len(lab.log()), ends[0].tries
    ends[0].hang_up()
    deadline = time.monotonic() + 20
    while "its device is back" not in lab.log()[mark:]:
        assert time.monotonic() < deadline, lab.log()[mark:]
        time.sleep(0.05)
    assert "who serves its socket has hung up" in lab.log()[mark:], lab.log()[mark:]
    assert ends[0].tries == tries + 1
    wait_states(lab, "up")

    os.unlink(ends[0].path)
    ends[0].hang_up()
    wait_states(lab, "broken")
    trouble = [p["trouble"] for p in lab.list("port") if "/sick." in p["name"]][0]
    assert "hung up" in trouble or "No such file" in trouble, trouble
    lab.apply_document(first_document())


# Both die: a start does not wait for them either.
def test_start(lab):
    ends = [BackEnd(f"/run/absent{n}") for n in range(N_DEVICES)]
    lab.apply_document(with_devices(ends))
    wait_states(lab, "up")
    for end in ends:
        end.answering = False
    stream = Stream(lab, "start")
    lab.kill("insulad")
    lab.kill("insula-switch")
    moment = time.monotonic()
    lab.start()
    took = time.monotonic() - moment
    stream.wait_after(moment + 1)
    dark = stream.end()
    print(f"dark for {dark * 1000:.0f} ms after both died", flush=True)
    assert dark < 1, f"dark for {dark:.2f} s"
    assert took < 2, f"insula start took {took:.1f} s"
    wait_states(lab, "broken")


# A setting that takes another switch: the former one ends without waiting for each of its devices.
def test_settings(lab):
    lab.apply_document(first_document())
    ends = [BackEnd(f"/run/leaving{n}") for n in range(N_DEVICES)]
    lab.apply_document(with_devices(ends))
    wait_states(lab, "up")
    for end in ends:
        end.answering = False
    stream = Stream(lab, "settings")
    switch = lab.status()["switch"]["pid"]
    lab.try_document("apply", with_devices(ends) | {"settings": {"sessions": 100000}})
    assert lab.status()["switch"]["pid"] != switch
    stream.wait_after(time.monotonic())
    dark = stream.end()
    print(f"dark for {dark * 1000:.0f} ms by another setting", flush=True)
    assert dark < 2 * DARK_S, f"dark for {dark:.2f} s"
    lab.apply_document(first_document())


# What the log says is counted from the death on, not from the try that succeeded.
def test_how_long(lab):
    run_dir = os.environ["INSULA_RUN_DIR"]
    lab.apply_document(first_document())
    disk = os.statvfs(run_dir)
    mark = len(lab.log())
    netns.run("mount", "-o", f"remount,size={(disk.f_blocks - disk.f_bfree) * disk.f_frsize}",
              run_dir)
    lab.kill("insula-switch")
    deadline = time.monotonic() + 10
    while "trying again every second" not in lab.log()[mark:]:
        assert time.monotonic() < deadline, lab.log()[mark:]
        time.sleep(0.1)
    time.sleep(1)
    netns.run("mount", "-o", "remount,size=1g", run_dir)
    while " forwards again after " not in (text := lab.log()[mark:]):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    dark_ms = int(text.split(" forwards again after ")[1].split()[0])
    assert dark_ms > 1000, text


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(first_document())
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
