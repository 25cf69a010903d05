# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm from outside (HOSTILE.md H-33), while its guest serves: who it is, what it sees of the
# host, which fds it has; and that it is killed, and nothing else, when a thread of any kind does
# what it has no need of. Runs in a sandbox.
import collections
import os
import re
import shutil
import subprocess
import sys
import termios

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

# pylint: disable=wrong-import-position
import lab as labs
import machine as machines
import netns
import sandbox
import vhost
import vmm_net

INJECT = os.path.join(machines.BUILD, "tests", "kvm", "vmm-inject")
SPACES = ("mnt", "net", "ipc", "uts")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "kvm", "--clear-groups"]
# One network card with a queue pair: its two queues' kicks and calls and the configuration's call;
# the loop's and the machine's. Sockets: the one that listens, and the switch.
# pipe: output and errors, and output once more, which must not block.
FDS = {"/dev/null": 1, "pipe": 3, "insula-test-guest": 1, "/dev/kvm": 1, "guest memory": 1,
       "kvm-vm": 1, "kvm-vcpu:0": 1, "[eventpoll]": 1, "[eventfd]": 7, "[signalfd]": 1, "socket": 2}
# x86-64's numbers, and arguments that would be good. 0x40000000: the same by the x32 interface.
PROT_RWX, ANONYMOUS, THREAD, KVM_CREATE_DEVICE, TIOCSTI = 7, 0x22, 0x10000, 0xc00caee0, 0x5412
FORBIDDEN = {
    "openat": (257, -100, 0, 0), "execve": (59, 0, 0, 0), "socket": (41, 1, 1, 0),
    "connect": (42, 0, 0, 0), "ptrace": (101, 0, 0, 0), "kill": (62, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0), "tgkill": (234, 1, 1, 10), "fork": (57,),
    "clone": (56, THREAD, 0), "mprotect": (10, 0, 4096, PROT_RWX),
    "mmap": (9, 0, 4096, PROT_RWX, ANONYMOUS, -1, 0), "mmap of a file": (9, 0, 4096, 1, 1, 0, 0),
    "io_uring_setup": (425, 1, 0), "bpf": (321, 0, 0, 0), "unshare": (272, 0),
    "io_uring_register of buffers": (427, 1, 0, 0, 0), "fcntl F_SETFL": (72, 1, 4, 0),
    "getsockopt of an error": (55, 0, 1, 4, 0, 0),
    "prctl": (157, 4, 1), "setuid": (105, 0), "KVM_CREATE_DEVICE": (16, 4, KVM_CREATE_DEVICE, 0),
    "TIOCSTI": (16, 0, TIOCSTI, 0), "fstat of a path": (262, -100, 0, 0, 0),
    "getpid by x32": (0x40000000 + 39,)}
# What only some kinds may do: KVM_RUN, a processor's registers, a disk's ring, a connection.
FORBIDDEN_TO = {
    "device": {"KVM_RUN": (16, 0, 0xae80, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0, 0)},
    "cpu": {"KVM_SET_SREGS": (16, 0, 0x4138ae84, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0, 0),
            "accept4": (288, 0, 0, 0, 0), "pread64": (17, 0, 0, 0, 0),
            "recvmsg": (47, 0, 0, 0), "io_uring_register of files": (427, 1, 6, 0, 0)},
    "io": {"KVM_RUN": (16, 0, 0xae80, 0), "KVM_IRQFD": (16, 0, 0x4020ae76, 0),
           "recvmsg": (47, 0, 0, 0), "io_uring_register of files": (427, 1, 6, 0, 0),
           "accept4": (288, 0, 0, 0, 0), "sendmsg": (46, 0, 0, 0), "close": (3, 0)}}
GETPID, EACCES, UNLINK = 39, 13, 87


class Victim(machines.Machine):
    """A machine without a switch."""

    def __init__(self, run, *options, prefix=(), vmm=machines.VMM, kernel=machines.GUEST,
                 reboots=False, **popen):
        words = machines.command(run, *options, vmm=vmm, kernel=kernel, reboots=reboots)
        super().__init__([*prefix, *words], **popen)

    # A sentence of insula-vmm's own, and its exit status.
    def refusal(self):
        status = self.end()
        return "\n".join(self.lines), status


