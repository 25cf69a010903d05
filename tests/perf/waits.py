# SPDX-License-Identifier: BSD-3-Clause
# How long the busiest thread of a process ran, and how long it waited for its processor while
# somebody else had it: a figure of threads that were kept waiting is none. From the scheduler's own
# nanoseconds (Linux: Documentation/scheduler/sched-stats.rst). Used by figures_vhost.py.
import os


# Of each thread of a process so far: (nanoseconds on a processor, waited for one).
def times(pid):
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                ran, waited, _ = map(int, file.read().split())
        except OSError:
            continue  # ended meanwhile
        found[task] = (ran, waited)
    return found


# Between two times(), in seconds: (ran, waited) of the thread that wanted the processor most.
def busiest(before, after):
    spent = [(ran - before.get(task, (0, 0))[0], waited - before.get(task, (0, 0))[1])
             for task, (ran, waited) in after.items()]
    ran, waited = max(spent, key=sum, default=(0, 0))
    return ran / 1e9, waited / 1e9
