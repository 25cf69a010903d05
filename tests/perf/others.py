# SPDX-License-Identifier: BSD-3-Clause
# How much of the processors' time programs had that are not the bench's: a figure of a busy machine
# is none. It is what the processes of the host had less what those of this PID namespace had, the
# ended ones included (Linux: proc(5), /proc/PID/stat). Processes whose parent never asks for their
# time are missing there; in user mode the kernel's own sum (/proc/stat) has them. Its sum of system
# time is of no use: in it are the kernel's threads and interrupts, which may work for the bench.
# Used by bench.py.
import os
import time

HOST = "INSULA_BENCH_HOST"  # the descriptor of the host's /proc
HZ = os.sysconf("SC_CLK_TCK")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD of a process' flags
READINGS = 20  # until none has begun or ended meanwhile


def _of_all():
    with open("/proc/stat", encoding="ascii") as file:
        user, nice = map(int, file.readline().split()[1:3])
    return user + nice


# Ticks (user, system) of a process and of its children that have ended; of a kernel thread none.
def _of(proc, pid):
    try:
        fd = os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=proc)
    except OSError:
        return 0, 0  # ended meanwhile: its parent has it soon
    with open(fd, encoding="utf-8", errors="replace") as file:
        try:
            words = file.read().rpartition(")")[2].split()
        except OSError:
            return 0, 0
    if int(words[6]) & KERNEL_THREAD:
        return 0, 0
    return int(words[11]) + int(words[13]), int(words[12]) + int(words[14])


# Of all processes of a /proc. One that ends while they are read could be counted twice or not at
# all, so they are read again.
def _sums(proc):
    total = (0, 0)
    for _ in range(READINGS):
        pids = [pid for pid in os.listdir(proc) if pid.isdigit()]
        total = tuple(map(sum, zip(*(_of(proc, pid) for pid in pids))))
        if pids == [pid for pid in os.listdir(proc) if pid.isdigit()]:
            break
    return total


# Now, and seconds so far of all processors together, of others: in user mode by the kernel's count,
# in user mode by their own, in system calls. The host's /proc is open, by outside.py: the one that
# we have shows us alone.
def now():
    own = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        user, system = _sums(own)
    finally:
        os.close(own)
    host_user, host_system = _sums(int(os.environ[HOST]))
    ticks = _of_all() - user, host_user - user, host_system - system
    return time.monotonic(), *(n / HZ for n in ticks)


# Between two now(), in per cent of the processors' time: (in user mode, in system calls).
def percent(before, after):
    elapsed, counted, own, system = (b - a for a, b in zip(before, after))
    scale = 100 / elapsed / os.cpu_count()
    return max(counted, own) * scale, system * scale
