# SPDX-License-Identifier: BSD-3-Clause
# vmm_boot_inside.py INSULA_VMM KERNEL INITRD: inside the outer machine; see vmm_boot.py. Tells what
# happened on $OUTER_REPORT, "done" at last.
import os
import subprocess
import sys


class Guest:
    def __init__(self, report, *options):
        self.report, self.lines = report, []
        # pylint: disable=consider-using-with
        self.vmm = subprocess.Popen(options, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT)

    # Reads the console until a line that begins with `word`; returns what is behind it.
    def wait(self, word):
        for raw in self.vmm.stdout:
            line = raw.decode(errors="replace").strip()
            self.lines.append(line)
            if line.startswith(word):
                print(line, file=self.report, flush=True)
                return line[len(word):]
        raise RuntimeError("the guest ended before '%s':\n%s" % (word, "\n".join(self.lines[-30:])))

    def say(self, word):
        self.vmm.stdin.write(word.encode() + b"\n")
        self.vmm.stdin.flush()

    def status(self):
        self.vmm.stdout.read()
        return self.vmm.wait()


def expect(what, found, wanted):
    if found != wanted:
        raise RuntimeError(f"{what}: {found}, not {wanted}")


def boot(report, vmm, kernel, initrd):
    guest = Guest(report, vmm, "--kernel", kernel, "--initrd", initrd, "--memory", "256", "--cpus",
                  "2", "--cmdline", "console=ttyS0 quiet panic=-1")
    for word in ("reboot", "off"):
        expect("the guest", guest.wait("up:"), " 2 processors, 192 MiB, clock kvm-clock")
        expect("serial interrupts", guest.wait("interrupts:"), " 1")
        guest.say(word)
        guest.wait("heard " + word)
    expect("exit status", guest.status(), 0)


def main():
    with open(os.environ["OUTER_REPORT"], "w", encoding="utf-8") as report:
        try:
            boot(report, *sys.argv[1:])
        except (RuntimeError, OSError) as error:
            print(error, file=report, flush=True)
        else:
            print("done", file=report, flush=True)


main()
