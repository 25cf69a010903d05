# SPDX-License-Identifier: BSD-3-Clause
# One `dev bench` at a time, and nothing left of one that is interrupted, ended or killed while a
# switch and a generator run on its hugepages: neither processes nor pages nor folders.
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.environ["INSULA_ROOT"]
PERF = os.path.join(ROOT, "tests", "perf")
sys.path += [PERF, os.path.join(ROOT, "tests", "lib")]

# pylint: disable=wrong-import-position
import alone
import hugepages
import lab as labs
import netns
import sandbox

BUILD = os.path.realpath(os.environ.get("INSULA_BUILD", os.path.join(ROOT, "build")))
FIGURE, PAGES = "vhost64.l2.vs_limit", 768
OTHER = "replay.start_s"
ENDS_S = 5


def pages():
    with open(alone.NR_HUGEPAGES, encoding="ascii") as file:
        return int(file.read())


def folders():
    return {os.path.join(place, name) for place in ("/tmp", "/var/tmp")
            for name in os.listdir(place) if name.startswith("insula-bench-")}


# Ids of processes of a program of this build: others on the machine have their own.
def running(*path):
    wanted, found = os.path.join(BUILD, *path), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe") == wanted:
                found.append(int(pid))
        except OSError:
            pass  # ended meanwhile
    return found


def left():
    return running("tests", "perf", "generator") + running("vswitch", "insula-switch") + \
        running("control", "insulad")


class Bench:
    """One bench with a lock of the test's own, which others on the machine need not wait for."""

    def __init__(self, folder):
        self.environment = os.environ | {"INSULA_BENCH_LOCK": os.path.join(folder, "lock"),
                                         "INSULA_BUILD": BUILD}
        self.pages, self.folders, self.process = pages(), folders(), None

    def popen(self, figure):
        return subprocess.Popen([os.path.join(PERF, "run.sh"), figure, "--quick"], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment, start_new_session=True)

    # Until its generator runs.
    def __enter__(self):
        self.process = self.popen(FIGURE)
        deadline = time.monotonic() + 60
        while not running("tests", "perf", "generator"):
            assert time.monotonic() < deadline, "no generator within a minute"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        assert pages() == self.pages + PAGES, pages()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    # It ends soon, says one line, and everything is as it was.
    def check_ended(self, status, line):
        begin = time.monotonic()
        _, errors = self.process.communicate(timeout=60)
        took = time.monotonic() - begin
        assert (self.process.returncode, errors) == (status, line), (self.process, errors)
        assert took < ENDS_S, f"{took:.0f} s"
        self.check_nothing_left()

    def check_nothing_left(self):
        assert not left(), left()
        assert pages() == self.pages, f"{pages()} hugepages, {self.pages} before"
        assert folders() == self.folders, folders() - self.folders
        assert not os.path.exists(self.environment["INSULA_BENCH_LOCK"])


def test_second_is_refused(folder):
    with Bench(folder) as bench:
        with tempfile.TemporaryDirectory(dir=folder) as other:
            path = os.path.join(other, "out.json")
            done = subprocess.run([os.path.join(PERF, "run.sh"), OTHER, "--json", path], text=True,
                                  capture_output=True, env=bench.environment, timeout=60,
                                  check=False)
            assert not os.path.exists(path)
        assert (done.returncode, done.stdout, done.stderr) == (
            1, "", "dev bench: another bench runs on this machine "
            f"(process {bench.process.pid}); wait until it has ended\n"), done
        # And by `dev`, before it builds.
        again = subprocess.run([os.path.join(ROOT, "dev"), "bench", OTHER], text=True,
                               capture_output=True, env=bench.environment, timeout=60, check=False)
        assert (again.returncode, again.stdout, again.stderr) == (1, "", done.stderr), again
        assert bench.process.poll() is None and pages() == bench.pages + PAGES, pages()
        os.killpg(bench.process.pid, signal.SIGTERM)
        bench.check_ended(143, "dev bench: ended by SIGTERM\n")


def test_interrupted(folder):
    with Bench(folder) as bench:
        os.killpg(bench.process.pid, signal.SIGINT)
        bench.check_ended(130, "dev bench: ended by SIGINT\n")


# Of the sandbox, which a signal's default does not end.
def test_first_process_terminated(folder):
    with Bench(folder) as bench:
        os.kill(sandbox.first_process(inside(bench)), signal.SIGTERM)
        bench.check_ended(143, "dev bench: ended by SIGTERM\n")


def test_sandbox_killed(folder):
    with Bench(folder) as bench:
        os.kill(inside(bench), signal.SIGKILL)
        bench.check_ended(137, "dev bench: its sandbox was killed\n")


# unshare's id, which waits for the sandbox.
def inside(bench):
    return sandbox.first_process(bench.process.pid)


# Nobody is left to put anything right: the next one does, and says so.
def test_killed(folder):
    with Bench(folder) as bench:
        [place] = [f for f in folders() - bench.folders if f.startswith("/tmp/")]
        straggler = subprocess.Popen(  # one of its processes that does not end with it
            ["sleep", "600"], env=os.environ | {alone.MARK: os.path.basename(place)})
        os.killpg(bench.process.pid, signal.SIGKILL)
        bench.process.wait()
        after = bench.popen(OTHER)
        try:
            _, errors = after.communicate(timeout=60)
            assert straggler.poll() == -signal.SIGKILL, straggler
        finally:
            straggler.kill()
            straggler.wait()
        assert after.returncode in (0, 1), (after, errors)  # of a busy machine there is no figure
        assert errors.startswith(
            f"dev bench: put right what a killed one had left: {PAGES} hugepages, {place}, "
            f"/var{place}\n"), errors
        bench.check_nothing_left()


def main():
    before = pages()
    try:
        with hugepages.Hugepages(PAGES):
            pass
    except (OSError, netns.CommandFailed) as error:
        print(f"no hugepages: {error}; free some memory")
        sys.exit(77)
    try:
        with alone.locked(), tempfile.TemporaryDirectory() as folder:
            ok = labs.run_cases(globals(), folder)
    except alone.Refused as error:
        print(error)
        sys.exit(77)
    finally:
        with open(alone.NR_HUGEPAGES, "w", encoding="ascii") as file:
            file.write(str(before))
    sys.exit(not ok)


main()
