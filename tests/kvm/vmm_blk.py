# SPDX-License-Identifier: BSD-3-Clause
# The test guest and its disks in insula-vmm: everything a disk does, with each option, compared by
# the host; refusals; a full disk and a file cut short; machines killed. Called by test_vmm_blk.sh
# in a mount namespace of its own.
import json
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
from disks import FOLDER, MIB, SECTOR, Machine, image, read, run, run_cases
from guest_qemu import PLAIN_RINGS, pattern

# Without VIRTIO_BLK_F_FLUSH: each write is answered when it is on the disk.
NO_FLUSH = f"features={~(1 << 9) & (1 << 64) - 1:#x}"

EVERYTHING = ("disk:0,blk-id,blk-is-zero:99:2,blk-write:100:5000:7,blk-verify:100:5000:7:3,"
              "blk-write:300:77:8:1,blk-flush,blk-verify:100:200:7:128,blk-verify:300:77:8,"
              "blk-zero:8000:1000,blk-discard:9000:8,blk-is-zero:8000:20,"
              "blk-refused:read:16384:1,blk-refused:read:16383:2,blk-refused:write:16383:2,"
              "blk-refused:write:36028797018963967:1,blk-refused:77:0:1,blk-refused:14:0:1")


def check_everything(path, words, options):
    lines = run(EVERYTHING, f"file={path},serial=a-serial{words}", options=options)
    assert "ok blk-id a-serial" in lines, lines
    assert any(line.startswith("ok disk 0 sectors 16384 ") for line in lines), lines
    expected = bytearray(8 * MIB)
    expected[100 * SECTOR:5100 * SECTOR] = pattern(7, 100 * SECTOR, 5000 * SECTOR)
    expected[300 * SECTOR:377 * SECTOR] = pattern(8, 300 * SECTOR, 77 * SECTOR)
    assert read(path) == expected


def test_everything():
    for words, options in (("", ""), ("", PLAIN_RINGS), (",direct", ""), (",queues=3", "poll"),
                           (",direct", NO_FLUSH), ("", NO_FLUSH)):
        check_everything(image("disk"), words, options)


# A file system that can make holes but no allocated zeroes.
def test_tmpfs():
    folder = os.path.join(FOLDER, "tmpfs")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], check=True)
    check_everything(image("tmpfs/disk"), "", "")
    # full: an I/O error each; what was written before stays
    path = image("tmpfs/disk")
    run("disk:0,blk-write:0:4000:3,blk-flush", f"file={path}")
    with open(os.path.join(folder, "filler"), "wb", 0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            print(f"filled: {error}")
    lines = run("disk:0,blk-refused:write:8000:8,blk-refused:write:16000:8,blk-flush,"
                "blk-verify:0:4000:3,blk-discard:0:4000,blk-write:8000:8:4,blk-verify:8000:8:4",
                f"file={path}")
    told = [line for line in lines if line.startswith("insula-vmm: ")]
    assert told == ["insula-vmm: disk disk0: write of 4096 bytes at 4096000 failed: "
                    "No space left on device"], told
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_readonly():
    content = pattern(5, 0, 1000 * SECTOR)
    path = image("readonly", 1000 * SECTOR, content)
    os.chmod(path, 0o444)
    run("disk:0,blk-verify:0:1000:5,blk-refused:write:0:1,blk-refused:11:0:1,blk-refused:13:0:1,"
        "blk-flush", f"file={path},readonly", f"file={path},readonly,direct")
    assert read(path) == content


# Whoever has looked at the file has this one opened, or none.
def test_inode():
    path, other = image("looked-at"), image("not-looked-at")
    st = os.stat(path)
    named = f"inode={st.st_dev:x}:{st.st_ino:x}"
    run("disk:0,blk-write:0:8:1,blk-flush", f"file={path},{named}")
    os.replace(other, path)
    refused(f"file={path},{named}", path, "another file than its inode= names")
    assert read(path, 0, 8) == bytes(8 * SECTOR)


# The size is what the file has in whole sectors; a second disk is another one.
def test_two_disks():
    first, second = image("first", 1000 * SECTOR + 511), image("second", 64 * MIB)
    lines = run("disk:0,blk-write:0:1000:1,blk-refused:write:1000:1,disk:1,blk-write:131000:72:2,"
                "disk:0,blk-verify:0:1000:1,disk:1,blk-verify:131000:72:2",
                f"file={first}", f"file={second},direct,queues=16")
    assert any(line.startswith("ok disk 0 sectors 1000 ") for line in lines), lines
    assert read(first) == pattern(1, 0, 1000 * SECTOR) + bytes(511)
    assert read(second, 131000, 72) == pattern(2, 131000 * SECTOR, 72 * SECTOR)


# H-34: what is in a file never says what it is, also if the guest writes a header there that all
# who probe take for a qcow2 image upon another file.
def test_raw_is_raw():
    secret = image("secret", content=b"not for this guest" * 100)
    path = image("format", 1000 * SECTOR)
    run(f"disk:0,blk-write:0:1000:6,blk-qcow2:{secret},blk-flush", f"file={path}")
    # -U: the last machine's ring may still have its lock
    probed = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path],
                                       check=True, text=True, stdout=subprocess.PIPE).stdout)
    assert (probed["format"], probed["backing-filename"]) == ("qcow2", secret), probed
    header = read(path, 0, 1)
    lines = run("disk:0,blk-verify:1:999:6,blk-refused:read:1000:1,blk-write:500:500:7,blk-flush",
                f"file={path}")
    assert any(line.startswith("ok disk 0 sectors 1000 ") for line in lines), lines
    assert read(path) == (header + pattern(6, SECTOR, 499 * SECTOR) +
                          pattern(7, 500 * SECTOR, 500 * SECTOR))