def status(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def threads(pid):
    return {int(tid): status(pid, tid)["Name"] for tid in os.listdir(f"/proc/{pid}/task")}


def check_threads(pid, uid, bounds=True):
    for tid, name in threads(pid).items():
        s, name = status(pid, tid), f"{name} ({tid})"
        assert s["Seccomp"] == "2", f"{name} runs without seccomp filter"
        assert s["NoNewPrivs"] == "1", f"{name} could gain privileges"
        for which in ("CapInh", "CapPrm", "CapEff", "CapAmb", *(["CapBnd"] if bounds else [])):
            assert int(s[which], 16) == 0, f"{name} has capabilities: {which} {s[which]}"
        assert s["Uid"].split() == [str(uid)] * 4, f"{name} is {s['Uid']}"
        assert not s["Groups"].strip(), f"{name} is in groups {s['Groups']}"


# In every thread: one that was there too early would have kept the host's.
def check_spaces(pid, spaces=SPACES):
    for tid in threads(pid):
        for space in spaces:
            theirs = os.readlink(f"/proc/{pid}/task/{tid}/ns/{space}")
            assert theirs != os.readlink(f"/proc/self/ns/{space}"), f"{space} is the host's"
        root = f"/proc/{pid}/task/{tid}/root"
        assert not os.listdir(root), f"its root folder has {os.listdir(root)}"
        assert os.statvfs(root).f_flag & os.ST_RDONLY, "its root folder can be written to"
        with open(f"/proc/{pid}/task/{tid}/mountinfo", encoding="utf-8") as f:
            assert len(f.readlines()) == 1, "it has the host's mounts"


def fds(pid):
    kinds = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        kind = re.sub(r":\[\d+\]| \(deleted\)|^anon_inode:|^/memfd:", "", target)
        kinds[kind if kind in ("/dev/null", "/dev/kvm") else os.path.basename(kind)] += 1
    return kinds


def check_limits(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        limits = {line[:26].strip(): line[26:].split()[:2] for line in f}
    assert limits["Max core file size"] == ["0", "0"], limits
    assert all(int(n) <= 4096 for n in limits["Max open files"]), limits
    # what the kernel says of a process that may not be looked into by its own user
    assert os.stat(f"/proc/{pid}/fd").st_uid == 0, "it can be traced by its own user"


def check_all(machine, uid):
    pid = machine.process.pid
    check_threads(pid, uid)
    check_spaces(pid)
    check_limits(pid)


# On the switch, and reached by it: after this the others see that nothing of it is disturbed.
def test_confined(lab):
    machine = vmm_net.Machine(lab, "red-2", "dhcp,serve:60")
    machine.wait("ok serve listens")
    check_all(machine, 65534)
    assert fds(machine.process.pid) == FDS, fds(machine.process.pid)
    vmm_net.python(lab, "red-1", vmm_net.STOP, lab.addresses["red-2"]).wait(5)
    machine.done()


def test_user(_lab):
    machine = Victim("sleep:600", "--user", "1234:5678")
    machine.wait("guest: ready")
    check_all(machine, 1234)
    machine.done()
    told, code = Victim("sleep:1", "--user", "nobody-like-this").refusal()
    assert code == 1 and "no such user" in told, told
    for user in ("root", "0:0", "5:0"):
        told, code = Victim("sleep:1", "--user", user).refusal()
        assert code == 1 and "root is not what" in told, told


# What the one who started it had open is not the machine's.
def test_inherited(_lab):
    with open("/etc/passwd", encoding="utf-8") as file:
        machine = Victim("sleep:600", pass_fds=[file.fileno()])
        machine.wait("guest: ready")
        assert "passwd" not in fds(machine.process.pid), fds(machine.process.pid)
        machine.done()


# A guest that reboots finds its kernel though no path leads anywhere any more.
def test_reboot(_lab):
    kernel = os.path.join(sandbox.DIRECTORY, "kernel")
    shutil.copy(machines.GUEST, kernel)
    machine = Victim("sleep:20", "--cpus", "4", kernel=kernel, reboots=True)
    machine.wait("guest: ready")
    os.unlink(kernel)
    for _ in range(3):
        machine.wait("guest: done")
        machine.wait("guest: ready")
    machine.process.terminate()
    assert machine.process.wait(20) == 128 + 15, machine.process.returncode


# A terminal is raw while the machine runs, and afterwards as it was.
def test_terminal(_lab):
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    machine = Victim("sleep:300", stdin=theirs)
    machine.wait("guest: ready")
    assert termios.tcgetattr(theirs) != before
    machine.done()
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


# As nobody, a member of kvm: with a user namespace, and where there are none.
def test_unprivileged(_lab):
    files = {"kernel": shutil.copy(machines.GUEST, sandbox.DIRECTORY),
             "vmm": shutil.copy(machines.VMM, sandbox.DIRECTORY)}
    machine = Victim("sleep:600", prefix=NOBODY, **files)
    line = machine.wait("insula-vmm:")
    assert "not root: the machine stays user 65534, in a user namespace" in line, line
    machine.wait("guest: ready")
    check_threads(machine.process.pid, 65534)
    check_spaces(machine.process.pid, (*SPACES, "user"))
    machine.done()
    none = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
            "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"", "sh",
            "setpriv", "--inh-caps=-all", "--ambient-caps=-all"]
    machine = Victim("sleep:600", prefix=[*NOBODY, *none], **files)
    assert "it goes on without" in machine.wait("insula-vmm:")
    machine.wait("guest: ready")
    check_threads(machine.process.pid, 65534, bounds=False)
    machine.done()
    told, code = Victim("sleep:1", "--user", "games", prefix=NOBODY, **files).refusal()
    assert code == 1 and "only root" in told, told


# The process' threads by what they wait in, when each does.
def kinds(pid):
    found = {"device": pid}
    for tid, comm in threads(pid).items():
        if tid == pid or comm.startswith(("kvm-", "iou-")):
            continue  # the kernel's own
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as f:
            found |= {"16": {"cpu": tid}, "426": {"io": tid}}.get(f.read().split()[0], {})
    return found if len(found) == 3 else None


# A machine with a disk; and its thread of that kind.
def make_victim(kind):
    disk = os.path.join(sandbox.DIRECTORY, f"disk-{kind}")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    machine = Victim("blk-write:0:8:1,sleep:60000", "--disk", f"file={disk}")
    machine.wait("ok blk-write")
    return machine, vhost.until("all threads wait", lambda: kinds(machine.process.pid))[kind]


def inject(tid, call):
    return netns.run(INJECT, str(tid), *map(str, call)).stdout.strip()


# What it should not do and what it may; the machine beside goes on, and answers its neighbours.
def test_forbidden(lab):
    beside = vmm_net.Machine(lab, "red-2", "dhcp,serve:120")
    beside.wait("ok serve listens")
    for kind, more in FORBIDDEN_TO.items():
        for name, call in (FORBIDDEN | more).items():
            machine, tid = make_victim(kind)
            assert inject(tid, (GETPID,)) == f"answered {machine.process.pid}"
            told = inject(tid, call)
            assert told == "killed by signal 31", f"{kind} thread: {name}: {told}"
            assert machine.process.wait(20) == -31, f"{kind}: {name}: {machine.process.returncode}"
        assert beside.process.poll() is None
        assert vmm_net.python(lab, "red-1", vmm_net.SOURCE, lab.addresses["red-2"]).wait(20) == 0
    machine, tid = make_victim("device")
    assert inject(tid, (UNLINK, 0)) == f"answered {-EACCES}"
    machine.kill()
    vmm_net.python(lab, "red-1", vmm_net.STOP, lab.addresses["red-2"]).wait(5)
    beside.done()


def main():
    lab = labs.Lab(vhost.DEMO, sandbox.DIRECTORY)
    lab.without_client = set(vmm_net.GUESTS)
    lab.policy_file = os.path.join(lab.directory, "policy.yaml")
    vhost.write_policy(lab.policy_file, {name: {} for name in vmm_net.GUESTS})
    with lab:
        for instance in lab.policy.instances:
            lab.addresses.setdefault(instance.name, instance.address)
        good = labs.run_cases(globals(), lab)
    sys.exit(not good)


main()
