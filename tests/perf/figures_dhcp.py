# SPDX-License-Identifier: BSD-3-Clause
# dhcp.vs_kea: leases given in a second, from nothing to the ACK, by a port with `clients: many` and
# by Kea; see README.md. Called by bench.py.
import json
import os
import shutil
import tempfile

import alone
import lab as labs
import netns
import sandbox
import vhost

NAMES = ("dhcp.vs_kea",)
# CLIENTS: new ones in each round, each of which gets one lease; a tenant may hold 4,096.
ROUND_S, WINDOW, CLIENTS, TENANTS = 10, 64, 4_000, 5
INSULA, KEA = "dhcp-insula", ("dhcp-kea", "dhcp-clients")
POOL = "10.8.1.0-10.8.250.255"
POLICY = """version: 1
tenants:
"""
TENANT = f"""  - name: t{{n}}
    networks:
      - {{{{name: lan, vlan: 1{{n}}, subnet: 10.8.0.0/16, gateway: 10.8.0.1, lease: 7200,
         pool: {POOL}}}}}
    instances:
      - name: desks
        kind: external
        nics: [{{{{network: lan, netns: {INSULA}{{n}}, clients: many, storm_pps: 0}}}}]
"""


class Insula:
    """As a user starts it, but for its state, which lies in `folder`."""

    def __init__(self, folder):
        self.lab = labs.Lab(None, sandbox.DIRECTORY)
        os.environ["INSULA_STATE_DIR"] = os.path.join(folder, "insula")
        self.file = os.path.join(folder, "policy.yaml")

    def __enter__(self):
        with open(self.file, "w", encoding="ascii") as out:
            out.write(POLICY + "".join(TENANT.format(n=n) for n in range(TENANTS)))
        for n in range(TENANTS):
            netns.create(f"{INSULA}{n}")
        self.lab.start()
        self.lab.apply(self.file)
        for n in range(TENANTS):
            netns.ip(f"{INSULA}{n}", "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_):
        if errors := self.lab.stop():
            raise netns.CommandFailed("; ".join(errors))


class Kea:
    """kea-dhcp4 on a veth pair; leases in a file in `folder`."""

    def __init__(self, folder):
        self.folder, self.process = os.path.join(folder, "kea"), None

    def __enter__(self):
        os.mkdir(self.folder)
        for space in KEA:
            netns.create(space)
        netns.veth(KEA[0], "eth0", KEA[1], "eth0")
        netns.ip(KEA[0], "address", "add", "10.8.0.1/16", "dev", "eth0")
        config, log = (os.path.join(self.folder, name) for name in ("kea.json", "log"))
        with open(config, "w", encoding="ascii") as out:
            json.dump({"Dhcp4": {
                "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "raw"},
                "lease-database": {"type": "memfile", "persist": True, "lfc-interval": 0,
                                   "name": os.path.join(self.folder, "leases.csv")},
                "valid-lifetime": 7200, "match-client-id": False,
                "subnet4": [{"subnet": "10.8.0.0/16", "pools": [{"pool": POOL}],
                             "option-data": [{"name": "routers", "data": "10.8.0.1"}]}],
                "loggers": [{"name": "kea-dhcp4", "severity": "WARN",
                             "output_options": [{"output": "stdout"}]}]}}, out)
        places = {name: self.folder for name in ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR")}
        with open(log, "w", encoding="ascii") as out:
            self.process = netns.popen([*netns.inside(KEA[0]), "kea-dhcp4", "-c", config],
                                       os.environ | places, stdout=out, stderr=out)
        try:
            vhost.until("Kea writes its leases", lambda: os.path.exists(
                os.path.join(self.folder, "leases.csv")))
        except netns.CommandFailed as error:
            self.__exit__()
            with open(log, encoding="utf-8") as text:
                raise netns.CommandFailed(f"{error}: {text.read()}") from None
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def _leases_per_second(space, first):
    build = os.environ.get("INSULA_BUILD", os.path.join(labs.ROOT, "build"))
    done = netns.run(*netns.inside(space), os.path.join(build, "tests", "perf", "dhcp_load"),
                     "eth0", str(WINDOW), str(ROUND_S), str(CLIENTS), str(first),
                     timeout=ROUND_S + 20)
    result = json.loads(done.stdout)
    return result["leases"] / result["seconds"], result["resent"]


def measure(bench):
    folder = tempfile.mkdtemp(dir=os.environ[alone.DISK])
    try:
        with Insula(folder), Kea(folder):
            for i in range(bench.rounds):
                for name, space in (("insula", f"{INSULA}{i}"), ("kea", KEA[1])):
                    rate, resent = _leases_per_second(space, i * CLIENTS)
                    bench.sample(f"dhcp.{name}", rate)
                    bench.sample(f"dhcp.{name}_resent", resent)
                    if resent:
                        bench.fail(f"dhcp.{name}", f"{resent} messages were not answered in time")
                bench.say(f"dhcp: leases a second: Insula {bench.samples['dhcp.insula'][-1]:.0f}, "
                          f"Kea {bench.samples['dhcp.kea'][-1]:.0f}")
    finally:
        shutil.rmtree(folder)
    bench.ratio("dhcp.vs_kea", "dhcp.insula", "dhcp.kea")
    bench.value("dhcp.insula", "dhcp.kea")
