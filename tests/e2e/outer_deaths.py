# SPDX-License-Identifier: BSD-3-Clause
# The outer machine itself: one that stands still without a word, and one whose kernel panics, are
# started anew, and what the last says is what counts. Started by test_outer_deaths.sh.
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

SECONDS, STILL_S = 80, 5
# Says which machine it is in; the first is told to stand still, the second panics.
JOB = """
for n in 1 2; do
    if ! [ -e {folder}/report$((n + 1)) ]; then
        echo $n >"$OUTER_REPORT"
        [ $n = 1 ] || echo c >/proc/sysrq-trigger
        sleep 1000
    fi
done
echo done >"$OUTER_REPORT"
"""


def test_deaths():
    with tempfile.TemporaryDirectory() as folder:
        machine = outer.Machine(folder, still_s=STILL_S)
        report = os.path.join(folder, "report1")

        def stop_the_first():
            while not (os.path.exists(report) and os.path.getsize(report)):
                time.sleep(0.01)
            os.kill(machine.qemu.pid, signal.SIGSTOP)

        threading.Thread(target=stop_the_first, daemon=True).start()
        path = os.path.join(folder, "job.sh")
        with open(path, "w", encoding="ascii") as file:
            file.write(JOB.format(folder=folder))
        told = machine.run(["/bin/bash", path], SECONDS, deaths=2)
        assert (told, machine.number) == (["done"], 3), f"{machine.number}: {told}"


if __name__ == "__main__":
    sys.exit(not labs.run_cases(globals()))
