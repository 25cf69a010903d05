# SPDX-License-Identifier: BSD-3-Clause
# The switches that figures_vhost.py drives through two vhost-user ports: Insula as it is installed,
# Open vSwitch with DPDK, and testpmd's io loop, which only moves frames. Each is a context manager
# that runs its switch on SWITCH_CPU and dials `sockets`, where the generator listens.
import os
import shutil
import signal
import subprocess
import tempfile

import lab as labs
import netns
import sandbox
import vhost

SWITCH_CPU, GENERATOR_CPU = 0, 1
GUESTS = ("t/i0.eth0", "t/i1.eth0")
POLICY = """version: 1
settings:
  mode: poll
  hugepages: 2M
  sessions: 1200000
  sessions_per_tenant: 1200000
  sessions_per_port: 1200000
tenants:
  - name: t
    networks:
      - {name: lan, vlan: 10, subnet: 10.0.0.0/16, gateway: 10.0.0.1}
    instances:
      - {name: i0, kind: external, nics: [{network: lan, type: vhost-user, address: 10.0.0.11}]}
      - {name: i1, kind: external, nics: [{network: lan, type: vhost-user, address: 10.0.0.12}]}
"""


# Every thread of a process on one processor.
def pin(pid, cpu):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(task), {cpu})
        except ProcessLookupError:
            pass


