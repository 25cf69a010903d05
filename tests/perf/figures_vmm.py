# SPDX-License-Identifier: BSD-3-Clause
# vmm.* and vmnet64.*: what a machine of insula-vmm costs, a hundred of them at once, and how fast
# one's rings are served, beside DPDK's own driver on the same switch; see README.md. The guest is
# tests/kvm/guest. Called by bench.py.
import os
import re
import subprocess
import sys
import threading
import time

import arms
import hugepages
import lab as labs
import netns
import sandbox
import vhost

sys.path.append(os.path.join(labs.ROOT, "tests", "kvm"))
import machine as machines  # pylint: disable=wrong-import-position

NAMES = ("vmm.overhead_mib", "vmm.vms100_s", "vmnet64.vs_virtio_user")
ROUND_S, FRAMES, SIZE = 3, 64, 60  # without the FCS: 64 bytes on a wire
HUGEPAGES = 384  # 2 MiB each: the switch's, and testpmd's 256 MiB
N_MACHINES, ECHOES, GATEWAY = 100, 1000, "10.0.0.1"
HEAD = """version: 1
tenants:
  - name: t
    networks:
      - {name: lan, vlan: 10, subnet: 10.0.0.0/16, gateway: 10.0.0.1}
    instances:
"""
INSTANCE = ("      - {{name: i{i}, kind: external, nics: [{{network: lan, type: vhost-user, "
            "address: 10.0.{high}.{low}}}]}}\n")


# Of a process: KiB resident (Rss) and its share of them (Pss), without the guest's memory.
def beyond_guest(pid):
    sums, counts = {"Rss": 0, "Pss": 0}, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                counts = "memfd:guest memory" not in line
            elif counts and (key := line.split(":")[0]) in sums:
                sums[key] += int(line.split()[1])
    return sums


def _overhead_round(bench):
    disk = os.path.join(sandbox.DIRECTORY, "disk")
    with open(disk, "wb") as file:
        file.truncate(64 << 20)
    machine = machines.Machine(machines.command(
        "blk-write:0:65536:1:128,blk-verify:0:65536:1,sleep:100,sleep:600000",
        "--disk", f"file={disk}", "--rng", "--net", f"vhost-user={sandbox.DIRECTORY}/net,wait=0",
        memory_mib=256))
    machine.wait("ok sleep")
    found = beyond_guest(machine.process.pid)
    machine.kill()
    bench.sample("vmm.overhead_mib", found["Rss"] / 1024)
    bench.sample("vmm.overhead_pss_mib", found["Pss"] / 1024)
    bench.say(f"vmm: {found['Rss']} KiB beyond the guest's, its share of them {found['Pss']}")


class Site(labs.Lab):
    """Insula as it is by default, with so many vhost-user ports."""

    def __init__(self, n):
        super().__init__(None, sandbox.DIRECTORY)
        self.n, self.pids = n, []

    def __enter__(self):
        file = os.path.join(self.directory, "site.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(HEAD + "".join(INSTANCE.format(i=i, high=1 + i // 200, low=1 + i % 200)
                                     for i in range(self.n)))
        try:
            self.start()
            self.apply(file)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    # (socket, MAC, address) of each.
    def ports(self):
        return [(p["device"].split()[-1], p["mac"], p["address"]) for p in self.list("port")]


def _start(port):
    socket, mac, address = port
    return machines.Machine(machines.command(
        f"ip:{address}:16,reach:{GATEWAY}:100,ping:{GATEWAY}:{ECHOES}:20000,sleep:600000",
        "--net", f"vhost-user={socket},mac={mac},wait=60000", memory_mib=128), address, 300)


# From the first start until the last echo, with all of them running at the end.
def _hundred_round(bench, site):
    begin, ports = time.monotonic(), site.ports()
    running = [_start(port) for port in ports]
    try:
        failed = []

        def follow(machine):
            try:
                machine.wait("ok ping")
            except machines.MachineFailed as error:
                failed.append(str(error))

        readers = [threading.Thread(target=follow, args=[machine]) for machine in running]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        seconds = time.monotonic() - begin
        alive = sum(machine.process.poll() is None for machine in running)
        if failed or alive != N_MACHINES:
            raise netns.CommandFailed(f"{alive} machines run, {len(failed)} failed: {failed[:1]}")
        taken = sum(_pss_kib(machine.process.pid) for machine in running) / 1024
    finally:
        for machine in running:
            machine.kill()
    bench.sample("vmm.vms100_s", seconds)
    bench.sample("vmm.vms100_mib", taken)
    bench.say(f"vmm: {N_MACHINES} machines, {ECHOES} echoes each: {seconds:.1f} s, {taken:.0f} MiB")


