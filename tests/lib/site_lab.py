# SPDX-License-Identifier: BSD-3-Clause
# A site for measuring: one tenant, one network, the first two instances in network namespaces with
# their addresses set (no DHCP client), all others taps of the sandbox's own namespace that nobody
# uses. Insula runs from the first line of `with Site(...)` on. Used by tests/perf and test_limits.
import os
import subprocess
import time

import lab as labs
import netns
import sandbox

PAIR = ("site-1", "site-2")
ADDRESSES = ("10.0.0.11", "10.0.0.12")
GATEWAY = "10.0.0.1"
HEAD = """version: 1
settings: {{mode: {mode}}}
tenants:
  - name: t
    networks:
      - {{name: lan, vlan: 10, subnet: 10.0.0.0/16, gateway: {gateway}}}
    instances:
"""
INSTANCE = "      - {{name: i{i}, kind: external, nics: [{{network: lan, type: tap, {where}}}]}}\n"


def text(n_ports, mode="adaptive"):
    where = [f"netns: {space}, interface: eth0, address: {address}"
             for space, address in zip(PAIR, ADDRESSES)]
    where += [f"interface: many{i}" for i in range(2, n_ports)]
    instances = (INSTANCE.format(i=i, where=w) for i, w in enumerate(where))
    return HEAD.format(mode=mode, gateway=GATEWAY) + "".join(instances)


class Site(labs.Lab):
    def __init__(self):
        super().__init__(None, sandbox.DIRECTORY)
        self.pids = []

    # What Lab does, without leases.
    def __enter__(self):
        try:
            for space in PAIR:
                netns.create(space)
            self.start()
            self.apply_ports(2)
            for space, address in zip(PAIR, ADDRESSES):
                netns.ip(space, "link", "set", "eth0", "addrgenmode", "none")
                netns.ip(space, "address", "add", f"{address}/16", "dev", "eth0")
            self.ping()
        except BaseException:
            self.__exit__()
            raise
        return self

    # From what is to `n_ports`: seconds the command took.
    def apply_ports(self, n_ports, mode="adaptive"):
        file = os.path.join(self.directory, "site.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(text(n_ports, mode))
        begin = time.monotonic()
        self.apply(file)
        return time.monotonic() - begin

    # Returns when the first instance reaches the second.
    def ping(self):
        netns.run(*netns.inside(PAIR[0]), "ping", "-c", "1", "-w", "10", ADDRESSES[1])

    # TCP between the two: every kind of buffer has been used, and the link has been busy.
    def traffic(self, size="512M"):
        server = netns.popen([*netns.inside(PAIR[1]), "iperf3", "-s", "-1", "--forceflush"],
                             stdout=subprocess.PIPE, text=True)
        line = ""
        while "listening" not in line:
            line = server.stdout.readline()
            if not line:
                raise netns.CommandFailed(f"iperf3 -s in {PAIR[1]} ended at once")
        netns.run(*netns.inside(PAIR[0]), "iperf3", "-c", ADDRESSES[1], "-n", size)
        server.communicate(timeout=10)

    def switch(self):
        [pid] = labs.processes("insula-switch")
        return pid

    def processes(self):
        return labs.processes("insulad") + labs.processes("insula-switch")

    # Processor time of all of Insula so far.
    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.processes())

    # The share of one processor that all of Insula uses over `seconds`, in per cent.
    def cpu_percent(self, seconds):
        begin, before = time.monotonic(), self.cpu_seconds()
        time.sleep(seconds)  # the length of a measurement
        return (self.cpu_seconds() - before) / (time.monotonic() - begin) * 100


# All threads, in nanoseconds' resolution; those of threads that have ended do not count.
def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


# Resident set now, in MiB: shared table pages and program text included.
def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024
