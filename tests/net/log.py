# SPDX-License-Identifier: BSD-3-Clause
# insulad's log has what the switch says too: each line with its time, in a file that stays small
# however much that is, also across a death of insulad, which neither blocks nor ends a switch that
# goes on talking; and the last words of a switch come before the news of its death. In a sandbox.
import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import sandbox

LINE = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ (error|warning|info) "
                  r"(insulad|insula-switch): .+")
MOST = (8 << 20) + 2000  # a file is set aside before the line that follows
FILE = os.path.join(sandbox.DIRECTORY, "state", "insulad.log")


def document():
    uplink = {"name": "internet", "mode": "routed", "address": "198.51.100.9/24",
              "gateway": laptops.ROUTER, "interface": "wlan0"}
    return {"version": 1, "uplinks": [uplink],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11"], "internet")]}


# The switch's own standard error.
def mouth(flags=0):
    [pid] = labs.processes("insula-switch")
    return os.open(f"/proc/{pid}/fd/2", os.O_WRONLY | flags)


def say(text):
    fd = mouth()
    try:
        data = text.encode()
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def wait_for(lab, text, mark=0):
    deadline = time.monotonic() + 30
    while text not in lab.log()[mark:]:
        assert time.monotonic() < deadline, f"the log never said: {text}"
        time.sleep(0.02)


def check_lines(file):
    with open(file, encoding="utf-8") as opened:
        for number, line in enumerate(opened, 1):
            assert LINE.fullmatch(line.rstrip("\n")), f"{file}:{number}: {line[:200]!r}"
    assert os.stat(file).st_size <= MOST, f"{file}: {os.stat(file).st_size} bytes"


def works(lab):
    return lab.probe("tcp", "red-1", "internet", laptops.ROUTER) is not None


def test_lines(lab):
    say("insula-switch: one\n\ntwo\tand \x1b[31mtwo\n" + 3000 * "x" + "\nhalf a ")
    wait_for(lab, "xxx\n")
    say("line\n")
    wait_for(lab, " warning insula-switch: half a line\n")
    for text in ("one", "two and  [31mtwo"):
        assert f" warning insula-switch: {text}\n" in lab.log(), text
    check_lines(FILE)


def test_bound(lab):
    line = "insula-switch: what a terrible noise, and there is no end to it " + 60 * "." + "\n"
    say(line * ((20 << 20) // len(line)) + "over\n")
    wait_for(lab, "insula-switch: over\n")
    check_lines(FILE)
    check_lines(FILE + ".1")
    left = sorted(f for f in os.listdir(os.path.dirname(FILE)) if f.startswith("insulad.log"))
    assert left == ["insulad.log", "insulad.log.1"], left
    assert works(lab)


# Which the switch complains of, on its own.
def talk_nonsense():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(10)
        stranger.connect(os.path.join(os.environ["INSULA_RUN_DIR"], "switch.sock"))
        stranger.send(b"nonsense")
        while stranger.recv(65536):  # until it hangs up
            pass


# Nobody reads, and the FIFO is full: the switch says its own all the same.
def test_without_insulad(lab):
    lab.kill("insulad")
    [switch] = labs.processes("insula-switch")
    say("nobody hears me\n")
    fd = mouth(os.O_NONBLOCK)
    try:
        while os.write(fd, 63 * b"y" + b"\n"):
            pass
    except OSError as error:
        assert error.errno == errno.EAGAIN, error
    os.close(fd)
    talk_nonsense()
    assert works(lab)
    lab.start()
    wait_for(lab, " warning insula-switch: nobody hears me\n")
    assert labs.processes("insula-switch") == [switch]
    while " warning insula-switch: malformed control message" not in lab.log():
        with contextlib.suppress(ConnectionError):  # insulad came back between
            talk_nonsense()  # told once a second at most
    check_lines(FILE)


def test_last_words(lab):
    mark = len(lab.log())
    say("these are my last words\n")
    lab.kill("insula-switch")
    wait_for(lab, "forwards again", mark)
    text = lab.log()[mark:]
    assert -1 < text.find("my last words") < text.find(" ended"), text


# In the switch's place.
def start_script(lab, text):
    program = os.path.join(sandbox.DIRECTORY, "a-switch")
    with open(program, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n{text}")
    os.chmod(program, 0o755)
    return subprocess.run([lab.insula_program, "start"], text=True, capture_output=True, timeout=60,
                          env=os.environ | {"INSULA_SWITCH": program}, check=False)


# Why a switch does not come up at all, it says itself.
def test_no_start(lab):
    assert not lab.stop_insulad()
    done = start_script(lab, "echo I will not >&2\nexit 3\n")
    assert done.returncode == 1 and "insula-switch: I will not\n" in done.stderr, done
    check_lines(FILE)


# Also what it says in ending, when insulad ends it on its own way out.
def test_farewell(lab):
    switch = os.path.join(os.path.dirname(lab.insula_program), "..", "vswitch", "insula-switch")
    library = os.path.join(lab.directory, "farewell.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], check=True, text=True,
                   input='#include <unistd.h>\n__attribute__((destructor)) static void bye(void)\n'
                         '{ (void)!write(2, "farewell\\n", 9); }\n')
    done = start_script(lab, f"LD_PRELOAD={library} exec {switch} \"$@\"\n")
    assert done.returncode == 0, done
    assert not lab.stop_insulad()
    text = lab.log()
    assert -1 < text.find("insula-switch: farewell\n") < text.rfind("insulad: stopped"), text[-999:]
    check_lines(FILE)
    lab.start()


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(document())
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
