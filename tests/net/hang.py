# SPDX-License-Identifier: BSD-3-Clause
# A switch that hangs, as a whole or in one thread, is told of, ended, and replaced by one that
# forwards; an apply meanwhile is never called done. One whose workers only sleep, or that was
# stopped for some seconds, stays. Threads are made to hang by ptrace. Runs in a sandbox.
import copy
import ctypes
import os
import signal
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

IDLE_S = 16  # well over the 10 s after which a switch is replaced
GUESTS = ("red-1", "red-2")
PTRACE_SYSCALL, PTRACE_SEIZE, PTRACE_INTERRUPT = 24, 0x4206, 0x4207
WALL = 0x40000000
SYS_SENDMSG, PORT_DEL_REPLY = 46, 3 | 0x8000  # control/proto.h
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long,) * 4


def ptrace(request, tid):
    assert libc.ptrace(request, tid, 0, 0) == 0, os.strerror(ctypes.get_errno())


def document(**settings):
    uplink = {"name": "internet", "mode": "routed", "address": "198.51.100.9/24",
              "gateway": laptops.ROUTER, "interface": "wlan0"}
    return {"version": 1, "settings": {"workers": 2} | settings, "uplinks": [uplink],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], "internet")]}


def without_red_2():
    changed = copy.deepcopy(document())
    del changed["tenants"][0]["instances"][1]
    return changed


# The switch's thread of that name.
def thread(switch, name):
    for tid in os.listdir(f"/proc/{switch}/task"):
        with open(f"/proc/{switch}/task/{tid}/comm", encoding="ascii") as file:
            if file.read().strip() == name:
                return int(tid)
    raise AssertionError(f"no thread {name}")


def stop_thread(tid):
    ptrace(PTRACE_SEIZE, tid)
    ptrace(PTRACE_INTERRUPT, tid)
    os.waitpid(tid, WALL)


# Runs the control thread until it is about to answer a PORT_DEL, and leaves it there.
def stop_before_answer(switch, program):
    stop_thread(switch)
    with open(f"/proc/{switch}/mem", "rb", buffering=0) as memory:
        def read(at, size):
            return os.pread(memory.fileno(), size, at)

        while True:
            ptrace(PTRACE_SYSCALL, switch)
            os.waitpid(switch, WALL)
            assert program.poll() is None, program.communicate()
            with open(f"/proc/{switch}/syscall", encoding="ascii") as file:
                words = file.read().split()
            if words[0] != str(SYS_SENDMSG):
                continue
            [iov] = struct.unpack("=Q", read(int(words[2], 16) + 16, 8))  # msghdr.msg_iov
            [message] = struct.unpack("=Q", read(iov, 8))
            if struct.unpack("=H", read(message + 6, 2))[0] == PORT_DEL_REPLY:
                return


# Waits until another switch runs; who traces a thread has to let it go when it is dead.
def wait_for_another(lab, old, traced=None, deadline_s=30):
    deadline = time.monotonic() + deadline_s
    while True:
        if traced and os.waitpid(traced, WALL | os.WNOHANG)[0]:
            traced = None
        now = labs.processes("insula-switch")
        if now and now != [old] and lab.status()["switch"]["state"] == "running":
            return now[0]
        assert time.monotonic() < deadline, f"{old} is still there:\n{lab.log()[-2000:]}"
        time.sleep(0.1)


def check_whole(lab, guests=GUESTS):
    for guest in guests:
        assert lab.probe("tcp", guest, "internet", laptops.ROUTER), f"{guest}: no way out"
    status = lab.status()
    assert not status["warnings"] and status["switch"]["state"] == "running", status
    assert status["switch"]["generation"] == status["generation"], status


