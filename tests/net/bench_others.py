# SPDX-License-Identifier: BSD-3-Clause
# What tests/perf/others.py takes for others' time in system calls: that of a program beside the
# bench's sandbox, while it runs and after its end, and not that of one inside. Runs in a sandbox,
# which is the host here, so that what else the machine does is not seen.
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(os.path.dirname(HERE), folder) for folder in ("lib", "perf")]

# pylint: disable=wrong-import-position
import lab as labs
import others
import sandbox

BUSY_S, QUIET_S = 0.5, 0.1


class Busy:
    """A program that is in system calls all the time; until it has had BUSY_S of them."""

    def __init__(self):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1M"],
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while self._system() < BUSY_S:
            assert time.monotonic() < deadline, f"{self._system()} s of a processor in a minute"
            time.sleep(0.02)

    def _system(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            return int(file.read().rpartition(")")[2].split()[12]) / others.HZ

    def end(self):
        self.process.kill()
        self.process.wait()


class Inside:
    """A bench's sandbox in this one, with what others.py says there."""

    def __init__(self):
        host = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            sandbox.wrap([sys.executable, __file__, "inside"]), text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(host,),
            env=os.environ | {others.HOST: str(host)})
        os.close(host)

    # Seconds that others have had in system calls; with "busy", after a busy program inside.
    def system(self, word=""):
        self.process.stdin.write(f"{word}\n")
        return float(self.process.stdout.readline())


def inside():
    for line in sys.stdin:
        if line.strip() == "busy":
            Busy().end()
        print(others.now()[-1], flush=True)


def test_beside_is_counted(bench):
    before = bench.system()
    busy = Busy()
    while_it_runs = bench.system() - before
    busy.end()
    after = bench.system() - before
    assert while_it_runs >= BUSY_S and after >= BUSY_S, (while_it_runs, after)


def test_inside_is_not_counted(bench):
    before = bench.system()
    after = bench.system("busy") - before
    assert abs(after) < QUIET_S, after


if sys.argv[1:] == ["inside"]:
    inside()
else:
    sys.exit(not labs.run_cases(globals(), Inside()))
