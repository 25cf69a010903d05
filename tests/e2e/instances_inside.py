# SPDX-License-Identifier: BSD-3-Clause
# Two tenants with the same subnet, each with two Debian guests run by insulad, and an uplink into a
# namespace that plays the internet. Arguments: kernel, initrd and agent, see instances.py.
import os
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
KINDS = ("ping", "tcp", "udp")
SILENT_S, ANSWERED_S = 4, 60
SITE = f"""version: 1
uplinks:
  - {{name: internet, mode: routed, interface: up0, address: {UPLINK}/24, gateway: {OUTSIDE}}}
tenants:
"""
TENANT = f"""  - name: {{tenant}}
    networks:
      - {{{{name: lan, vlan: {{vlan}}, subnet: 10.0.0.0/24, gateway: {GATEWAY}, mtu: 1400,
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
        nics: [{{{{network: lan, address: {{address}}}}}}]
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
                                        hugepages=hugepages)
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
        lease = [one.address, "24", GATEWAY, OUTSIDE, "1400"]
        assert one.lease() == lease, f"{one.name}: {one.lease()}"


def test_matrix(site):
    cells = check_matrix(site.all())
    print(f"# {sum(reached for reached, _, _ in cells.values())} of {len(cells)} cells reached")
    # By SNAT: who is out there sees the uplink's address.
    for (source, target, kind), (_, _, who) in cells.items():
        if target == INTERNET:
            assert who[INTERNET] == UPLINK, f"{source} {kind}: {who}"
        elif source != INTERNET and target in who:
            assert who[target] == GUESTS[source], f"{source} -> {target} {kind}: {who}"


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
    if left := [p for name in ("insulad", "insula-switch", "insula-vmm")
                for p in labs.processes(name)]:
        errors.append(f"left behind: {left}")
    print(f"# took {time.monotonic() - begin:.0f} s", *errors, sep="\n", flush=True)
    if good and not errors:
        print("done", flush=True)


main()
