# SPDX-License-Identifier: BSD-3-Clause
# A sandbox for network tests: mount, network and process namespaces of their own, whose first
# process is killed with the one that made it. When that first process ends, however it ends, the
# kernel takes every process, interface, namespace and mount of the sandbox with it. Used by the
# demo and by the tests under tests/net.
import os
import sys

# In the sandbox, a private tmpfs for a test's own files: a folder that every Debian has and that
# nothing a test starts looks into.
DIRECTORY = "/run/lock"


# The argument list that runs `command` as the first process of a new sandbox.
def wrap(command):
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork",
            "--kill-child=KILL", "--mount-proc", *command]


# The argument list that runs `command` in the sandbox whose first process is `pid` (seen from
# here).
# In this folder, if it is there, too.
def enter(pid, command):
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", f"--wdns={os.getcwd()}",
            *command]


# The sandbox's first process, given the process that wrap() became; 0 while there is none.
def first_process(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


# Inside: private places for named network namespaces and for the test's own files.
def furnish(run, directory):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        spaces = [line.split()[4] for line in file if line.split()[4].startswith("/run/netns/")]
    for path in spaces:  # the machine's own: not ours to see, and they may go at any moment
        run("umount", "--lazy", path, check=False)
    for path in ("/run/netns", directory):
        os.makedirs(path, mode=0o755, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path)
    run("ip", "link", "set", "lo", "up")


if __name__ == "__main__":
    os.execvp("setpriv", wrap(sys.argv[1:]))
