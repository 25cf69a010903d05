# SPDX-License-Identifier: BSD-3-Clause
# How much of the processors' time programs had that are not the bench's: a figure of a busy machine
# is none. Theirs is what user programs had (Linux: proc(5), /proc/stat) less what those of this PID
# namespace had, the ended ones included. Kernel threads count as nobody's: they may work for the
# bench. Used by bench.py.
import os

HZ = os.sysconf("SC_CLK_TCK")


def _of_all():
    with open("/proc/stat", encoding="ascii") as file:
        user, nice = map(int, file.readline().split()[1:3])
    return user + nice


# Of a process, and of its children that have ended.
def _of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return 0  # ended meanwhile: its parent has it soon
    return int(words[11]) + int(words[13])


# Seconds so far, of all processors together.
def user_seconds():
    ours = sum(_of(pid) for pid in os.listdir("/proc") if pid.isdigit())
    return (_of_all() - ours) / HZ