# Of a process, its guest's memory included.
def _pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


# Frames that the switch has given to its two guests so far, and when that was.
def _carried(arm):
    return sum(port["tx_packets"] for port in arm.lab.list("port")), time.monotonic()


# Millions a second, while they go round.
def _rate(arm):
    before, begin = _carried(arm)
    time.sleep(ROUND_S) # the length of a measurement
    after, end = _carried(arm)
    return (after - before) / (end - begin) / 1e6


# One guest, one processor, two nics: what comes in at one goes out at the same again, addressed
# back.
def _guest(arm):
    nets = [word for path, end in zip(arm.sockets, arm.ends) for word in
            ("--net", f"vhost-user={path},mac={end.split(',')[0]},wait=20000")]
    setup = "".join(f"nic:{i},ip:{end.split(',')[1]}:16," for i, end in enumerate(arm.ends))
    command = machines.command(f"{setup}nic:0,circulate:{FRAMES}:{SIZE}:600", *nets)
    machine = machines.Machine(["taskset", "-c", str(arms.GENERATOR_CPU), *command])
    try:
        machine.wait("ok circulation begins")
        return _rate(arm)
    finally:
        machine.kill()


# testpmd: what comes in at one device goes out at the other, with new MACs. Of its first frames,
# the switch's guard lets in those of the first device: the others have its address as their source.
def _virtio_user(arm):
    macs, addresses = zip(*(end.split(",") for end in arm.ends))
    vhost.until("the guest is gone", lambda: all(port["state"] == "down"
                                                 for port in arm.lab.list("port")))
    for path in arm.sockets:
        if os.path.exists(path):
            os.unlink(path) # of the run before; virtio-user does not replace it
    cpu = arms.GENERATOR_CPU
    command = ["dpdk-testpmd", "--no-pci", "--in-memory", "--single-file-segments", "-m", "256",
               "--no-telemetry", "--lcores", f"0@{cpu},1@{cpu}"]
    command += [f"--vdev=net_virtio_user{i},path={path},server=1,queue_size=256,mac={mac}"
                for i, (path, mac) in enumerate(zip(arm.sockets, macs))]
    command += ["--", "-i", "--forward-mode=mac", f"--txpkts={SIZE}", "--burst=32",
                f"--tx-ip={','.join(addresses)}", f"--eth-peer=0,{macs[1]}",
                f"--eth-peer=1,{macs[0]}", "--total-num-mbufs=16384"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, text=True) as testpmd:
        try:
            vhost.until("both ports are up", lambda: all(port["state"] == "up"
                                                         for port in arm.lab.list("port")))
            before = _carried(arm)[0]
            testpmd.stdin.write(f"start tx_first {FRAMES // 32}\n")
            testpmd.stdin.flush()
            vhost.until("testpmd's frames go round", lambda: _carried(arm)[0] > before + 2 * FRAMES)
            return _rate(arm)
        finally:
            testpmd.kill()


def _vmnet_round(bench):
    with arms.Insula() as arm:
        guest, peer = _guest(arm), _virtio_user(arm)
    bench.sample("vmnet64.guest", guest)
    bench.sample("vmnet64.virtio_user", peer)
    bench.say(f"Mpps: a guest {guest:.2f}, virtio-user {peer:.2f}")


def measure(bench):
    if bench.wants("vmm.overhead_mib"):
        sandbox.furnish(netns.run, sandbox.DIRECTORY)
        for _ in range(bench.rounds):
            _overhead_round(bench)
        bench.value("vmm.overhead_mib", "vmm.overhead_pss_mib")
    if bench.wants("vmm.vms100_s"):
        with Site(N_MACHINES) as site:
            for _ in range(bench.rounds):
                _hundred_round(bench, site)
        bench.value("vmm.vms100_s", "vmm.vms100_mib")
    if bench.wants("vmnet64.vs_virtio_user"):
        with hugepages.Hugepages(HUGEPAGES):
            for _ in range(bench.rounds):
                _vmnet_round(bench)
        bench.ratio("vmnet64.vs_virtio_user", "vmnet64.guest", "vmnet64.virtio_user")
        bench.value("vmnet64.guest", "vmnet64.virtio_user")
