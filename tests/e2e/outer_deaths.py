# SPDX-License-Identifier: BSD-3-Clause
# The outer machine itself: one whose kernel panics, and one that stands still without a word, are
# started anew, once, and what the second says is what counts. Started by test_outer_deaths.sh.
import os
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import outer

SECONDS, STILL_S = 80, 20
JOB = """
[ -e {again} ] || {{ echo begins >"$OUTER_REPORT"; {death}; sleep 1000; }}
echo done >"$OUTER_REPORT"
"""


# What a job sees that dies in its first machine, of `death`, or when it is told to, and how many
# machines there were.
def run(death=":", stop=False):
    with tempfile.TemporaryDirectory() as folder:
        machine, again = outer.Machine(folder, still_s=STILL_S), os.path.join(folder, "again")
        report = os.path.join(folder, "report1")

        def watch():
            while not (os.path.exists(report) and os.path.getsize(report)):
                time.sleep(0.01)
            with open(again, "w", encoding="ascii"):
                pass
            if stop:
                os.kill(machine.qemu.pid, signal.SIGSTOP)

        threading.Thread(target=watch, daemon=True).start()
        job = JOB.format(again=again, death=death)
        path = os.path.join(folder, "job.sh")
        with open(path, "w", encoding="ascii") as file:
            file.write(job)
        told = machine.run(["/bin/bash", path], SECONDS, deaths=1)
        return told, machine.number


def test_panic():
    assert run(death="echo c >/proc/sysrq-trigger") == (["done"], 2)


def test_stands_still():
    assert run(stop=True) == (["done"], 2)


if __name__ == "__main__":
    sys.exit(not labs.run_cases(globals()))
