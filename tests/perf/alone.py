# SPDX-License-Identifier: BSD-3-Clause
# One bench at a time on a machine, and nothing left of one however it ended: a locked file below
# /run, with a line for each thing that has to be put right, written before it is done. The lock is
# the process' own (flock(2)), so it goes with it; the lines stay for the next bench. Used by
# outside.py, which holds it, and hugepages.py; `dev` runs it to ask whether there is a bench.
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time

# Tests have a lock of their own.
LOCK = os.environ.get("INSULA_BENCH_LOCK", "/run/insula-bench.lock")
# In the environment of all that a bench starts: a word that no other has, and a folder on disk.
MARK, DISK = "INSULA_BENCH", "INSULA_BENCH_DISK"
NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_S = 10  # for the kernel, to take killed processes away


class Refused(Exception):
    """A sentence: why there can be no bench now."""


# Inside the sandbox: its first process has no signal's default, and whatever would be unwound is
# put right outside.
def end_at_once():
    for number in SIGNALS:
        signal.signal(number, lambda n, _: os._exit(128 + n))  # pylint: disable=protected-access


# Adds to what has to be put right; for those inside a bench, others have nothing to write to.
#   of: the bench's mark
#   folders: paths to remove
#   hugepages, more: pages of 2 MiB that there were, and how many a bench adds; 0: none any more
def note(**what):
    if what.get("of") or MARK in os.environ:
        with open(LOCK, "a", encoding="ascii") as file:
            file.write(json.dumps(what) + "\n")


# All lines together.
def _noted():
    notes = {}
    with open(LOCK, encoding="ascii") as file:
        try:
            for line in file:
                notes |= json.loads(line)
        except (ValueError, TypeError):
            raise Refused(f"{LOCK} has a line that no bench wrote; look at vm.nr_hugepages, then "
                          "remove it") from None
    return notes


# The ids of what runs with a bench's mark.
def _running(mark):
    found, word = [], f"{MARK}={mark}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if word in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass  # it has ended meanwhile
    return found


def _end(mark):
    deadline = time.monotonic() + END_S
    while pids := _running(mark):
        if time.monotonic() > deadline:
            raise Refused(f"of an ended bench, process {pids[0]} runs and cannot be killed")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


# Of `more` hugepages than the `before` there were, those that are there still; how many that was.
# What somebody else has added meanwhile stays, and what they have taken away stays away.
def _give_back(before, more):
    with open(NR_HUGEPAGES, "r+", encoding="ascii") as file:
        now = int(file.read())
        then = max(before, now - more) if now > before else now
        if then != now:
            file.seek(0)
            file.write(str(then))
    return now - then


# Ends and takes away what is noted, of a bench that has ended. What it found, as a list of words.
def put_right():
    notes, found = _noted(), []
    if mark := notes.get("of"):
        _end(mark)
    if notes.get("more") and (n := _give_back(notes["hugepages"], notes["more"])):
        found.append(f"{n} hugepages")
    for path in filter(os.path.isdir, notes.get("folders", ())):
        shutil.rmtree(path)
        found.append(path)
    os.truncate(LOCK, 0)
    return found


# The lock, or None while another has it. One on a file that its owner has removed is worth nothing.
def _take():
    while True:
        fd = os.open(LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(LOCK) and os.path.samestat(os.fstat(fd), os.stat(LOCK)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        os.close(fd)


def _refusal():
    with contextlib.suppress(OSError, KeyError, Refused):
        return Refused("another bench runs on this machine "
                       f"(process {_noted()['process']}); wait until it has ended")
    return Refused("another bench runs on this machine; wait until it has ended")


@contextlib.contextmanager
def locked():
    """The only bench of this machine, inside the `with`, on a machine that is put right before and
    afterwards. Gives what a killed one had left, as a list of words; Refused while there is
    another, or what it left cannot be put right."""
    if (fd := _take()) is None:
        raise _refusal()
    try:
        found = put_right()
        try:
            yield found
        finally:
            put_right()
            os.unlink(LOCK)
    finally:
        os.close(fd)


if __name__ == "__main__":
    if (lock := _take()) is None:
        sys.exit(f"dev bench: {_refusal()}")
