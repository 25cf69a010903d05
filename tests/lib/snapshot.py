# SPDX-License-Identifier: BSD-3-Clause
# What a network program can leave behind, as a flat {"kind: thing": value} that two points in time
# can be compared by. `snapshot.py` run as a program prints the network part for the namespace it is
# in. Used by the demo (host before/after, sandbox before/after) and by tests/net.
import hashlib
import json
import os
import stat
import subprocess
import sys

# Counters and caches that change by themselves.
VOLATILE_SYSCTLS = ("nf_conntrack_count", "route/flush", "nf_conntrack_max", "nf_conntrack_buckets")


def _json(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []


def _links(items):
    for link in _json("ip", "-j", "-d", "link", "show"):
        kind = link.get("linkinfo", {}).get("info_kind", "")
        up = "UP" in link["flags"]
        items[f"link: {link['ifname']}"] = (
            f"index {link['ifindex']} {kind} {link.get('address', '')} mtu {link['mtu']} "
            f"master {link.get('master', '-')} {'up' if up else 'down'}")


def _addresses(items):
    for link in _json("ip", "-j", "address", "show"):
        for a in link.get("addr_info", []):
            key = f"address: {link['ifname']} {a['local']}/{a['prefixlen']}"
            items[key] = f"{a.get('scope')} {a.get('label', '')}"


def _routes(items):
    for family in ("-4", "-6"):
        for r in _json("ip", "-j", family, "route", "show", "table", "all"):
            words = (r.get(k, "") for k in ("type", "dst", "gateway", "dev", "table", "prefsrc"))
            items[f"route: {family} {' '.join(map(str, words))}"] = str(r.get("metric", ""))


# Rules without their counters and handles, which no one set.
def _strip(value):
    if isinstance(value, dict):
        return {k: _strip(v) for k, v in value.items() if k not in ("handle", "packets", "bytes")}
    return [_strip(v) for v in value] if isinstance(value, list) else value


def _nft(items):
    ruleset = _json("nft", "-j", "list", "ruleset") or {}
    for entry in ruleset.get("nftables", []) if ruleset else []:
        kind, body = next(iter(entry.items()))
        if kind == "metainfo":
            continue
        table = body["name"] if kind == "table" else body.get("table", "")
        text = json.dumps(_strip(body), sort_keys=True)
        key = f"nft: {body.get('family')} {table} {kind}"
        items[key] = items.get(key, "") + text


def _sysctls(items, top="/proc/sys/net"):
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if path.endswith(VOLATILE_SYSCTLS):
                continue
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    items[f"sysctl: {path[len('/proc/sys/'):]}"] = file.read().strip()
            except OSError:
                pass  # write-only, or gone with its interface


def network():
    items = {}
    for part in (_links, _addresses, _routes, _nft, _sysctls):
        part(items)
    return items


def _mounts(items):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            key = f"mount: {fields.split()[4]}"
            while key in items:
                key += " once more"
            items[key] = rest.split()[0]


def _ancestors():
    pid, found = os.getpid(), set()
    while pid > 0:
        found.add(pid)
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


# Processes whose command line holds one of `words` (all of them without words), except our own
# line.
def _processes(items, words):
    own = _ancestors()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line and int(name) not in own and (not words or any(w in line for w in words)):
            items[f"process: {name} {line[:160]}"] = ""


def _file(items, path):
    try:
        info = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(info.st_mode):
        items[f"file: {path}"] = f"link to {os.readlink(path)}"
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            items[f"file: {path}"] = hashlib.sha256(file.read()).hexdigest()
    else:
        items[f"file: {path}"] = "there"


def machine(words, paths):
    items = {}
    _mounts(items)
    _processes(items, words)
    for path in ("/etc/resolv.conf", os.path.realpath("/etc/resolv.conf"), *paths):
        _file(items, path)
    return items


# Differences as sentences.
def compare(before, after):
    lines = [f"left behind: {k} {v}".rstrip() for k, v in after.items() if k not in before]
    lines += [f"gone: {k} {v}".rstrip() for k, v in before.items() if k not in after]
    lines += [f"changed: {k}: {before[k]} -> {v}" for k, v in after.items()
              if k in before and before[k] != v]
    return sorted(lines)


if __name__ == "__main__":
    json.dump(network(), sys.stdout)
