# SPDX-License-Identifier: BSD-3-Clause
# insula-vmm on a back end that is not ours: two machines on the two vhost-user ports of testpmd,
# which carries each frame from one to the other. With and without the features that DPDK's back end
# has over ours; testpmd is killed and comes back under a transfer. Runs in a sandbox.
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

# pylint: disable=wrong-import-position
import lab as labs
import sandbox
import netns
import vmm_net

SOCKETS = [os.path.join(sandbox.DIRECTORY, name) for name in ("near", "far")]
MIB = 1 << 20


class Testpmd:
    def __init__(self, *options):
        command = ["dpdk-testpmd", "--no-pci", "--no-huge", "--no-shconf", "--no-telemetry"]
        command += ["-m", "128", "--lcores", "0,1@0-1"]
        command += [f"--vdev=net_vhost{n},iface={path},client=1,{','.join(options)}".rstrip(",")
                    for n, path in enumerate(SOCKETS)]
        command += ["--", "--auto-start", "--forward-mode=io", "--total-num-mbufs=8192",
                    "--stats-period=3600"]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def kill(self):
        self.process.kill()
        self.process.wait()


# The last datagram ends the other; who ends with it under way takes it along, hence the sleep.
def exchange(*options, sockets=SOCKETS, mib=32):
    commands = (f"ip:10.5.0.1:24,reach:10.5.0.2:20,ping:10.5.0.2:5:5000,"
                f"tcp:10.5.0.2:7777:{mib * MIB}:60,reach:10.5.0.2:20,udp-echo:10.5.0.2:7:20,"
                "udp-send:10.5.0.2:9:1,sleep:200", "ip:10.5.0.2:24,serve:100")
    return [vmm_net.Machine(None, f"machine {i}", run, *options,
                            net=f"vhost-user={sockets[i]},mac=02:00:00:00:00:0{i + 1}")
            for i, run in enumerate(commands)]


def test_carries(_):
    for features, options in (((), ()), (("tso=1",), ()), ((), ("offloads=off",))):
        testpmd = Testpmd(*features)
        for one in exchange(*options):
            one.done()
        testpmd.kill()
        print("ok with", features, options, flush=True)


def test_back_end_killed(_):
    testpmd = Testpmd()
    near, far = exchange()
    far.wait("ok serve listens")
    near.wait("ok ping")
    for _ in range(3):
        testpmd.kill()
        testpmd = Testpmd()
    near.done()
    far.done()
    testpmd.kill()


if __name__ == "__main__":
    sandbox.furnish(netns.run, sandbox.DIRECTORY)
    sys.exit(not labs.run_cases(globals(), None))
