# SPDX-License-Identifier: BSD-3-Clause
# What the demo prints and what it writes as JSON, from what was observed. Called by inside.py
# (tables, as they come) and demo.py (verdict and file).
import json


def table(rows, columns):
    lines = [columns] + [[str(row.get(c, "")) for c in columns] for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return "\n".join("  " + "  ".join(w.ljust(n) for w, n in zip(line, widths)).rstrip()
                     for line in lines)


def _mark(cell):
    observed, expected = ("yes" if cell[k] else "-" for k in ("observed", "expected"))
    return observed if observed == expected else f"{observed}, NOT {expected}"


# One row per source, one column per target, "ping/tcp" in each.
def matrix(cells):
    names = list(dict.fromkeys(c["from"] for c in cells))
    at = {(c["from"], c["to"], c["proto"]): c for c in cells}
    rows = []
    for source in names:
        row = {"from \\ to": source}
        for target in names:
            pair = [at.get((source, target, p)) for p in ("ping", "tcp")]
            row[target] = " / ".join(_mark(c) for c in pair) if all(pair) else "."
        rows.append(row)
    return table(rows, ["from \\ to", *names])


def wrong_cells(cells):
    for c in cells:
        if c["observed"] != c["expected"]:
            yield (f"{c['from']} -> {c['to']} {c['proto']}: the policy says "
                   f"{'reached' if c['expected'] else 'not reached'}, observed "
                   f"{'reached' if c['observed'] else 'not reached'}"
                   f" (recorded by: {', '.join(c.get('answered_by') or ['nobody'])})")


def _only(row, *keys):
    return {k: row[k] for k in keys}


# The file's shape is documented in tests/demo/README.md; nothing else is in it.
def document(results, ok):
    return {
        "ok": ok,
        "leases": [_only(r, "instance", "address") for r in results.get("leases", [])],
        "matrix": [_only(c, "from", "to", "proto", "expected", "observed")
                   for c in results.get("matrix", [])],
        "iperf": results.get("iperf", {"gbps": 0, "bridge_gbps": 0}),
        "snat": [_only(r, "instance", "proto", "bytes", "hash_ok")
                 for r in results.get("snat", [])],
        "memory_kib": results.get("memory_kib", {"switch": 0, "control": 0}),
        "vms": results.get("vms", 0),
    }


def write(path, results, ok):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document(results, ok), file, indent=2)
        file.write("\n")
