# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm from outside (HOSTILE.md H-33), while its guest serves: who it is, what it sees of the
# host, which fds it has. Runs in a sandbox.
import collections
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import sandbox
import vhost
import vmm_net

VMM = os.path.join(vmm_net.BUILD, "vmm", "insula-vmm")
KERNEL = os.path.join(vmm_net.BUILD, "tests", "kvm", "guest", "insula-test-guest")
SPACES = ("mnt", "net", "ipc", "uts")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "kvm", "--clear-groups"]
# One network card with a queue pair: its two queues' kicks and calls and the configuration's call;
# the loop's and the machine's. Sockets: the one that listens, and the switch.
FDS = {"/dev/null": 1, "pipe": 2, "insula-test-guest": 1, "/dev/kvm": 1, "guest memory": 1,
       "kvm-vm": 1, "kvm-vcpu:0": 1, "[eventpoll]": 1, "[eventfd]": 7, "[signalfd]": 1, "socket": 2}


class Victim(vmm_net.Machine):
    """A machine without a switch."""

    # pylint: disable=super-init-not-called
    def __init__(self, run, *options, prefix=(), vmm=VMM, kernel=KERNEL, **keys):
        self.instance, self.lines = "a machine", []
        command = [*prefix, vmm, "--memory", "64", "--kernel", kernel, "--cmdline", f"run={run}"]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **keys)

    # A sentence of insula-vmm's own, and its exit status.
    def refusal(self):
        told = self.process.stdout.read()
        return told, self.process.wait(20)


def status(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def threads(pid):
    return {int(tid): status(pid, tid)["Name"] for tid in os.listdir(f"/proc/{pid}/task")}


def check_threads(pid, uid, bounds=True):
    for tid, name in threads(pid).items():
        s, name = status(pid, tid), f"{name} ({tid})"
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
    machine = Victim("sleep:600", "--no-reboot", "--user", "1234:5678")
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
        machine = Victim("sleep:600", "--no-reboot", pass_fds=[file.fileno()])
        machine.wait("guest: ready")
        assert "passwd" not in fds(machine.process.pid), fds(machine.process.pid)
        machine.done()


# A guest that reboots finds its kernel though no path leads anywhere any more.
def test_reboot(_lab):
    kernel = os.path.join(sandbox.DIRECTORY, "kernel")
    shutil.copy(KERNEL, kernel)
    machine = Victim("sleep:20", kernel=kernel)
    machine.wait("guest: ready")
    os.unlink(kernel)
    for _ in range(3):
        machine.wait("guest: done")
        machine.wait("guest: ready")
    machine.process.terminate()
    assert machine.process.wait(20) == 128 + 15, machine.process.returncode


# As nobody, a member of kvm: with a user namespace, and where there are none.
def test_unprivileged(_lab):
    files = {"kernel": shutil.copy(KERNEL, sandbox.DIRECTORY),
             "vmm": shutil.copy(VMM, sandbox.DIRECTORY)}
    machine = Victim("sleep:600", "--no-reboot", prefix=NOBODY, **files)
    line = machine.wait("insula-vmm:")
    assert "not root: the machine stays user 65534, in a user namespace" in line, line
    machine.wait("guest: ready")
    check_threads(machine.process.pid, 65534)
    check_spaces(machine.process.pid, (*SPACES, "user"))
    machine.done()
    none = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
            "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"", "sh",
            "setpriv", "--inh-caps=-all", "--ambient-caps=-all"]
    machine = Victim("sleep:600", "--no-reboot", prefix=[*NOBODY, *none], **files)
    assert "it goes on without" in machine.wait("insula-vmm:")
    machine.wait("guest: ready")
    check_threads(machine.process.pid, 65534, bounds=False)
    machine.done()
    told, code = Victim("sleep:1", "--user", "games", prefix=NOBODY, **files).refusal()
    assert code == 1 and "only root" in told, told


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