def test_idle_and_stopped_for_a_moment(lab):
    [switch] = labs.processes("insula-switch")
    check_whole(lab)
    os.kill(switch, signal.SIGSTOP)
    ports = lab.list("port")
    assert {(p["state"], p["trouble"]) for p in ports} == {
        ("waiting", "insula-switch does not answer")}, ports
    time.sleep(2)
    os.kill(switch, signal.SIGCONT)
    until = time.monotonic() + IDLE_S
    while time.monotonic() < until:
        assert labs.processes("insula-switch") == [switch], lab.log()[-2000:]
        assert lab.status()["switch"]["state"] == "running", lab.status()
        time.sleep(0.5)
    assert "hangs" not in lab.log(), lab.log()
    check_whole(lab)


# Nobody asks it anything: insulad notices by itself.
def test_stopped(lab):
    [switch] = labs.processes("insula-switch")
    mark, begin = len(lab.log()), time.monotonic()
    os.kill(switch, signal.SIGSTOP)
    while labs.processes("insula-switch") == [switch]:
        assert time.monotonic() < begin + 30, lab.log()[mark:]
        time.sleep(0.1)
    assert time.monotonic() - begin > 8, "it was not given the time that load may take"
    wait_for_another(lab, switch)
    assert f"(pid {switch}) hangs: its control thread has not been heard of" in lab.log()[mark:]
    assert lab.status()["switch"]["respawns"] == 1, lab.status()
    check_whole(lab)


# A worker that hangs in its sleep looks like one that sleeps, but cannot be woken.
def test_worker_asleep(lab):
    [switch] = labs.processes("insula-switch")
    mark, tid = len(lab.log()), thread(switch, "worker-1")
    stop_thread(tid)
    before = lab.status()["generation"]
    status, text = lab.try_document("apply", without_red_2())
    assert status == 1 and "insula-switch: worker 1 makes no progress" in text, text
    assert text.endswith("insula: nothing has been changed\n"), text
    assert lab.try_document("diff", lab.document) == (0, ""), "something was changed"
    status, text = lab.try_document("apply", lab.document)
    assert status == 1 and "worker 1" in text, f"the same file again: {status} {text}"
    deadline = time.monotonic() + 10
    while (now := lab.status()["switch"])["state"] != "hanging":
        assert now["pid"] == switch and time.monotonic() < deadline, now
        time.sleep(0.1)
    assert "worker 1 has made no progress for" in now["trouble"], now
    wait_for_another(lab, switch, tid)
    assert f"(pid {switch}) hangs: worker 1 has made no progress for 10 s" in lab.log()[mark:]
    assert lab.status()["generation"] == before, lab.status()
    check_whole(lab)


# One that does not sleep holds up the control thread, which waits for it to let go of a port.
def test_worker_awake(lab):
    lab.apply_document(document(mode="poll"))
    [switch] = labs.processes("insula-switch")
    tid = thread(switch, "worker-1")
    stop_thread(tid)
    changed = document(mode="poll")
    nic = laptops.nic_of(changed, "red-2")
    nic["mac"] = "02:aa:bb:cc:dd:01"
    status, text = lab.try_document("apply", changed)
    assert status == 1 and "did not answer within 2 s" in text, text
    assert text.endswith("insula: nothing has been changed\n"), text
    wait_for_another(lab, switch, tid)
    check_whole(lab)
    lab.apply_document(lab.document)
    check_whole(lab)


# It hangs when the file has been stored: that cannot be taken back, and is not called done.
def test_unconfirmed(lab):
    [switch] = labs.processes("insula-switch")
    apply = subprocess.Popen([lab.insula_program, "apply", "-f", lab.write(without_red_2())],
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stop_before_answer(switch, apply)
    text = apply.communicate(timeout=60)[0]
    assert apply.returncode == 1 and "port red/red-2.eth0: " in text, text
    assert "did not answer within 2 s; the file is stored as generation" in text, text
    assert "nothing has been changed" not in text, text
    wait_for_another(lab, switch, switch)
    assert lab.try_document("diff", without_red_2()) == (0, "")
    assert [p["name"] for p in lab.list("port")] == ["internet", "red/red-1.eth0"]
    check_whole(lab, GUESTS[:1])


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(document())
    netns.run("ip", "link", "set", "wlan0", "up")
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