class Arm:
    """sockets: where it dials; ends: "MAC,IPv4" of the two guests."""
    ends = ("02:00:00:00:00:11,10.0.0.11", "02:00:00:00:00:12,10.0.0.12")

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="insula-bench-")
        self.sockets = [os.path.join(self.directory, name) for name in ("a", "b")]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Insula(Arm):
    """All of it: insulad, the switch it starts, every stage, guard and sessions on."""

    def start(self):
        self.lab = labs.Lab(None, sandbox.DIRECTORY)
        self.lab.start()
        file = os.path.join(self.directory, "policy.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(POLICY)
        self.lab.apply(file)
        ports = {port["name"]: port for port in self.lab.list("port")}
        self.sockets = [ports[name]["device"].split()[-1] for name in GUESTS]
        self.ends = [f"{ports[name]['mac']},10.0.0.1{i + 1}" for i, name in enumerate(GUESTS)]
        for name in ("insulad", "insula-switch"):
            for pid in labs.processes(name):
                pin(pid, SWITCH_CPU)

    def switch_pid(self):
        return labs.processes("insula-switch")[0]

    def stop(self):
        if errors := self.lab.stop():
            raise netns.CommandFailed("; ".join(errors))


class Process(Arm):
    """Of processes that are killed in the end."""

    def __init__(self):
        super().__init__()
        self.processes = []

    pinned = True  # to SWITCH_CPU
    space = ""  # the network namespace it runs in

    def run(self, command, **options):
        log = os.path.join(self.directory, f"log{len(self.processes)}")
        where = ["taskset", "-c", str(SWITCH_CPU)] if self.pinned else []
        where = [*netns.inside(self.space), *where]
        with open(log, "w", encoding="ascii") as out:
            process = netns.popen([*where, *command], stdout=out, stderr=out, **options)
        self.processes.append(process)
        return process

    def switch_pid(self):
        return self.processes[-1].pid

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()


class Testpmd(Process):
    """The limit: one core carries frames from port to port and looks at none."""

    def start(self):
        devices = [f"--vdev=net_vhost{i},iface={path},client=1"
                   for i, path in enumerate(self.sockets)]
        cpu = SWITCH_CPU
        self.run(["dpdk-testpmd", "--no-pci", "--in-memory", "-m", "256", "--no-telemetry",
                  "--lcores", f"0@{cpu},1@{cpu}", *devices, "--", "-i", "--auto-start",
                  "--total-num-mbufs=16384", "--forward-mode=io"], stdin=subprocess.PIPE)


class OpenVSwitch(Process):
    """One PMD thread, hugepages; `flows`: what its bridge does beside switching by MAC."""
    flows = ("priority=0,actions=NORMAL",)
    daemon = None

    def start(self):
        here = self.directory
        os.environ |= {"OVS_RUNDIR": here, "OVS_LOGDIR": here, "OVS_DBDIR": here}
        database, socket = f"{here}/conf.db", f"unix:{here}/db.sock"
        netns.run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        self.run(["ovsdb-server", database, f"--remote=p{socket}", f"--pidfile={here}/db.pid",
                  f"--unixctl={here}/db.ctl"])
        vhost.until("ovsdb-server listens", lambda: os.path.exists(f"{here}/db.sock"))
        self.vsctl = ("ovs-vsctl", f"--db={socket}")
        netns.run(*self.vsctl, "--no-wait", "init")
        netns.run(*self.vsctl, "--no-wait", "set", "Open_vSwitch", ".",
                  *(f"other_config:{word}" for word in self.settings()))
        self.start_daemon()
        self.add_ports()

    # What it had is in the database.
    def start_daemon(self):
        here = self.directory
        self.daemon = self.run(["/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk",
                                f"unix:{here}/db.sock", f"--pidfile={here}/vswitchd.pid",
                                f"--unixctl={here}/vs.ctl"])

    def settings(self):
        return ("dpdk-init=true", f"pmd-cpu-mask={1 << SWITCH_CPU:x}",
                f"dpdk-lcore-mask={1 << SWITCH_CPU:x}", "dpdk-socket-mem=512",
                "dpdk-extra=--no-pci --in-memory --no-telemetry", "vhost-sock-dir=.")

    def add_ports(self):
        words = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        for i, path in enumerate(self.sockets):
            words += ["--", "add-port", "br0", f"v{i}", "--", "set", "interface", f"v{i}",
                      "type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
        netns.run(*self.vsctl, "--timeout=30", *words)
        netns.run("ovs-ofctl", "del-flows", "br0")
        for flow in self.flows:
            netns.run("ovs-ofctl", "add-flow", "br0", flow)


class OpenVSwitchTaps(OpenVSwitch):
    """Taps in two namespaces, carried by its userspace data path on whatever processors it gets."""
    pinned = False

    def __init__(self, name, tso):
        super().__init__()
        self.tso, self.space, self.spaces = tso, name, [f"{name}-1", f"{name}-2"]
        netns.create(name)

    def settings(self):
        return ("dpdk-init=true", "dpdk-socket-mem=256",
                "dpdk-extra=--no-pci --in-memory --no-telemetry",
                f"userspace-tso-enable={'true' if self.tso else 'false'}")

    def add_ports(self):
        netns.run(*self.vsctl, "--timeout=30", "add-br", "br0", "--", "set", "bridge", "br0",
                  "datapath_type=netdev")
        for i, (space, device) in enumerate(zip(self.spaces, ("tap1", "tap2"))):
            netns.create(space)
            netns.run(*self.vsctl, "--timeout=30", "add-port", "br0", device, "--", "set",
                      "interface", device, "type=tap")
            netns.ip(self.space, "link", "set", device, "netns", space)
            netns.ip(space, "link", "set", device, "addrgenmode", "none", "up")
            netns.ip(space, "address", "add", f"192.0.2.{i + 1}/24", "dev", device)


class OpenVSwitchStateful(OpenVSwitch):
    """Connection tracking as Insula does: known flows pass, a new one if its addresses may."""
    flows = (
        "table=0,priority=10,arp,actions=NORMAL",
        "table=0,priority=10,in_port=v0,ip,dl_src=02:00:00:00:00:11,nw_src=10.0.0.11,"
        "actions=ct(table=1)",
        "table=0,priority=10,in_port=v1,ip,dl_src=02:00:00:00:00:12,nw_src=10.0.0.12,"
        "actions=ct(table=1)",
        "table=0,priority=0,actions=drop",
        "table=1,priority=10,ct_state=+trk+est,ip,actions=NORMAL",
        "table=1,priority=10,ct_state=+trk+new,ip,nw_src=10.0.0.0/16,nw_dst=10.0.0.0/16,"
        "actions=ct(commit),NORMAL",
        "table=1,priority=0,actions=drop",
    )
