# SPDX-License-Identifier: BSD-3-Clause
# A lab inside a sandbox: the sandbox's own network namespace plays the host that Insula runs on;
# each instance of a policy is a namespace with a real DHCP client, and one more plays the internet.
# Used by the demo and by tests/net, which get a whole lab by `with Lab(...) as lab`.
import json
import os
import sys
import time
import traceback

import yaml

LIB = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(LIB))
sys.path.insert(0, os.path.join(ROOT, "tests", "demo"))

# pylint: disable=wrong-import-position
import dhcp
import netns
import policy as policies
import sandbox

INTERNET_NETNS = "insdemo-internet"


# insulad takes no anchors: what stands in two places is written out twice.
class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, _data):
        return True


class Lab:
    def __init__(self, policy_file, directory, insula=None):
        build = os.environ.get("INSULA_BUILD", os.path.join(ROOT, "build"))
        self.insula_program = insula or os.path.join(build, "control", "insula")
        if policy_file:
            self.read(policy_file)
        self.directory, self.agents, self.addresses = directory, {}, {}
        self.clients, self.started = None, False
        self.without_client = set()  # instances that get no DHCP client
        sandbox.furnish(netns.run, directory)
        os.environ["INSULA_RUN_DIR"] = os.path.join(directory, "run")
        os.environ["INSULA_STATE_DIR"] = os.path.join(directory, "state")

    def read(self, policy_file):
        self.policy_file, self.policy = policy_file, policies.read(policy_file)

    # The file as `change` writes it anew.
    def read_with(self, change):
        os.makedirs(self.directory, exist_ok=True)
        target = os.path.join(self.directory, "policy.yaml")
        change(self.policy_file, target)
        self.read(target)

    # The demo's policy with what `change` does to it. The demo knows instances on taps alone: what
    # it could not play, and what a test builds itself, is `hidden` from it.
    def edit(self, change, hidden=()):
        with open(os.path.join(ROOT, "tests", "demo.yaml"), encoding="utf-8") as file:
            document = yaml.safe_load(file)
        change(document)
        whole, played = (os.path.join(self.directory, f"{n}.yaml") for n in ("policy", "played"))
        self._write(whole, document)
        for tenant in document["tenants"]:
            tenant["instances"] = [i for i in tenant["instances"] if i["name"] not in hidden]
        self._write(played, document)
        self.read(played)
        self.policy_file = whole

    @staticmethod
    def _write(path, document):
        with open(path, "w", encoding="utf-8") as file:
            yaml.dump(document, file, Dumper=NoAliases)

    # All of it, up to the leases: what most tests begin with.
    def __enter__(self):
        try:
            self.build()
            self.start()
            self.apply(self.policy_file)
            leases = self.lease()
            lacking = [i.name for i in self.with_client() if i.name not in leases]
            if lacking:
                raise netns.CommandFailed(f"no lease: {self.clients.log(lacking[0])}")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind=None, *_):
        errors = self.stop()
        if errors:
            print("\n".join(errors), file=sys.stderr, flush=True)
            if kind is None:
                raise netns.CommandFailed("the lab did not end well")

    def with_client(self):
        return [i for i in self.policy.instances if i.name not in self.without_client]

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
        everybody = (*self.policy.instances, *self.policy.machines)
        for address in {i.address for i in everybody if i.address}:
            netns.ip(INTERNET_NETNS, "route", "add", address, "via", uplink.address)

    def insula(self, *words, timeout=60):
        return netns.run(self.insula_program, *words, timeout=timeout).stdout.rstrip()

    def start(self):
        self.started = True
        return self.insula("start")

    def apply(self, file):
        return self.insula("apply", "-f", file)

    # insula list KIND, as a list of dictionaries.
    def list(self, kind):
        return next(iter(json.loads(self.insula("list", kind, "-o", "json")).values()))

    # Agents and DHCP clients everywhere: {instance: lease} of those that got one.
    def lease(self):
        names = {i.name: i.netns for i in self.policy.instances}
        self.agents = netns.agents(names | {policies.INTERNET: INTERNET_NETNS})
        self.clients = dhcp.Clients(self.directory, self.with_client())
        leases = self.clients.wait()
        self.addresses = {name: lease["address"] for name, lease in leases.items()}
        self.addresses[policies.INTERNET] = self.policy.uplink.gateway
        return leases

    # Stops in the reverse order; every step is tried, whatever became of the others. What failed,
    # as sentences.
    def stop(self):
        errors, steps = [], [agent.stop for agent in self.agents.values()]
        steps += [self.clients.stop] if self.clients else []
        steps += [netns.kill_helpers]
        steps += [lambda: self.insula("stop", timeout=30)] if self.started else []
        for step in steps:
            try:
                step()
            except Exception as error:  # pylint: disable=broad-exception-caught
                errors.append(f"stopping: {error}")
        self.started = False
        return errors + list(self.crashes())

    # What insulad's log, where its and the switch's stderr go, says of crashes, leaks and
    # sanitizers. A kill by the test itself is none.
    def crashes(self):
        try:
            with open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"),
                      encoding="utf-8", errors="replace") as file:
                text = file.read()
        except FileNotFoundError:
            return
        killed = [line for line in text.splitlines() if "was killed by signal" in line]
        yield from (f"insulad's log: {line}" for line in killed if "signal 9 " not in line)
        yield from (f"insulad's log: {line}" for line in text.splitlines()
                    if "did not end" in line or "packet buffers were lost" in line)
        if "Sanitizer" in text or "runtime error:" in text:
            yield f"a sanitizer speaks in insulad's log:\n{text}"


# Runs every test_* of a test's `names` (its globals()), also after one that failed, and says how
# each ended. False if one failed.
def run_cases(names, *args):
    failed = 0
    for name, case in list(names.items()):
        if not name.startswith("test_"):
            continue
        begin = time.monotonic()
        try:
            case(*args)
            print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Exception:  # pylint: disable=broad-exception-caught
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    return not failed


# The end of a test: its cases, each with `lab`, then the lab's. Exit status 1 if one failed, or
# what the lab did not survive well: crashes, leaks, what did not end.
def run_to_end(names, lab):
    good = run_cases(names, lab)
    errors = lab.stop()
    print(*errors, sep="\n")
    sys.exit(not good or bool(errors))


# What the switch dropped, on `port` or on all: {reason: count}.
def drops(lab, port=None):
    words = ("show", "drops", port) if port else ("list", "drops")
    rows = json.loads(lab.insula(*words, "-o", "json"))["drops"]
    return {row["reason"]: row["count"] for row in rows}


# What `port` drops for `reason` when `send` puts n packets on its wire: waits for that many.
def new_drops(lab, port, reason, n, send):
    before = drops(lab, port)[reason]
    send()
    deadline = time.monotonic() + 5
    while (new := drops(lab, port)[reason] - before) < n:
        assert time.monotonic() < deadline, (
            f"{reason}: {new} of {n} counted; all: "
            f"{ {k: v for k, v in drops(lab, port).items() if v} }")
        time.sleep(0.01)
    return new


# Ids of the processes of this sandbox that run the program `name`, wherever it was installed; not
# those that one of them has forked for a moment.
def processes(name):
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0]
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if program == name and state != "Z":
            found[int(pid)] = int(parent)
    return [pid for pid, parent in found.items() if parent not in found]


# What is resident, shared pages included, in KiB: what `insula status` says too.
def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
