# SPDX-License-Identifier: BSD-3-Clause
# The demo's main job, as the first process of its sandbox: makes the namespaces, starts Insula,
# applies the file, probes, prints, stops Insula and compares what is left. Started by demo.py;
# talks to it by lines on stdout (for people) and one JSON document on descriptor REPORT (for
# demo.py).
import argparse
import concurrent.futures
import ipaddress
import json
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import netns
import sandbox
import snapshot

import dhcp
import policy as policies
import probes
import report
import traffic

INTERNET_NETNS = "insdemo-internet"


class Stopped(Exception):
    pass


def say(text=""):
    print(text, flush=True)


class Demo:
    def __init__(self, options):
        self.options = options
        self.policy = policies.read(options.policy)
        self.results, self.problems = {}, []
        self.agents, self.clients, self.before, self.started = {}, None, None, False
        self.addresses = {}

    def insula(self, *words, timeout=60):
        return netns.run(self.options.insula, *words, timeout=timeout)

    def spaces(self):
        return [i.netns for i in self.policy.instances] + [INTERNET_NETNS]

    # The instances' namespaces, empty; the uplink's cable; the internet with a route to the
    # tenants' addresses, so that what keeps it out is the switch and not a missing route.
    def build(self):
        uplink = self.policy.uplink
        for space in self.spaces():
            netns.create(space)
        netns.veth("", uplink.interface, INTERNET_NETNS, "eth0")
        netns.ip(INTERNET_NETNS, "address", "add", f"{uplink.gateway}/{uplink.prefix_len}",
                 "dev", "eth0")
        for address in {i.address for i in self.policy.instances if i.address}:
            netns.ip(INTERNET_NETNS, "route", "add", address, "via", uplink.address)
        traffic.build_bridge()

    # Everything of the sandbox that Insula could touch.
    def look(self):
        items = snapshot.machine((), (self.options.state_dir,))
        program = os.path.join(os.path.dirname(HERE), "lib", "snapshot.py")

        def one(space):
            done = netns.run(*netns.inside(space), sys.executable, program)
            return {f"{k} (in {space or 'the host'})": v
                    for k, v in json.loads(done.stdout).items()}

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for part in pool.map(one, ["", *self.spaces()]):
                items |= part
        return items

    def start(self):
        self.before = self.look()
        self.started = True
        say(self.insula("start").stdout.rstrip() or "insula start: running")
        begin = time.monotonic()
        out = self.insula("apply", "-f", self.options.apply or self.options.policy).stdout
        say(out.rstrip() + f"\napplied in {(time.monotonic() - begin) * 1000:.0f} ms")

    def leases(self):
        names = {i.name: i.netns for i in self.policy.instances}
        self.agents = netns.agents(names | {policies.INTERNET: INTERNET_NETNS})
        self.clients = dhcp.Clients(self.options.directory, self.policy.instances)
        got, rows = self.clients.wait(), []
        for i in self.policy.instances:
            lease = got.get(i.name)
            if not lease:
                self.problems.append(f"{i.name} got no lease: {self.clients.log(i.name)}")
                continue
            self.addresses[i.name] = lease["address"]
            rows.append({"instance": i.name, "tenant": i.tenant, **lease, "policy": i.address})
            if i.address and lease["address"] != i.address:
                self.problems.append(f"{i.name} leased {lease['address']}, not {i.address}")
        self.results["leases"] = rows
        say("\nLeases, as the DHCP clients observed them:")
        say(report.table(rows, ["instance", "tenant", "address", "policy", "router", "dns", "mtu",
                                "lease_s", "server"]))
        say("\nLeases, as insula lists them:")
        say(self.insula("list", "lease").stdout.rstrip())
        self.addresses[policies.INTERNET] = self.policy.uplink.gateway

    def matrix(self):
        ordered = {n: self.agents[n]
                   for n in [*(i.name for i in self.policy.instances), policies.INTERNET]}
        cells = self.results["matrix"] = probes.matrix(self.policy, ordered, self.addresses)
        say("\nWho reaches whom, ping / tcp (yes = the named target recorded the nonce and the"
            "\nsender got the answer; marked where it is not what the policy says):")
        say(report.matrix(cells))
        wrong = list(report.wrong_cells(cells))
        say(f"  {len(cells) - len(wrong)} of {len(cells)} cells are as the policy says")
        self.problems += wrong

    def snat(self):
        rows = self.results["snat"] = traffic.snat(self.policy, self.agents)
        say("\nThrough SNAT to the uplink, all tenants at once:")
        say(report.table(rows, ["instance", "proto", "bytes", "hash_ok", "detail"]))
        self.problems += [f"{r['instance']} {r['proto']} through SNAT failed: {r['detail']}"
                          for r in rows if not r["hash_ok"]]

    # Two instances of one network; none such: no figure.
    def iperf(self):
        pairs = ((a, b) for a in self.policy.instances for b in self.policy.instances
                 if a != b and (a.tenant, a.network) == (b.tenant, b.network)
                 and a.name in self.addresses and b.name in self.addresses)
        a, b = next(pairs, (None, None))
        if not a:
            self.problems.append("no two instances of one network have leases: no iperf3 figure")
            return
        figures = self.results["iperf"] = traffic.iperf(a.netns, b.netns, self.addresses[b.name])
        say(f"\niperf3 TCP, median of {traffic.ROUNDS} alternated rounds:")
        say(f"  {a.name} -> {b.name}    {figures['gbps']:7.2f} Gb/s")
        say(f"  kernel bridge     {figures['bridge_gbps']:7.2f} Gb/s    "
            f"ratio {figures['gbps'] / figures['bridge_gbps']:.2f}")

    def memory(self):
        kib, vms = {"insula-switch": 0, "insulad": 0}, 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0]
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
            except (OSError, StopIteration):
                continue
            vms += program == "insula-vmm"
            if program in kib:
                kib[program] += pss
        self.results["memory_kib"] = {"switch": kib["insula-switch"], "control": kib["insulad"]}
        self.results["vms"] = vms
        say(f"\nMemory: switch {kib['insula-switch']} KiB, control {kib['insulad']} KiB; {vms} VMs")

    def run(self):
        for step in (self.build, self.start, self.leases, self.matrix, self.snat, self.iperf,
                     self.memory):
            step()

    # Stops in the reverse order; every step is tried, whatever became of the others.
    def stop(self):
        steps = [agent.stop for agent in self.agents.values()]
        steps += [self.clients.stop] if self.clients else []
        steps += [netns.kill_helpers]
        steps += [lambda: self.insula("stop", timeout=30)] if self.started else []
        for step in steps:
            try:
                step()
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.problems.append(f"stopping: {error}")

    # Differences are given a moment: the kernel destroys interfaces behind a process's back.
    def check_left(self):
        deadline = time.monotonic() + 5
        while left := snapshot.compare(self.before, self.look()):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.problems += [f"after insula stop, {line}" for line in left]


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--policy", required=True)
    parser.add_argument("--apply", default="")
    parser.add_argument("--insula", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--report", type=int, required=True)
    return parser.parse_args()


def stopped(_signal, _frame):
    raise Stopped


def tell(fd, demo, **more):
    os.write(fd, (json.dumps({"results": demo.results, "problems": demo.problems} | more)
                  + "\n").encode())


def main():
    options = parse()
    signal.signal(signal.SIGTERM, stopped)
    sandbox.furnish(netns.run, options.directory)
    demo = Demo(options)
    try:
        try:
            demo.run()
            if options.keep:
                tell(options.report, demo, kept=True)
                signal.pause()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            demo.stop()
    except Stopped:
        demo.problems += [] if options.keep else ["stopped before the end"]
    except Exception as error:  # pylint: disable=broad-exception-caught
        demo.problems.append(f"{type(error).__name__}: {error}")
    if demo.before is not None:
        demo.check_left()
    tell(options.report, demo, kept=False)


main()
