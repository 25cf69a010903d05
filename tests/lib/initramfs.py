# SPDX-License-Identifier: BSD-3-Clause
# A guest's root file system in memory: busybox, an init script, and the kernel modules it names,
# as a gzipped cpio archive (the kernel's Documentation/driver-api/early-userspace/buffer-format).
import gzip
import os
import shutil


# The path of each module's file, in the order given.
def _modules(kernel, names):
    found = {}
    for folder, _, files in os.walk(os.path.join(kernel, "lib", "modules")):
        found |= {file[:-3]: os.path.join(folder, file) for file in files if file.endswith(".ko")}
    return [found[name] for name in names if name in found]  # else it is built in


def _entry(number, name, mode, data):
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def write(path, kernel, modules, files):
    entries = [(name, 0o040755, b"") for name in ("bin", "dev", "proc", "sys", "lib")]
    with open(shutil.which("busybox"), "rb") as file:
        entries.append(("bin/busybox", 0o100755, file.read()))
    load = ""
    for source in _modules(kernel, modules):
        with open(source, "rb") as file:
            entries.append(("lib/" + os.path.basename(source), 0o100644, file.read()))
        load += f"insmod /lib/{os.path.basename(source)}\n"
    begin = ("#!/bin/busybox sh\n/bin/busybox --install -s /bin\nmount -t proc proc /proc\n"
             "mount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n")
    for name, text in files.items():
        text = begin + load + text if name == "init" else text
        entries.append((name, 0o100755, text.encode()))
    entries.append(("TRAILER!!!", 0, b""))
    with gzip.open(path, "wb", compresslevel=1) as out:
        for number, entry in enumerate(entries, 1):
            out.write(_entry(number, *entry))
