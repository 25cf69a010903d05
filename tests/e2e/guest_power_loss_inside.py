# SPDX-License-Identifier: BSD-3-Clause
# Inside the outer machine: disks of guests are files on a disk of ours. First, what was
# acknowledged to each guest before the power went is looked for; then all go on, and what they are
# told is reported, until the power goes in the middle of it. Started by guest_power_loss.py.
# Arguments: how many more numbers are enough for each (0: only look), and KIND=N each: below N all
# were acknowledged as durable.
import os
import random
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), name) for name in ("kvm", "lib")]

# pylint: disable=wrong-import-position
import journal
import machine as machines

SOCKET = "/run/disk.sock"
IMAGE_SIZE = 8 << 20
NO_FLUSH = f"features={~(1 << 9) & (1 << 64) - 1:#x}"
# kind of disk: the words of --disk, of the guest's command line, and what its lines of what is
# durable begin with
KINDS = {
    "cached": ("file={path}", "", "flushed"),
    "direct": ("file={path},direct,queues=2", "", "flushed"),
    "without-flush": ("file={path}", NO_FLUSH, "written"),
    "qcow2": (f"vhost-user={SOCKET}", "", "flushed"),
}


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def path_of(kind):
    return f"/mnt/disk.{kind}"


def make(kind):
    if kind == "qcow2":
        run("qemu-img", "create", "-q", "-f", "qcow2", path_of(kind), str(IMAGE_SIZE))
    else:
        with open(path_of(kind), "wb") as file:
            file.truncate(IMAGE_SIZE)


# The first bytes of the disk, as its guest sees them.
def content(kind):
    path = path_of(kind)
    if kind == "qcow2":
        path = "/run/disk.raw"
        run("qemu-img", "check", "-q", "-f", "qcow2", path_of(kind))
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path_of(kind), path)
    with open(path, "rb") as file:
        return file.read(journal.SIZE)


# The other process of a qcow2 image; it listens when this returns.
def serve(path):
    # pylint: disable=consider-using-with
    daemon = subprocess.Popen([
        "qemu-storage-daemon", "--blockdev",
        f"node-name=d,driver=qcow2,file.driver=file,file.filename={path}", "--export",
        f"vhost-user-blk,id=d,node-name=d,writable=on,addr.type=unix,addr.path={SOCKET}"])
    while not os.path.exists(SOCKET):
        if daemon.poll() is not None:
            raise RuntimeError(f"qemu-storage-daemon ended with {daemon.returncode}")
        time.sleep(0.05)


# Reports what the guest is told, for ever; `enough` is set when it was told so many.
def go_on(report, kind, durable, n_enough, enough):
    words, keys, word = KINDS[kind]
    if kind == "qcow2":
        serve(path_of(kind))
    machine = machines.Machine(machines.command(
        f"blk-journal:{journal.SLOTS}:{durable}", "--disk", words.format(path=path_of(kind)),
        keys=keys))
    while True:
        number = journal.last([machine.wait(word)], word)
        # Returns when the other side has it.
        os.write(report, f"durable {kind} {number}\n".encode())
        if number >= durable + n_enough:
            enough.set()


# The power goes at no particular moment after all have been told enough.
def lose_power(all_enough):
    for enough in all_enough:
        enough.wait()
    time.sleep(random.random() * 0.3)
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as file:
        file.write("b")


def look(report, durable):
    for kind, number in durable.items():
        if number == 0:
            make(kind)
        try:
            lost = journal.lost(content(kind), number)
        except subprocess.CalledProcessError as error:
            lost = repr(error)
        if lost:
            os.write(report, f"lost {kind}: {lost}\n".encode())
    os.sync()


def main():
    report = os.open(os.environ["OUTER_REPORT"], os.O_WRONLY)
    n_enough = int(sys.argv[1])
    durable = {kind: int(number) for kind, number in (word.split("=") for word in sys.argv[2:])}
    run("mount", "-t", "ext4", "/dev/vda", "/mnt")
    look(report, durable)
    os.write(report, b"found\n")
    if not n_enough:
        return
    preload = os.environ.pop("POWER_LOSS_PRELOAD", "")
    if preload:
        os.environ["LD_PRELOAD"] = preload
    all_enough = []
    for kind, number in durable.items():
        all_enough.append(threading.Event())
        threading.Thread(target=go_on, args=(report, kind, number, n_enough, all_enough[-1]),
                         daemon=True).start()
    lose_power(all_enough)


main()
