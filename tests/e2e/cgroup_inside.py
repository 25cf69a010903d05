# SPDX-License-Identifier: BSD-3-Clause
# Inside the outer machine: each machine is in a control group of its own, which bounds it, and goes
# with it. See cgroup.py.
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), name) for name in ("kvm", "lib")]

# pylint: disable=wrong-import-position
import instance
import lab as labs
import machine
import sandbox

MIB, SECONDS = 1 << 20, 40
BASE = "/sys/fs/cgroup/insula"
MEMORY_MIB, CPUS = {"calm": 64, "storm": 32}, {"calm": 2, "storm": 1}
RUNS = {"calm": "dhcp,serve:600", "storm": "exit-storm:600000"}
SITE = """version: 1
tenants:
  - name: red
    networks: [{name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1}]
    instances:
"""
INSTANCE = """      - {{name: {name}, kind: vm, kernel: {kernel}, cmdline: "run={run} button",
         cpus: {cpus}, memory: {memory}MiB, stop_timeout: 2, nics: [{{network: lan}}]}}
"""


class Site:
    def __init__(self, lab):
        self.lab, self.file = lab, os.path.join(lab.directory, "site.yaml")

    def apply(self, names):
        with open(self.file, "w", encoding="ascii") as out:
            out.write(SITE if names else SITE.replace("    instances:\n", ""))
            out.writelines(INSTANCE.format(name=name, kernel=machine.GUEST, run=RUNS[name],
                                           cpus=CPUS[name], memory=MEMORY_MIB[name])
                           for name in names)
        self.lab.apply(self.file)

    def log(self):
        return read(os.environ["INSULA_STATE_DIR"], "insulad.log")

    def show(self, name):
        return json.loads(self.lab.insula("instance", "show", f"red/{name}", "-o", "json"))

    # Once it runs.
    def running(self, name, other_than=0):
        def look():
            now = self.show(name)
            return now if now["state"] == "running" and now["pid"] != other_than else None
        return wait(f"{name} runs", look)


def wait(what, get):
    deadline = time.monotonic() + SECONDS
    while not (found := get()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


def read(*path):
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read().strip()


def write(text, *path):
    with open(os.path.join(*path), "w", encoding="ascii") as file:
        file.write(text)


def count(group, file, key):
    return next(int(line.split()[1]) for line in read(group, file).splitlines()
                if line.split()[0] == key)


# Without a thread of the kernel's own that KVM has for each machine: it has no number here.
def members(group, kind):
    return set(read(group, f"cgroup.{kind}").split()) - {"0"}


def groups():
    if not os.path.exists(BASE):
        return []
    return sorted(name for name in os.listdir(BASE) if os.path.isdir(os.path.join(BASE, name)))


def controllers():
    return read(os.path.dirname(BASE), "cgroup.subtree_control")


# Every thread of it, and nobody else.
def test_each_has_its_own(site):
    assert not os.path.exists(BASE) and not controllers(), "nobody has a machine yet"
    site.apply(("calm", "storm"))
    for name, memory in MEMORY_MIB.items():
        now = site.running(name)
        group = now["cgroup"]
        assert os.path.dirname(group) == BASE and group.endswith(f".{now['id']}"), now
        threads = os.listdir(f"/proc/{now['pid']}/task")
        assert members(group, "procs") == {str(now["pid"])}, read(group, "cgroup.procs")
        assert members(group, "threads") == set(threads) and len(threads) > 1
        limits = {"memory.max": str((memory + memory // 64 + 128) * MIB), "pids.max": "512",
                  "cpu.weight": str(100 * CPUS[name]), "cpu.max": f"{CPUS[name] + 1}00000 100000",
                  "memory.oom.group": "1"}
        found = {file: read(group, file) for file in limits}
        assert found == limits, found
        assert "io" in read(BASE, "cgroup.subtree_control").split()
    [insulad] = labs.processes("insulad")
    assert "insula" not in read(f"/proc/{insulad}/cgroup"), read(f"/proc/{insulad}/cgroup")


# An exit storm (H-32) gets what its group is given and no more.
def test_storm_is_bounded(site):
    group = site.show("storm")["cgroup"]
    write("20000 100000", group, "cpu.max")
    throttled = count(group, "cpu.stat", "nr_throttled")
    wait("it is held back", lambda: count(group, "cpu.stat", "nr_throttled") > throttled + 2)
    begin, used = time.monotonic(), count(group, "cpu.stat", "usage_usec")
    wait("ten periods have gone", lambda: time.monotonic() > begin + 1)
    used = (count(group, "cpu.stat", "usage_usec") - used) / 1e6
    took = time.monotonic() - begin
    assert 0.05 * took < used < 0.3 * took, f"{used:.2f} s of {took:.2f}"
    print(f"# {used:.2f} s of {took:.2f}")


# Memory that runs out in a group ends this machine, all of it, and no other; it is started again
# in a group as before.
def test_memory_is_bounded(site):
    calm, storm = site.show("calm"), site.show("storm")
    mark = len(site.log())
    write("100000", storm["cgroup"], "memory.max")
    now = site.running("storm", storm["pid"])
    assert "its cgroup had no memory left" in site.log()[mark:], site.log()[mark:]
    assert now["cgroup"] == storm["cgroup"] and "cgroup" in now["last_failure"], now
    assert read(now["cgroup"], "memory.max") == str((32 + 128) * MIB)
    assert site.show("calm")["pid"] == calm["pid"]


def test_insulad_killed(site):
    before = {name: site.show(name) for name in RUNS}
    instance.kill(labs.processes("insulad")[0])
    site.lab.start()
    for name, was in before.items():
        now = site.running(name)
        assert (now["pid"], now["cgroup"]) == (was["pid"], was["cgroup"]), (was, now)


# Stopped, it has none; and what is no longer there leaves none.
def test_gone(site):
    storm = site.show("storm")["cgroup"]
    site.lab.insula("instance", "stop", "--force", "red/storm")
    wait("its group is gone", lambda: not os.path.exists(storm))
    site.lab.insula("instance", "start", "red/storm")
    assert site.running("storm")["cgroup"] == storm
    site.apply(("calm",))
    wait("its group is gone", lambda: groups() == [os.path.basename(site.show("calm")["cgroup"])])


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    site = Site(lab)
    lab.start()
    good = labs.run_cases(globals(), site)
    errors = lab.stop()
    if os.path.exists(BASE) or controllers():
        errors.append(f"left behind: {BASE} {groups()}, controllers {controllers()}")
    print(*errors, sep="\n", flush=True)
    if good and not errors:
        print("done", flush=True)
    else:
        print(site.log())


main()
