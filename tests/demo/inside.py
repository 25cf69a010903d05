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
import lab as labs
import netns
import snapshot

import machines
import policy as policies
import probes
import report
import traffic

class Stopped(Exception):
    pass


def say(text=""):
    print(text, flush=True)


class Demo:
    def __init__(self, options):
        self.options, self.machines = options, {}
        self.lab = labs.Lab(options.policy, options.directory, options.insula)
        self.without = self.add_machines()
        self.policy = self.lab.policy
        self.results, self.problems, self.before = {}, [], None

    # One in each tenant, where that can be. Else why not.
    def add_machines(self):
        guest, why = machines.find_guest(self.options.insula)
        if self.options.apply:
            return "another file than --policy is applied, as it is"
        if guest:
            self.lab.read_with(lambda source, target: machines.write(source, target, guest))
        return why

    # Everything of the sandbox that Insula could touch.
    def look(self):
        items = snapshot.machine((), ())
        program = os.path.join(os.path.dirname(HERE), "lib", "snapshot.py")

        def one(space):
            done = netns.run(*netns.inside(space), sys.executable, program)
            return {f"{k} (in {space or 'the host'})": v
                    for k, v in json.loads(done.stdout).items()}

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for part in pool.map(one, ["", *self.lab.spaces()]):
                items |= part
        return items

    def build(self):
        self.lab.build()
        traffic.build_bridge()

    def start(self):
        self.before = self.look()
        say(self.lab.start() or "insula start: running")
        begin = time.monotonic()
        say(self.lab.apply(self.options.apply or self.lab.policy_file))
        say(f"applied in {(time.monotonic() - begin) * 1000:.0f} ms")

    def leases(self):
        got, rows = self.lab.lease(), []
        for i in self.policy.instances:
            lease = got.get(i.name)
            if not lease:
                self.problems.append(f"{i.name} got no lease: {self.lab.clients.log(i.name)}")
                continue
            rows.append({"instance": i.name, "tenant": i.tenant, **lease, "policy": i.address})
            if i.address and lease["address"] != i.address:
                self.problems.append(f"{i.name} leased {lease['address']}, not {i.address}")
        rows += self.machine_leases()
        self.results["leases"] = rows
        say("\nLeases, as the DHCP clients observed them:")
        say(report.table(rows, ["instance", "tenant", "address", "policy", "router", "dns", "mtu",
                                "lease_s", "server"]))
        say("\nLeases, as insula lists them:")
        say(self.lab.insula("list", "lease"))

    # Their consoles tell.
    def machine_leases(self):
        rows = []
        for i in self.policy.machines:
            machine = self.machines[i.name] = machines.Machine(self.lab, i)
            lease = machine.lease()
            if not lease:
                self.problems.append(f"{i.name} got no lease: {machine.console()}")
                continue
            self.lab.addresses[i.name] = lease["address"]
            if lease["address"] != i.address:
                self.problems.append(f"{i.name} leased {lease['address']}, not {i.address}")
            rows.append({"instance": i.name, "tenant": i.tenant, **lease, "policy": i.address})
        return rows

    def matrix(self):
        ordered = {n: (self.lab.agents | self.machines)[n]
                   for n in [*(i.name for i in (*self.policy.instances, *self.policy.machines)),
                             policies.INTERNET]}
        cells = self.results["matrix"] = probes.matrix(self.policy, ordered,
                                                        self.lab.addresses)
        say("\nWho reaches whom, ping / tcp (yes = the named target recorded the nonce and the"
            "\nsender got the answer; marked where it is not what the policy says):")
        say(report.matrix(cells))
        wrong = list(report.wrong_cells(cells))
        say(f"  {len(cells) - len(wrong)} of {len(cells)} cells are as the policy says")
        self.problems += wrong

    def snat(self):
        rows = self.results["snat"] = traffic.snat(self.policy, self.lab.agents)
        say("\nThrough SNAT to the uplink, all tenants at once:")
        say(report.table(rows, ["instance", "proto", "bytes", "hash_ok", "detail"]))
        self.problems += [f"{r['instance']} {r['proto']} through SNAT failed: {r['detail']}"
                          for r in rows if not r["hash_ok"]]

    # Two instances of one network; none such: no figure.
    def iperf(self):
        pairs = ((a, b) for a in self.policy.instances for b in self.policy.instances
                 if a != b and (a.tenant, a.network) == (b.tenant, b.network)
                 and a.name in self.lab.addresses and b.name in self.lab.addresses)
        a, b = next(pairs, (None, None))
        if not a:
            self.problems.append("no two instances of one network have leases: no iperf3 figure")
            return
        figures = traffic.iperf(a.netns, b.netns, self.lab.addresses[b.name])
        self.results["iperf"] = figures
        say(f"\niperf3 TCP, median of {traffic.ROUNDS} alternated rounds:")
        say(f"  {a.name} -> {b.name}    {figures['gbps']:7.2f} Gb/s")
        say(f"  kernel bridge     {figures['bridge_gbps']:7.2f} Gb/s    "
            f"ratio {figures['gbps'] / figures['bridge_gbps']:.2f}")

    def memory(self):
        kib = {name: sum(map(labs.memory_kib, labs.processes(name)))
               for name in ("insula-switch", "insulad")}
        vms = len(labs.processes("insula-vmm"))
        self.results["memory_kib"] = {"switch": kib["insula-switch"], "control": kib["insulad"]}
        self.results["vms"] = vms
        say(f"\nMemory: switch {kib['insula-switch']} KiB, control {kib['insulad']} KiB; "
            f"{vms} VMs" + (f" ({self.without})" if self.without else ""))
        if vms < len(self.policy.machines):
            self.problems.append(f"{vms} of {len(self.policy.machines)} VMs run")

    def run(self):
        for step in (self.build, self.start, self.leases, self.matrix, self.snat, self.iperf,
                     self.memory):
            step()

    # Differences are given a moment: the kernel destroys interfaces behind a process's back.
    def check_left(self):
        deadline = time.monotonic() + 5
        while True:
            # A mount of the machine's goes when its folder does, whoever removed that.
            left = [line for line in snapshot.compare(self.before, self.look())
                    if not line.startswith("gone: mount: ")]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.problems += [f"after insula stop, {line}" for line in left]


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--policy", required=True)
    parser.add_argument("--apply", default="")
    parser.add_argument("--insula", required=True)
    parser.add_argument("--directory", required=True)
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
    demo = Demo(options)
    try:
        try:
            demo.run()
            if options.keep:
                tell(options.report, demo, kept=True)
                signal.pause()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for machine in demo.machines.values():
                machine.stop()
            demo.problems += demo.lab.stop()
    except Stopped:
        demo.problems += [] if options.keep else ["stopped before the end"]
    except Exception as error:  # pylint: disable=broad-exception-caught
        demo.problems.append(f"{type(error).__name__}: {error}")
    if demo.before is not None:
        demo.check_left()
    tell(options.report, demo, kept=False)


main()
