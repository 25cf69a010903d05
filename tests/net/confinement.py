# SPDX-License-Identifier: BSD-3-Clause
# insula-switch from outside, while it carries packets: in every thread an ordinary user, no
# capability, no way to new privileges, a seccomp filter that kills; its fds are of the expected
# kinds and its tables are readable by root alone. Runs in a sandbox.
import os
import re
import stat
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import sandbox

POLICY = os.path.join(os.path.dirname(HERE), "demo.yaml")
FDS = re.compile(r"socket:|anon_inode:\[(eventpoll|eventfd|signalfd|timerfd)\]"
                 r"|/dev/net/tun|/dev/null|/dev/zero|/memfd:|pipe:"
                 r"|.*/run/(sessions|mappings|switch\.log|switch\.lock)$")


def status(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def check_thread(pid, tid):
    s = status(pid, tid)
    name = f"{s['Name']} ({tid})"
    assert s["Seccomp"] == "2", f"{name} runs without seccomp filter"
    assert s["NoNewPrivs"] == "1", f"{name} could gain privileges"
    for which in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(s[which], 16) == 0, f"{name} has capabilities: {which} {s[which]}"
    assert "0" not in s["Uid"].split() and "0" not in s["Gid"].split(), f"{name} is root"
    assert not s["Groups"].strip(), f"{name} is in groups {s['Groups']}"


def check_fds(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        assert FDS.match(target), f"unexpected fd {fd}: {target}"


def check_tables(run_dir):
    for name in ("sessions", "mappings"):
        mode = os.stat(os.path.join(run_dir, name)).st_mode
        assert stat.S_IMODE(mode) == 0o600, f"{name} has mode {stat.S_IMODE(mode):o}"


def main():
    with labs.Lab(POLICY, sandbox.DIRECTORY):
        pids = labs.processes("insula-switch")
        assert len(pids) == 1, f"switches: {pids}"
        threads = os.listdir(f"/proc/{pids[0]}/task")
        assert len(threads) >= 2, "no worker"
        for tid in threads:
            check_thread(pids[0], tid)
        check_fds(pids[0])
        check_tables(os.environ["INSULA_RUN_DIR"])
    print(f"{len(threads)} threads confined")


main()
