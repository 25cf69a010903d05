# SPDX-License-Identifier: BSD-3-Clause
# Two tenants with the same subnet, each with two Debian guests run by insulad, and an uplink into a
# namespace that plays the internet: leases, who reaches whom, offloads, a pause, a reboot, a panic,
# and `kill -9` of switch, of insulad and of a guest's VMM while streams are on their way, whose
# content is compared; and volumes that are plugged into guests and unplugged. Arguments: kernel,
# initrd and agent, see instances.py.
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import guest
import lab as labs
import netns
import sandbox

KERNEL, INITRD, AGENT = sys.argv[1:4]
INTERNET, OUTSIDE, UPLINK, GATEWAY = "internet", "198.51.100.1", "198.51.100.2", "10.0.0.1"
VLANS = {"red": 10, "blue": 20}
# One address that both tenants have, and one each that the other has not.
GUESTS = {"red/one": "10.0.0.11", "red/two": "10.0.0.12",
          "blue/one": "10.0.0.11", "blue/two": "10.0.0.13"}
PAIRS = {"red/two": 2}  # of rings, and processors; else one
KINDS = ("ping", "tcp", "udp")
SILENT_S, ANSWERED_S = 4, 60
KIB, FAST = 4096, 1 << 20
RATE, MORE = 512, 256 << 10  # KiB/s; bytes
MTU = 1400
SITE = f"""version: 1
uplinks:
  - {{name: internet, mode: routed, interface: up0, address: {UPLINK}/24, gateway: {OUTSIDE}}}
tenants:
"""
TENANT = f"""  - name: {{tenant}}
    networks:
      - {{{{name: lan, vlan: {{vlan}}, subnet: 10.0.0.0/24, gateway: {GATEWAY}, mtu: {MTU},
         dns: [{OUTSIDE}], snat: internet}}}}
    instances:
"""
INSTANCE = f"""      - name: {{name}}
        kind: vm
        kernel: {KERNEL}
        initrd: {INITRD}
        cmdline: console=ttyS0 quiet
        memory: {os.environ['GUEST_MIB']}MiB
        hugepages: {{hugepages}}
        cpus: {{pairs}}
        stop_timeout: 20
        nics: [{{{{network: lan, address: {{address}}, queues: {{pairs}}}}}}]
"""


def has_hugepages():
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("HugePages_Free"))
    return free * 2 >= len(GUESTS) * int(os.environ["GUEST_MIB"])


def site_text():
    hugepages, text = str(has_hugepages()).lower(), SITE
    for tenant, vlan in VLANS.items():
        text += TENANT.format(tenant=tenant, vlan=vlan)
        for name, address in GUESTS.items():
            if name.startswith(tenant + "/"):
                text += INSTANCE.format(name=name.split("/")[1], address=address,
                                        hugepages=hugepages, pairs=PAIRS.get(name, 1))
    return text


