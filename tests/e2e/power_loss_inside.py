# SPDX-License-Identifier: BSD-3-Clause
# Inside the outer machine: the state is on a disk. First, what was acknowledged before the power
# went is looked for; then files are applied and addresses leased, and each that is acknowledged is
# reported, until the power goes in the middle of it. Started by power_loss.py. Arguments: what was
# acknowledged (a file of its report's lines), which life this is (its clients' MACs begin there),
# and how many acknowledged things are enough (0: only look).
import json
import os
import random
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import dhcp_frames
import frames
import lab as labs
import netns
import sandbox

ALIVE, AT_ONCE = 5, 8
TENANTS = ("red", "blue")  # leased from in turn, a life each: one may have 4,096
DISK = "/dev/vda"


def gateway(tenant):
    return f"10.{1 + TENANTS.index(tenant)}.0.1"


def tenant_of(tenant, number):
    net = gateway(tenant)[:-4]
    network = {"name": "desks", "vlan": 30 + TENANTS.index(tenant), "subnet": f"{net}.0.0/16",
               "gateway": gateway(tenant), "lease": 86400, "pool": f"{net}.8.0-{net}.255.254",
               "dns": [f"192.0.2.{1 + number % 250}"]}
    desk = {"name": "desk", "nics": [{"network": "desks", "netns": f"{tenant}-desk",
                                      "clients": "many", "storm_pps": 0}]}
    return {"name": tenant, "networks": [network], "instances": [desk]}


def document(number):
    tenants = [tenant_of(tenant, number) for tenant in TENANTS]
    tenants[0]["instances"] += [{"name": f"i{n}", "nics": [
        {"network": "desks", "interface": f"tap{n}"}]}
        for n in range(max(0, number - ALIVE), number)]
    return {"version": 1, "tenants": tenants}


class Report:
    def __init__(self, path):
        self.fd, self.lock, self.n = os.open(path, os.O_WRONLY), threading.Lock(), {}

    # Returns when the other side has it.
    def say(self, *words):
        with self.lock:
            os.write(self.fd, (" ".join(map(str, words)) + "\n").encode())
            self.n[words[0]] = self.n.get(words[0], 0) + 1


class Bench:
    def __init__(self, report):
        netns.run("mount", "-t", "ext4", DISK, "/mnt")
        self.report, self.lab = report, labs.Lab(None, sandbox.DIRECTORY)
        os.environ["INSULA_STATE_DIR"] = "/mnt/insula"
        for tenant in TENANTS:
            netns.create(f"{tenant}-desk")
        self.file = os.path.join(sandbox.DIRECTORY, "policy.yaml")
        preload = os.environ.pop("POWER_LOSS_PRELOAD", "")
        if preload:
            os.environ["LD_PRELOAD"] = preload
        self.lab.start()
        os.environ.pop("LD_PRELOAD", None)

    def apply(self, number):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(f"# {number}\n{json.dumps(document(number))}\n")
        generation = int(self.lab.apply(self.file).split()[-1])
        ports = {p["name"]: (p["id"], p["mac"], p["address"]) for p in self.lab.list("port")
                 if p["name"].startswith("red/i")}
        self.report.say("applied", number, generation, json.dumps(ports))

    def look(self, lines):
        acknowledged = [line.split(" ", 3) for line in lines]
        last = next((a for a in reversed(acknowledged) if a[0] == "applied"), None)
        number = self.look_at_config(last) if last else 0
        leases, rows = {}, {row["address"]: row for row in self.lab.list("lease")}
        for what, *words in acknowledged:
            if what == "leased":
                leases[words[0]] = words[1]
        lost = [f"{address} of {mac}" for address, mac in leases.items()
                if rows.get(address, {}).get("mac") != mac]
        assert not lost, f"{len(lost)} of {len(leases)} acknowledged leases are lost: {lost[:5]}"
        return number

    # The file last acknowledged, or the one whose acknowledgement the power loss cut off.
    def look_at_config(self, last):
        number, generation, ports = int(last[1]), int(last[2]), json.loads(last[3])
        done = subprocess.run([self.lab.insula_program, "config"], text=True, capture_output=True,
                              check=False)
        assert done.returncode == 0, f"file {number} was applied: {done.stderr}"
        head = done.stdout.split("\n")[0].split()
        assert head[:1] == ["#"], f"file {number} was applied; there is: {done.stdout[:200]!r}"
        found = int(head[1])
        status = json.loads(self.lab.insula("status", "-o", "json"))
        wanted = generation + found - number
        assert found in (number, number + 1) and status["generation"] == wanted, (
            f"applied: file {number}, generation {generation}; there is: file {found}, "
            f"generation {status['generation']}")
        now = {p["name"]: [p["id"], p["mac"], p.get("address")] for p in self.lab.list("port")}
        moved = [f"{n}: {p} -> {now[n]}" for n, p in ports.items() if n in now and now[n] != p]
        assert not moved and (found > number or set(ports) <= set(now)), f"{moved} {now}"
        return found

    # Some at once, so that they share a commit; for ever.
    def lease(self, tenant, number):
        netns.ip(f"{tenant}-desk", "link", "set", "eth0", "up")
        wire = frames.Wire(f"{tenant}-desk", "eth0")
        while True:
            waiting = {}
            for _ in range(AT_ONCE):
                number += 1
                client = dhcp_frames.Client(wire, 0, gateway(tenant))
                client.mac = f"0a:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:" \
                             f"{number >> 8 & 255:02x}:{number & 255:02x}"
                wire.send(client.message(dhcp_frames.DISCOVER))
                waiting[client.xid] = client
            deadline = time.monotonic() + 10
            while waiting and time.monotonic() < deadline:
                frame = wire.wait(dhcp_frames.is_answer, 1)
                answer = frame and dhcp_frames.Answer(frame)
                client = answer and waiting.pop(answer.xid, None)
                if client and answer.kind == dhcp_frames.OFFER:
                    here = (54, frames.address(gateway(tenant)))
                    wire.send(client.message(dhcp_frames.REQUEST, [
                        (50, frames.address(answer.address)), here]))
                    waiting[client.xid] = client
                elif client and answer.kind == dhcp_frames.ACK:
                    self.report.say("leased", answer.address, client.mac)


# The power goes when enough has been acknowledged, at no particular moment of the next.
def lose_power(report, enough):
    while report.n.get("applied", 0) < 2 or report.n.get("leased", 0) < enough:
        time.sleep(0.02)
    time.sleep(random.random() * 0.5)
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as file:
        file.write("b")


def main():
    report = Report(os.environ["OUTER_REPORT"])
    before, life, enough = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(before, encoding="utf-8") as file:
        acknowledged = file.read().split("\n")[:-1]
    try:
        bench = Bench(report)
        number = bench.look(acknowledged)
    except Exception as error:  # whatever is wrong now, the power loss did it
        report.say("lost", repr(error).replace("\n", " "))
        raise
    report.say("found")
    if not enough:
        return
    number += 1
    bench.apply(number)
    threading.Thread(target=bench.lease, args=(TENANTS[life % 2], life * 100000),
                     daemon=True).start()
    threading.Thread(target=lose_power, args=(report, enough), daemon=True).start()
    while True:
        number += 1
        bench.apply(number)


main()
