# SPDX-License-Identifier: BSD-3-Clause
# The test guest in insula-vmm: started, listened to, ended. What the tests of this folder share;
# tests/perf too.
import os
import subprocess
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.realpath(os.environ.get("INSULA_BUILD", os.path.join(HERE, "../../build")))
VMM = os.path.join(BUILD, "vmm", "insula-vmm")
GUEST = os.path.join(BUILD, "tests", "kvm", "guest", "insula-test-guest")
SECONDS = 120  # the longest that one may live


class MachineFailed(Exception):
    pass


# Ends by itself when its guest does, unless it is told to reboot it. keys: other words of the
# guest's command line.
def command(run, *options, memory_mib=64, kernel=GUEST, vmm=VMM, reboots=False, keys=""):
    return [vmm, *([] if reboots else ["--no-reboot"]), "--memory", str(memory_mib), "--kernel",
            kernel, "--cmdline", f"run={run} {keys}".rstrip(), *options]


class Machine:
    """One insula-vmm; `words` are its command line. lines: what guest and VMM said so far."""

    def __init__(self, words, name="a machine", seconds=SECONDS, **popen):
        self.name, self.lines = name, []
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT,
                                        **{"stdin": subprocess.DEVNULL} | popen)
        self._killer = threading.Timer(seconds, self.process.kill)
        self._killer.daemon = True
        self._killer.start()

    # Reads until a line that begins with `word`.
    def wait(self, word):
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if self.lines[-1].startswith(word):
                return self.lines[-1]
        raise MachineFailed(f"{self.name}: no '{word}': {self.lines[-12:]}")

    # Reads what it still says; its exit status.
    def end(self):
        self.lines += [line.strip() for line in self.process.stdout]
        status = self.process.wait()
        self._killer.cancel()
        return status

    def done(self):
        self.wait("guest: done")
        if (status := self.end()) != 0:
            raise MachineFailed(f"{self.name}: exit status {status}: {self.lines[-12:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._killer.cancel()
