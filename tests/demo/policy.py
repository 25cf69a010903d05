# SPDX-License-Identifier: BSD-3-Clause
# The demo's own reading of the YAML: who exists, and who may reach whom. It shares nothing with
# insulad's reader, so that a mistake there cannot agree with itself. Called by inside.py.
import dataclasses
import ipaddress

import yaml

INTERNET = "internet"


@dataclasses.dataclass(frozen=True)
class Instance:
    name: str
    tenant: str
    network: str
    netns: str
    interface: str
    address: str  # "" = allocated
    vlan: int
    routed: bool  # its network has a gateway
    snat: str  # uplink's name, "" = none


@dataclasses.dataclass(frozen=True)
class Uplink:
    name: str
    interface: str
    address: str  # the switch's own
    gateway: str
    prefix_len: int


@dataclasses.dataclass(frozen=True)
class Policy:
    uplink: Uplink
    instances: tuple  # played in network namespaces
    machines: tuple = ()  # kind vm: Insula runs them


def _uplink(doc):
    routed = [u for u in doc.get("uplinks") or [] if u.get("mode") == "routed"]
    if len(routed) != 1:
        raise ValueError(f"the demo needs exactly one routed uplink, the file has {len(routed)}")
    own = ipaddress.ip_interface(routed[0]["address"])
    return Uplink(
        name=routed[0]["name"],
        interface=routed[0]["interface"],
        address=str(own.ip),
        gateway=str(routed[0]["gateway"]),
        prefix_len=own.network.prefixlen,
    )


def _instances(tenant):
    networks = {n["name"]: n for n in tenant.get("networks") or []}
    for instance in tenant.get("instances") or []:
        nics = instance.get("nics") or []
        kind, nic = instance.get("kind", "external"), nics[0] if len(nics) == 1 else {}
        if kind != "vm" and (nic.get("type", "tap") != "tap" or "netns" not in nic):
            raise ValueError(f"{instance['name']}: the demo plays external instances with one tap "
                             "in a network namespace")
        if not nic:
            raise ValueError(f"{instance['name']}: the demo plays instances with one nic")
        network = networks[nic["network"]]
        yield Instance(
            name=instance["name"],
            tenant=tenant["name"],
            network=network["name"],
            netns=nic.get("netns", ""),  # "": a machine
            interface=nic.get("interface", nic.get("name", "eth0")),
            address=str(nic.get("address", "")),
            vlan=network["vlan"],
            routed="gateway" in network,
            snat=network.get("snat", ""),
        )


def read(path):
    with open(path, encoding="utf-8") as file:
        doc = yaml.safe_load(file)
    everybody = tuple(i for t in doc.get("tenants") or [] for i in _instances(t))
    names = [i.name for i in everybody]
    if len(set(names)) != len(names) or INTERNET in names:
        raise ValueError("the demo tells instances apart by name: every name once, none 'internet'")
    return Policy(uplink=_uplink(doc), instances=tuple(i for i in everybody if i.netns),
                  machines=tuple(i for i in everybody if not i.netns))


def find(policy, name):
    return next(i for i in (*policy.instances, *policy.machines) if i.name == name)


# Whether `source` may open a conversation with `target` (names of instances, or INTERNET): inside a
# segment always; between two networks of one tenant where both have a gateway; to the uplink behind
# SNAT; between tenants, and from the uplink in, never.
def expected(policy, source, target):
    if source == INTERNET:
        return False
    a = find(policy, source)
    if target == INTERNET:
        return a.routed and a.snat == policy.uplink.name
    b = find(policy, target)
    if a.tenant != b.tenant:
        return False
    return a.network == b.network or (a.routed and b.routed)