def refused(disk, *words, status=1):
    machine = Machine("disk:0", [disk])
    code, text = machine.end(), " ".join(machine.lines)
    assert code == status and all(word in text for word in words), (disk, code, machine.lines)
    print(text[:200])


def test_refused():
    path = image("some")
    refused("file=/no/such/file", "/no/such/file", "No such file")
    refused(f"file={FOLDER}", FOLDER, "neither a regular file nor a block device")
    fifo = os.path.join(FOLDER, "fifo")
    os.mkfifo(fifo)
    refused(f"file={fifo}", fifo, "neither")
    refused("file=/dev/null", "/dev/null", "neither")
    refused(f"file={image('empty', 511)}", "empty", "smaller than a sector")
    for words in ("", f"file={path},queues=0", f"file={path},queues=17", f"file={path},serial",
                  f"file={path},inode=1", f"file={path},inode=:1", f"file={path},inode=1:",
                  f"file={path},inode=1:g", f"file={path},inode=-1:1", f"file={path},inode",
                  f"file={path},serial={'x' * 21}", f"file={path},readonly=1", "readonly",
                  f"file={path},format=qcow2", "file="):
        refused(words, "--disk", status=2)


def test_in_use():
    path = image("used")
    machine = Machine("disk:0,sleep:1000000", [f"file={path}"])
    machine.wait("ok disk")
    refused(f"file={path}", path, "somebody else uses it")
    refused(f"file={path},readonly", path, "somebody else uses it")
    machine.process.send_signal(signal.SIGTERM)
    machine.end()


def test_cut_short():
    path = image("short")
    machine = Machine("disk:0," + ",".join(["blk-is-zero:9000:100"] * 2000), [f"file={path}"])
    machine.wait("ok disk")
    os.truncate(path, 4 * MIB)
    machine.wait("fail blk-is-zero")
    assert machine.end() == 0
    told = [line for line in machine.lines if line.startswith("insula-vmm: ")]
    line = "insula-vmm: disk disk0: read of 512 bytes at "
    assert len(told) == 1 and told[0].startswith(line), told
    assert told[0].endswith(" failed: its file ends before"), told


# What was flushed is there whatever comes then, and the machine that comes next has the disk as
# soon as nothing of the last one's is under way: its own writes are not written over.
def test_killed():
    path = image("killed")
    for i in range(10):
        base = i * 100
        later = ",".join(f"blk-write:0:8000:{base + n}:1" for n in range(1, 20))
        machine = Machine(f"disk:0,blk-write:8000:1000:{base},blk-flush,{later}",
                          [f"file={path}" + (",direct" if i % 2 else "")])
        machine.wait("ok blk-flush")
        machine.process.send_signal(signal.SIGKILL)
        machine.end()
        run(f"disk:0,blk-verify:8000:1000:{base},blk-write:0:8000:77777,blk-flush,"
            "blk-verify:0:8000:77777", f"file={path}")
        assert read(path, 8000, 1000) == pattern(base, 8000 * SECTOR, 1000 * SECTOR)


# Ends at once, with what was taken answered, though the guest always has more under way.
def test_ended():
    path = image("ended")
    for _ in range(5):
        machine = Machine("disk:0," + ",".join(["blk-write:0:16000:3:1"] * 50), [f"file={path}"])
        machine.wait("ok blk-write")
        machine.process.send_signal(signal.SIGTERM)
        assert machine.end() == 128 + signal.SIGTERM, machine.process.returncode
    # the guest's own reset, with its disks at work
    machine = Machine("disk:0,blk-write:0:16000:4:1,blk-verify:0:16000:4,triple-fault",
                      [f"file={path}"])
    machine.wait("ok triple-fault")
    assert machine.end() == 0


run_cases(globals())
