# SPDX-License-Identifier: BSD-3-Clause
# A disk's limits of bytes and operations per second in insula-vmm, as the test guest measures them:
# with one queue and with several, bursts, and what waiting costs.
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
from disks import MIB, SECTOR, Machine, image, read, run, run_cases
from guest_qemu import pattern

# Never faster, those that may go at once not counted; and no slower in the best of so many tries,
# for the host has others.
FASTER, SLOWER, TRIES = 0.97, 1.04, 4


def seconds(line):
    return int(re.search(r" in (\d+) us", line)[1]) / 1e6


# The last of `commands` is to take so long.
def takes(commands, words, expected):
    path, seen = image("disk"), []
    while len(seen) < TRIES and (not seen or seen[-1] > SLOWER * expected):
        lines = run("disk:0," + commands, f"file={path}{words}")
        seen.append(seconds(lines[-2]))
        assert seen[-1] > FASTER * expected, (words, seen, expected)
    print(f"{words}: {commands}: {seen} s, expected {expected}")
    assert min(seen) < SLOWER * expected, (words, seen, expected)
    return path


# Reads and writes, and all queues, are of one budget. What is at once is not waited for.
def test_bytes():
    for words in (f",bytes_per_s={4 * MIB},burst_bytes={MIB // 32}",
                  f",queues=4,bytes_per_s={4 * MIB},burst_bytes={MIB // 32}",
                  f",direct,queues=2,bytes_per_s={4 * MIB},burst_bytes={MIB // 32}"):
        path = takes("blk-write:0:4096:1,blk-verify:0:4096:1", words, 0.5)
        assert read(path, 0, 4096) == pattern(1, 0, 4096 * SECTOR)


def test_ops():
    for words in (",ops_per_s=1000,burst_ops=20", ",queues=4,ops_per_s=1000,burst_ops=20"):
        takes("blk-write:0:520:1:1", words, 0.5)
        takes("blk-write:0:8320:1:16", words, 0.5)


# Whichever is reached first.
def test_both():
    words = f",ops_per_s=1000,bytes_per_s={4 * MIB},burst_ops=20,burst_bytes={MIB // 32}"
    takes("blk-write:0:520:1:1", words, 0.5)
    takes("blk-write:0:4160:1", words, 0.5)


def test_burst():
    words = f",bytes_per_s={4 * MIB},burst_bytes={2 * MIB}"
    lines = run("disk:0,blk-write:0:4000:1,blk-write:0:4096:1", f"file={image('disk')}{words}")
    first, second = (seconds(line) for line in lines if line.startswith("ok blk-write"))
    print(first, second)
    assert first < 0.1 and second > 0.4, lines
    # without its own, a tenth of a second's worth
    takes("blk-write:0:4096:1", f",bytes_per_s={4 * MIB}", 0.4)


# Processor time of the threads of a process, by the system call that each waits in.
def spent(pid):
    times = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
            call = file.read().split()[0]
        with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as file:
            times[call] = times.get(call, 0) + int(file.read().split()[0]) / 1e9
    return times


# Who waits for tokens sleeps (in io_uring_enter).
def test_idle():
    machine = Machine("disk:0,blk-write:0:2048:1,sleep:60000",
                      [f"file={image('disk')},bytes_per_s={MIB},burst_bytes=1"])
    took = seconds(machine.wait("ok blk-write"))
    used = spent(machine.process.pid)["426"]
    machine.kill()
    print(f"{used} s of {took} s")
    assert took > 0.9 and used < 0.1 * took, (used, took)


def refused(words, told):
    machine = Machine("disk:0", [words])
    assert machine.end() == 2 and told in " ".join(machine.lines), machine.lines


def test_refused():
    path = image("disk")
    for words in ("bytes_per_s=-1", "ops_per_s=1k", "ops_per_s", "bytes_per_s=1000000000001"):
        refused(f"file={path},{words}", "ops_per_s=N")
    refused(f"file={path},burst_ops=1", "goes with")
    refused("vhost-user=/no/such,bytes_per_s=1", "driver=throttle")


run_cases(globals())