class Site:
    def __init__(self, lab):
        self.lab, self.guests = lab, {}
        netns.create(INTERNET)
        netns.veth("", "up0", INTERNET, "eth0")
        netns.ip(INTERNET, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
        for address in set(GUESTS.values()):  # what keeps it out is not a missing route
            netns.ip(INTERNET, "route", "add", address, "via", UPLINK)
        self.internet = guest.Neighbour(INTERNET, OUTSIDE, INTERNET, AGENT)
        self.file = os.path.join(lab.directory, "site.yaml")
        with open(self.file, "w", encoding="ascii") as out:
            out.write(site_text())

    def all(self):
        return [*self.guests.values(), self.internet]

    def __getitem__(self, name):
        return self.guests[name]


# --- who reaches whom ---

def may_reach(source, target):
    tenant = source.name.split("/")[0]
    return target.name in (INTERNET, f"{tenant}/one", f"{tenant}/two") and source.name != INTERNET


# Every ordered pair and kind, all at once. Reached is what the named target recorded, and was
# answered: blue/one's address, asked by red/two, is answered by red/one. {(source, target, kind):
# (reached, answered, {who recorded it: the source that it saw})}.
def matrix(agents):
    prefix, asked = os.urandom(4).hex(), {}
    for source in agents:
        for target in agents:
            for kind in KINDS if source is not target else ():
                nonce = prefix + os.urandom(4).hex()
                seconds = ANSWERED_S if may_reach(source, target) else SILENT_S
                asked[source.name, target.name, kind] = nonce, source.start(
                    "probe", kind, target.address, nonce, seconds)
    answers = {cell: get(ANSWERED_S + 30) for cell, (_, get) in asked.items()}
    seen = {}
    for agent in agents:
        for kind, nonce, peer in (word.split(":") for word in agent.ask("seen", prefix)):
            seen.setdefault((kind, nonce), {})[agent.name] = peer
    cells = {}
    for cell, (nonce, _) in asked.items():
        who, answered = seen.get((cell[2], nonce), {}), answers[cell] == ["answered"]
        cells[cell] = (answered and cell[1] in who, answered, who)
    return cells


def check_matrix(agents):
    cells, by_name = matrix(agents), {agent.name: agent for agent in agents}
    wrong = [f"{source} -> {target} {kind}: {cells[source, target, kind]}"
             for source, target, kind in cells
             if cells[source, target, kind][0] != may_reach(by_name[source], by_name[target])]
    # Nobody but the one who was meant, or who has his address in the source's own tenant.
    wrong += [f"{source} -> {target} {kind} was heard by {name}"
              for (source, target, kind), (_, _, who) in cells.items() for name in who
              if not may_reach(by_name[source], by_name[name])
              or by_name[name].address != by_name[target].address]
    assert not wrong, "\n".join(wrong)
    return cells


def test_boots_and_leases(site):
    site.lab.apply(site.file)
    site.guests |= {name: guest.Guest(site.lab, name, address)
                    for name, address in GUESTS.items()}
    for one in site.guests.values():
        one.wait_boot()
        lease = [one.address, "24", GATEWAY, OUTSIDE, str(MTU)]
        assert one.lease() == lease, f"{one.name}: {one.lease()}"
        pairs = PAIRS.get(one.name, 1)
        assert (about := one.about(60))[2:] == (pairs, 2 * pairs), f"{one.name}: {about}"


def test_matrix(site):
    cells = check_matrix(site.all())
    print(f"# {sum(reached for reached, _, _ in cells.values())} of {len(cells)} cells reached")
    # By SNAT: who is out there sees the uplink's address.
    for (source, target, kind), (_, _, who) in cells.items():
        if target == INTERNET:
            assert who[INTERNET] == UPLINK, f"{source} {kind}: {who}"
        elif source != INTERNET and target in who:
            assert who[target] == GUESTS[source], f"{source} -> {target} {kind}: {who}"


# --- streams ---

class Streams:
    """By TCP, from each source to its target; they flow when this returns, until finish()."""

    def __init__(self, *pairs, kib=1 << 20, rate=RATE):
        self.pairs = {os.urandom(4).hex(): pair for pair in pairs}
        self._sent = {label: source.start("send", target.address, label, kib, rate)
                      for label, (source, target) in self.pairs.items()}
        for label, (source, target) in self.pairs.items():
            guest.wait(f"{source.name} -> {target.name} begins",
                       lambda t=target, l=label: int(t.ask("got", l)[0]))

    # Waits until MORE of each has arrived, of those to `to`, if it is given.
    def wait_flowing(self, to=None):
        wanted = {label: pair for label, pair in self.pairs.items() if to in (None, pair[1])}
        had = {label: int(target.ask("got", label)[0])
               for label, (_, target) in wanted.items()}
        for label, (source, target) in wanted.items():
            deadline = time.monotonic() + guest.PATIENCE_S
            while int((got := target.ask("got", label))[0]) < had[label] + MORE:
                assert got[3] == "open" and time.monotonic() < deadline, (
                    f"{source.name} -> {target.name}: {got}, had {had[label]}")

    # Every byte that was sent, once and in its place; but for those to `broken`.
    def finish(self, broken=None):
        for label, (source, target) in self.pairs.items():
            source.ask("stop", label)
            if target is broken:
                continue
            sent = self._sent[label]()
            got = guest.wait(f"{source.name} -> {target.name} has ended",
                             lambda t=target, l=label: (g := t.ask("got", l))[3] != "open" and g)
            assert sent and got[:2] == sent and got[3] == "whole", (
                f"{source.name} -> {target.name}: sent {sent}, got {got}")


def only(program):
    [pid] = labs.processes(program)
    return pid


# {instance: its insula-vmm}.
def pids(site):
    return {one["name"]: one.get("pid") for one in site.lab.list("instance")}


def everywhere(site):
    return Streams((site["red/one"], site["red/two"]), (site["blue/two"], site["blue/one"]),
                   (site["blue/one"], site.internet))


# Frames that come from a guest, by the switch's counter.
def frames(site, name):
    return next(p["rx_packets"] for p in site.lab.list("port") if p["name"] == f"{name}.eth0")


# With them, the switch carries super-frames; without, frames of the MTU.
def test_offloads(site):
    source, target, size = site["red/one"], site["red/two"], KIB * 1024
    for on in (0, 1):
        for one in (source, target):
            told = dict(word.split("=") for word in one.ask("offloads", on))
            assert {told[name] for name in ("tx", "sg", "tso")} == {str(on)}, told
        before, begin = frames(site, source.name), time.monotonic()
        label = os.urandom(4).hex()
        sent = source.ask("send", target.address, label, KIB, FAST)
        seconds, n = time.monotonic() - begin, frames(site, source.name) - before
        assert target.ask("got", label) == [*sent, source.address, "whole"], sent
        print(f"# offloads {on}: {n} frames, {size / seconds / 1e6:.1f} MB/s", flush=True)
        assert n < size // MTU // 2 if on else n >= size // MTU, f"{n} frames of {size} bytes"


# It hears nothing, its clock stands still, and a stream to it goes on afterwards; others' all the
# while.
def test_pause(site):
    one, two = site["red/one"], site["red/two"]
    streams = everywhere(site)
    begin, uptime = time.monotonic(), two.about()[1]
    site.lab.insula("instance", "pause", "red/two")
    paused = time.monotonic()
    assert two.state() == "paused"
    assert one.ask("probe", "ping", two.address, os.urandom(8).hex(), 2) == ["silent"]
    assert two.about() is None
    for target in (site["blue/one"], site.internet):
        streams.wait_flowing(target)
    paused = time.monotonic() - paused
    site.lab.insula("instance", "resume", "red/two")
    passed = two.about(60)[1] - uptime
    assert passed <= time.monotonic() - begin - paused + 0.5, f"{passed} s, {paused} s paused"
    streams.wait_flowing()
    streams.finish()


def test_switch_killed(site):
    switch, before, streams = only("insula-switch"), pids(site), everywhere(site)
    os.kill(switch, signal.SIGKILL)
    guest.wait("another switch runs", lambda: labs.processes("insula-switch") not in ([], [switch]))
    streams.wait_flowing()
    streams.finish()
    assert pids(site) == before, f"{before} became {pids(site)}"


def test_insulad_killed(site):
    switch, before, streams = only("insula-switch"), pids(site), everywhere(site)
    os.kill(only("insulad"), signal.SIGKILL)
    guest.wait("insulad is dead", lambda: not labs.processes("insulad"))
    streams.wait_flowing(site.internet)  # whose agent needs no insulad to be asked
    site.lab.start()
    streams.wait_flowing()
    streams.finish()
    assert only("insula-switch") == switch, "the running switch was not adopted"
    assert pids(site) == before, f"{before} became {pids(site)}"


# It is started again; what is others' goes on.
def test_vmm_killed(site):
    victim, before = site["blue/two"], pids(site)
    boot = victim.about()[0]
    streams = Streams((site["blue/one"], victim), (site["red/one"], site["red/two"]),
                      (site["blue/one"], site.internet))
    victim.forget()
    os.kill(before[victim.name], signal.SIGKILL)
    for target in (site["red/two"], site.internet):
        streams.wait_flowing(target)
    victim.wait_boot(boot)
    streams.finish(broken=victim)
    check_only_new(site, before, victim)
    # Its insulad has adopted it, and sees no exit status.
    told = f"instance {victim.name}: insula-vmm (pid {before[victim.name]}) ended after"
    assert told in guest.log_of_insulad()


# Volumes come to a guest that runs, by content, go again, and to another one with what it wrote.
# Whoever plugs may die meanwhile.
def test_plug(site):
    one, two, before = site["red/one"], site["red/two"], pids(site)
    first, second = os.urandom(8).hex(), os.urandom(8).hex()
    site.lab.insula("volume", "create", "data", "4MiB")
    path = os.path.join(os.environ["INSULA_STATE_DIR"], "volumes", "data.raw")
    with open(path, "rb+") as file:
        file.write(first.encode())
    assert one.ask("disks") == two.ask("disks") == []
    text = site.lab.insula("volume", "attach", "data", one.name)
    assert f"instance {one.name}: disks none -> volume data; volume data is plugged in" in text
    guest.wait("the disk is there", lambda: one.ask("disks") == [f"vda:{4 << 20}:{first}:-"])
    assert one.ask("write", "vda", second) == ["written"]
    os.kill(only("insulad"), signal.SIGKILL)
    guest.wait("insulad is dead", lambda: not labs.processes("insulad"))
    site.lab.start()
    site.lab.insula("volume", "detach", "data")
    assert one.ask("disks") == []
    site.lab.insula("volume", "attach", "data", two.name)
    guest.wait("its content is, too",
               lambda: two.ask("disks") == [f"vda:{4 << 20}:{first}:{second}"])
    site.lab.insula("volume", "detach", "data")
    assert two.ask("disks") == [] and pids(site) == before
    site.lab.insula("volume", "delete", "data")


def check_only_new(site, before, one):
    after = pids(site)
    assert [n for n in after if after[n] != before[n]] == [one.name], f"{before} became {after}"
    assert one.show()["restarts"] == 1, one.show()


# A reboot is the VMM's, which goes on; a panic ends it, is logged, and it is started again. Both
# get their leases anew, and after all that happened the matrix is as it was.
def test_reboot_and_panic(site):
    rebooted, panicked, before = site["red/two"], site["blue/one"], pids(site)
    boots = {one: one.about()[0] for one in (rebooted, panicked)}
    for one, word in ((rebooted, "reboot"), (panicked, "panic")):
        one.forget()
        one.start(word)
    for one in (rebooted, panicked):
        one.wait_boot(boots[one])
    check_only_new(site, before, panicked)
    assert any("console blue/one" in line and "Kernel panic" in line
               for line in guest.log_of_insulad().splitlines()), "the panic is not in the log"
    check_matrix(site.all())


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    site, begin = Site(lab), time.monotonic()
    lab.start()
    good = labs.run_cases(globals(), site)
    if not good:
        for one in site.guests.values():
            print(f"--- {one.name}", *one.lines[-15:], sep="\n")
        print(guest.log_of_insulad()[-6000:])
    errors = lab.stop()
    log = guest.log_of_insulad()
    errors += [text for text in ("not powered off in time", "triple fault") if good and text in log]
    if left := [p for name in ("insulad", "insula-switch", "insula-vmm")
                for p in labs.processes(name)]:
        errors.append(f"left behind: {left}")
    print(f"# took {time.monotonic() - begin:.0f} s", *errors, sep="\n", flush=True)
    if good and not errors:
        print("done", flush=True)


main()
