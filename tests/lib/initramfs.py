# SPDX-License-Identifier: BSD-3-Clause
# A guest's root file system in memory: busybox, an init script, and the kernel modules it names,
# as a cpio archive, gzipped or not (the kernel's Documentation/driver-api/early-userspace/
# buffer-format).
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


# `files`: by name, a program's text or bytes; "init" as text is a script, for which the modules are
# loaded, as bytes a program that does so: their paths are in /modules.
def write(path, kernel, modules, files, packed=True):
    entries = [(name, 0o040755, b"") for name in ("bin", "dev", "proc", "sys", "lib")]
    with open(shutil.which("busybox"), "rb") as file:
        entries.append(("bin/busybox", 0o100755, file.read()))
    paths = []
    for source in _modules(kernel, modules):
        paths.append("/lib/" + os.path.basename(source))
        with open(source, "rb") as file:
            entries.append((paths[-1][1:], 0o100644, file.read()))
    entries.append(("modules", 0o100644, "".join(f"{name}\n" for name in paths).encode()))
    begin = ("#!/bin/busybox sh\n/bin/busybox --install -s /bin\nmount -t proc proc /proc\n"
             "mount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n")
    begin += "".join(f"insmod {name}\n" for name in paths)
    for name, what in files.items():
        if isinstance(what, str):
            what = (begin + what if name == "init" else what).encode()
        entries.append((name, 0o100755, what))
    entries.append(("TRAILER!!!", 0, b""))
    with gzip.open(path, "wb", compresslevel=1) if packed else open(path, "wb") as out:
        for number, entry in enumerate(entries, 1):
            out.write(_entry(number, *entry))
