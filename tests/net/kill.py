# SPDX-License-Identifier: BSD-3-Clause
# kill -9 of insula-switch, of insulad, and of both, under a TCP transfer and a stream of datagrams
# through SNAT by both tenants: the transfer ends whole on the same connection, forwarding resumes
# in time, and nothing is there twice or left over. Runs in a sandbox.
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import netns
import sandbox

INTERNET = "internet"
SENDERS = ("red-1", "blue-1")
RATE, TRANSFER = 4 << 20, 24 << 20  # six seconds each
INTERVAL_S = 0.002
SWITCH_S, BOTH_S, NONE_S = 0.5, 1.0, 0.15


class Load:
    """A paced transfer and a stream by each tenant; both go on across what happens meanwhile."""

    def __init__(self, lab, label):
        self.lab, self.label = lab, label
        target, far = lab.addresses[INTERNET], lab.agents[INTERNET]
        self.receiving = far.start("receive", senders=len(SENDERS), timeout=60)
        self.receiving()
        self.sending = {n: lab.agents[n].start("send", address=target, bytes=TRANSFER, label=n,
                                               rate=RATE, timeout=60) for n in SENDERS}
        self.streams = {n: lab.agents[n].start("stream", address=target, label=f"{label}-{n}",
                                               interval=INTERVAL_S) for n in SENDERS}
        for name in SENDERS:
            self.wait_after(name, 0)

    def arrivals(self, name):
        far = self.lab.agents[INTERNET]
        return far.call("arrivals", label=f"{self.label}-{name}")["arrivals"]

    # The first arrival after `moment`; waits for it.
    def wait_after(self, name, moment):
        deadline = time.monotonic() + 20
        while True:
            later = [t for _, t, _ in self.arrivals(name) if t > moment]
            if later:
                return later[0]
            assert time.monotonic() < deadline, f"{name}: nothing arrives any more"
            time.sleep(0.02)

    # The longest time without an arrival that began after `moment` or spans it.
    def longest_gap(self, name, moment):
        times = [t for _, t, _ in self.arrivals(name)]
        return max(b - a for a, b in zip(times, times[1:]) if b > moment)

    def end_of_longest_gap(self, name, moment):
        times = [t for _, t, _ in self.arrivals(name)]
        return max((b - a, b) for a, b in zip(times, times[1:]) if b > moment)[1]

    # Ends both; checks that every byte came, and that no connection or mapping changed.
    def finish(self):
        for name, wait in self.streams.items():
            self.lab.agents[name].call("stop_stream", label=f"{self.label}-{name}")
            wait()
        sent = {n: wait() for n, wait in self.sending.items()}
        got = self.receiving()["transfers"]
        for name in SENDERS:
            assert got[name]["sha256"] == sent[name]["sha256"], f"{name}: {got[name]}"
            arrivals = self.arrivals(name)
            numbers = [number for number, _, _ in arrivals]
            assert len(numbers) == len(set(numbers)), f"{name}: datagrams arrived twice"
            assert len({peer for _, _, peer in arrivals}) == 1, f"{name}: its mapping changed"


# Namespaces, the interfaces of each, mounts: what may not be there twice.
def inventory(lab):
    found = {"namespaces": sorted(netns.ip("", "netns", "list").split())}
    for space in ("", *lab.spaces()):
        links = netns.ip(space, "-br", "link", "show").splitlines()
        found[space] = sorted(line.split()[0] for line in links)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file]
    found["mounts"] = sorted(m for m in mounts if m.startswith((lab.directory, "/run/netns")))
    return found


def only(program):
    found = labs.processes(program)
    assert len(found) == 1, f"{program}: {found}"
    return found[0]


# Waits until exactly one `program` runs, and not `old`.
def wait_new(program, old):
    deadline = time.monotonic() + 10
    while (found := labs.processes(program)) == [old] or len(found) != 1:
        assert time.monotonic() < deadline, f"{program}: {found}"
        time.sleep(0.01)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def say_pauses(what, pauses, limit):
    text = ", ".join(f"{name} {pause * 1000:.0f} ms" for name, pause in pauses.items())
    print(f"{what}: {text} (limit {limit * 1000:.0f} ms)", flush=True)
    assert max(pauses.values()) <= limit, f"{what}: {pauses}"


# Reported from the death on: the next datagram that arrives afterwards. What was on its way is not
# counted: a moment passes before looking.
def test_switch(lab):
    load, switch = Load(lab, "switch"), only("insula-switch")
    moment = kill(switch)
    wait_new("insula-switch", switch)
    for name in SENDERS:
        load.wait_after(name, moment + SWITCH_S)
    say_pauses("switch killed", {n: load.longest_gap(n, moment) for n in SENDERS}, SWITCH_S)
    load.finish()


def test_insulad(lab):
    load, insulad, switch = Load(lab, "insulad"), only("insulad"), only("insula-switch")
    moment = time.monotonic()
    kill(insulad)
    for name in SENDERS:
        load.wait_after(name, moment + 0.5)
    lab.start()
    again = time.monotonic()
    for name in SENDERS:
        load.wait_after(name, again + 0.5)
    say_pauses("insulad killed", {n: load.longest_gap(n, moment) for n in SENDERS}, NONE_S)
    assert only("insula-switch") == switch, "the running switch was not adopted"
    load.finish()


def both(lab, label, outage_s):
    load, insulad, switch = Load(lab, label), only("insulad"), only("insula-switch")
    kill(insulad)  # first, or it starts another switch
    kill(switch)
    time.sleep(outage_s)
    moment = time.monotonic()
    lab.start()
    for name in SENDERS:
        load.wait_after(name, moment + BOTH_S)
    # A switch that is dying may still have passed a datagram after `moment`.
    pauses = {n: load.end_of_longest_gap(n, moment) - moment for n in SENDERS}
    say_pauses(f"both killed, from insulad's start {outage_s} s later", pauses, BOTH_S)
    load.finish()


def test_both(lab):
    both(lab, "both", 0)


# Long enough for the guests to have lost carrier and forgotten the gateway's MAC.
def test_both_for_a_while(lab):
    both(lab, "while", 1.5)


# Without the time left, which goes on.
def lease_states(lab):
    return [row | {"expires_s": row["expires_s"] > 0} for row in lab.list("lease")]


def main():
    with labs.Lab(os.path.join(labs.ROOT, "tests", "demo.yaml"), sandbox.DIRECTORY) as lab:
        before = inventory(lab)
        leases, ports = lease_states(lab), lab.list("port")
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test(lab)
                only("insulad"), only("insula-switch")
                now = inventory(lab)
                assert now == before, f"{name}: {before} became {now}"
                assert len(lab.list("port")) == len(ports), f"{name}: ports {lab.list('port')}"
                assert lease_states(lab) == leases, f"{name}: {lab.list('lease')}"
                print(f"ok {name}", flush=True)
    left = labs.processes("insulad") + labs.processes("insula-switch")
    assert not left, f"after insula stop: {left}"


if __name__ == "__main__":
    main()
