# SPDX-License-Identifier: BSD-3-Clause
# The demo's front: what run.sh executes once everything is installed and built. It starts a
# supervisor that outlives it (supervisor.py) and waits for its verdict; Ctrl-C asks it to stop.
# With --stop or --enter it turns to the demo that --keep left running.
import argparse
import json
import os
import signal
import socket
import subprocess
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

# pylint: disable=wrong-import-position
import sandbox

import lock
import policy

KEPT = """
The demo runs on. To look around:
  sudo ./dev demo --enter                                        # a shell inside
  sudo ./dev demo --enter insula list lease
  sudo ./dev demo --enter insula list session
  sudo ./dev demo --enter insula list drops
  sudo ./dev demo --enter ip netns exec insdemo-red-1 ping -c 3 10.0.0.12
  sudo ./dev demo --enter ip netns exec insdemo-internet tcpdump -ni eth0
To stop it and compare what is left:
  sudo ./dev demo --stop"""


def parse():
    parser = argparse.ArgumentParser(prog="./dev demo", add_help=False, allow_abbrev=False)
    parser.add_argument("--json", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--check", action="store_true")  # of run.sh: the arguments only
    parser.add_argument("--enter", nargs=argparse.REMAINDER)
    parser.add_argument("--policy", default=os.path.join(ROOT, "tests", "demo.yaml"))
    parser.add_argument("--apply", default="")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    options = parser.parse_args()
    for name in ("json", "policy", "apply", "build"):
        value = getattr(options, name)
        setattr(options, name, os.path.abspath(value) if value else "")
    if not options.stop and options.enter is None:
        check_policy(options.policy)
    if options.check:
        sys.exit(0)
    return options


# What the demo cannot play ends here, in one line.
def check_policy(path):
    try:
        for instance in policy.read(path).instances:
            if not instance.routed:
                raise ValueError(f"{instance.name} gets no lease: its network {instance.network} "
                                 "has no gateway, hence no DHCP")
        return
    except OSError as error:
        why = error.strerror
    except yaml.YAMLError as error:
        why = "no YAML: " + " ".join(str(error).split())
    except (KeyError, TypeError, AttributeError):
        why = "not as insula.yaml(5) says; `insula diff -f` on it tells what is wrong"
    except ValueError as error:
        why = str(error)
    print(f"dev demo: --policy {path}: {why}", file=sys.stderr)
    sys.exit(2)


def enter(options):
    state = lock.ask("state")
    if not state or not state["first_process"]:
        sys.exit("no demo is running; `sudo ./dev demo --keep` leaves one")
    env = os.environ | lock.environment()
    env["PATH"] = f"{os.path.join(options.build, 'control')}:{env['PATH']}"
    words = sandbox.enter(state["first_process"], options.enter or [env.get("SHELL", "/bin/sh")])
    os.execvpe(words[0], words, env)


def clear():
    try:
        cleared = lock.clear()
    except BlockingIOError:
        print("a demo is just starting or ending: nothing is stopped; try again", file=sys.stderr)
        return 1
    print("no demo is running" +
          (f"; {lock.DIRECTORY}, which a killed one left, is removed" if cleared else ""))
    return 0


def stop():
    verdict = lock.ask("stop")
    if verdict is None:
        return clear()
    for line in verdict["problems"]:
        print(f"  {line}")
    print("stopped; " + ("this was not as it should be" if verdict["exit"] else "nothing is left"))
    return verdict["exit"]


# The supervisor's verdict; one that was killed gives none.
def wait_for(sock, child):
    def ask(_signal, _frame):
        print("\nstopping; once more to kill it", flush=True)
        signal.signal(signal.SIGINT, lambda *_: child.kill())
        child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    answer = sock.recv(1 << 20)
    if not answer:
        print("the demo's supervisor was killed; the kernel took the rest with it", file=sys.stderr)
        lock.remove()
        return 1
    verdict = json.loads(answer)
    if verdict["kept"]:
        print(KEPT if "SUDO_UID" in os.environ else KEPT.replace("sudo ", ""))
    else:
        child.wait()
    return verdict["exit"]


# Words that are no options end here, without the directory that run.sh made for us.
def parse_or_leave():
    try:
        return parse()
    except SystemExit:
        if os.path.isdir(f"/proc/self/fd/{lock.HELD}"):
            lock.remove()
        raise


def main():
    options = parse_or_leave()
    if os.geteuid():
        sys.exit("the demo needs root: sudo ./dev demo")
    if options.enter is not None:
        enter(options)
    if options.stop:
        return stop()
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, os.path.join(HERE, "supervisor.py"), str(other.fileno()),
             json.dumps(vars(options))]
    handed = (lock.HELD, other.fileno())
    with other:
        child = subprocess.Popen(words, pass_fds=handed, start_new_session=True)
    return wait_for(own, child)


if __name__ == "__main__":
    sys.exit(main())
