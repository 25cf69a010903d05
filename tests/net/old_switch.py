# SPDX-License-Identifier: BSD-3-Clause
# insulad is replaced by one that speaks another protocol than the switch that runs: that one is
# replaced too, and the log says so, and why. The other version's switch is played by a program
# that greets who speaks as it does, and closes the connection on anybody else. Runs in a sandbox.
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import sandbox

# As control/proto.h has them: magic, version, type, seq, size.
HEADER = struct.Struct("=IHHII")
HELLO, REPLY = 1, 0x8000
VERSIONS_BEYOND = 4  # so many newer ones insulad asks for


def own_version():
    with open(os.path.join(labs.ROOT, "control", "proto.h"), encoding="utf-8") as file:
        return int(re.search(r"PROTO_VERSION = (\d+),", file.read())[1])


# version 0: it greets nobody.
def play_switch(path, version):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen()
        print("listens", flush=True)
        while True:
            with listening.accept()[0] as s:
                message = s.recv(4096)
                if len(message) < HEADER.size:
                    continue
                magic, spoken, kind, seq, _size = HEADER.unpack_from(message)
                if spoken == version and kind == HELLO:
                    s.send(HEADER.pack(magic, spoken, kind | REPLY, seq, 256) + bytes(240))
                    s.recv(4096)


def kill(program):
    [pid] = labs.processes(program)
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0], f"{program} survived SIGKILL"
    os.close(pidfd)


# What the log says of a start with such a switch, which has been ended.
def start_with(lab, version):
    path = os.path.join(os.environ["INSULA_RUN_DIR"], "switch.sock")
    lab.start()
    for program in ("insulad", "insula-switch"):
        kill(program)
    os.unlink(path)
    with subprocess.Popen([sys.executable, __file__, path, str(version)],
                          stdout=subprocess.PIPE) as played, \
         open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"),
              encoding="utf-8") as log:
        try:
            assert played.stdout.readline() == b"listens\n"
            log.seek(0, os.SEEK_END)
            lab.start()
            assert played.wait(10) == -signal.SIGTERM
        finally:
            played.kill()
        [switch] = labs.processes("insula-switch")
        text = log.read()
    assert f"info insulad: insula-switch (pid {switch}) started" in text, text
    lab.insula("stop")
    return text, f"info insulad: insula-switch (pid {played.pid}) speaks protocol "


def test_other_versions(lab):
    own = own_version()
    for version in (own - 1, 1, own + 1, own + VERSIONS_BEYOND):
        text, begin = start_with(lab, version)
        line = f"{begin}{version}, this insulad {own}: replacing it\n"
        assert text.count(line) == 1 and text.count("speaks protocol") == 1, (line, text)
        assert text.index(line) < text.index(" started, generation"), text


# What cannot be known is not said.
def test_unknown_version(lab):
    for version in (0, own_version() + VERSIONS_BEYOND + 1):
        assert "speaks protocol" not in start_with(lab, version)[0]


def main():
    if len(sys.argv) > 1:
        play_switch(sys.argv[1], int(sys.argv[2]))
    lab = labs.Lab(None, sandbox.DIRECTORY)
    lab.started = True
    labs.run_to_end(globals(), lab)


main()
