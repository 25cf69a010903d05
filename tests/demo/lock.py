# SPDX-License-Identifier: BSD-3-Clause
# One demo at a time. The lock is a flock on DIRECTORY itself, taken by run.sh before it builds and
# handed down as descriptor HELD (one on a directory that its owner has removed meanwhile is worth
# nothing, so it is tried again there). Others ask the running demo through a socket in it. Used by
# demo.py and supervisor.py.
import fcntl
import json
import os
import socket

DIRECTORY = "/run/insula-demo"  # in the sandbox: all the demo's files
HELD = 9
CONTROL = os.path.join(DIRECTORY, "control")


# The environment that makes insula and insulad the demo's own.
def environment():
    return {"INSULA_RUN_DIR": f"{DIRECTORY}/run", "INSULA_STATE_DIR": f"{DIRECTORY}/state"}


# By the holder, at the end.
def remove():
    if os.path.lexists(CONTROL):
        os.unlink(CONTROL)
    os.rmdir(DIRECTORY)


# What a demo that was killed left; False if there is nothing. BlockingIOError: one starts or ends.
def clear():
    try:
        fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.isdir(DIRECTORY) or not os.path.samestat(os.fstat(fd), os.stat(DIRECTORY)):
            return False  # its owner has removed it meanwhile
        remove()
        return True
    finally:
        os.close(fd)


def listen():
    if os.path.lexists(CONTROL):
        os.unlink(CONTROL)  # of a demo that was killed
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(CONTROL)
    os.chmod(CONTROL, 0o600)
    server.listen(4)
    return server


# The running demo's answer to "state" or "stop" (which comes when it has ended); None if none runs.
def ask(question):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(CONTROL)
            sock.send(question.encode())
            return json.loads(sock.recv(1 << 20) or b"null")
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            return None
