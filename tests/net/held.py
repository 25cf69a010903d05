# SPDX-License-Identifier: BSD-3-Clause
# The stored configuration is one that this insulad refuses, as after an upgrade whose checks are
# stricter: insulad serves and says why, what runs is left as it is, also when the switch dies or an
# apply fails, and an apply mends it. What was taken once, keys with nothing behind them for empty
# lists, is in force as before, and is written out. In a sandbox.
import json
import os
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox
import snapshot

GUESTS = ("red-1", "red-2", "blue-1")
REASON = "the stored configuration:2: unknown key \"surprise\""
DOCUMENT = {"version": 1, "uplinks": [{"name": "internet", "mode": "nat"}],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], "internet"),
                        laptops.tenant("blue", 20, ["10.0.0.11"], "internet")]}


def works(lab):
    return all(lab.probe("tcp", g, "internet", laptops.ROUTER) == laptops.OWN for g in GUESTS)


# The apply of a file that no insulad of today would have taken.
def store(text):
    db = sqlite3.connect(os.path.join(os.environ["INSULA_STATE_DIR"], "insula.db"))
    db.execute("UPDATE meta SET value = ? WHERE key = 'yaml'", (text.encode(),))
    db.commit()
    db.close()


def refuse_stored():
    store("version: 1\nsurprise: yes\n")


def taps():
    return [json.loads(netns.ip(g, "-j", "link", "show", "eth0"))[0]["ifindex"] for g in GUESTS]


def check_held(lab):
    [warning] = [w for w in lab.warnings() if "stored configuration" in w]
    assert REASON in warning and "insula config" in warning, warning
    assert REASON in lab.log() and lab.list("port") == []
    assert lab.insula("config") == "version: 1\nsurprise: yes"


def check_mended(lab, before):
    lab.apply_document(DOCUMENT)
    assert lab.warnings() == [] and works(lab), lab.warnings()
    assert taps() == before, "taps were made anew"
    assert len(lab.list("port")) == 4 and len(lab.list("lease")) == 3, lab.list("lease")


def test_insulad_killed(lab):
    before, [switch] = taps(), labs.processes("insula-switch")
    lab.kill("insulad")
    refuse_stored()
    lab.start()
    check_held(lab)
    assert labs.processes("insula-switch") == [switch] and works(lab)
    lab.kill("insula-switch")
    assert works(lab), "it does not come back as it was"
    wrong = DOCUMENT | {"tenants": DOCUMENT["tenants"] + [laptops.tenant("new", 30, ["10.0.0.11"])]}
    status, text = lab.try_document("apply", wrong)
    assert status == 1 and "ip netns add new-1" in text, text
    assert works(lab) and taps() == before, "a failing apply changed something"
    check_held(lab)
    lab.kill("insulad")
    lab.start()
    check_held(lab)
    check_mended(lab, before)


def test_both_killed(lab):
    before = taps()
    for program in ("insulad", "insula-switch"):
        lab.kill(program)
    refuse_stored()
    lab.start()
    check_held(lab)
    check_mended(lab, before)


# As older insulads took it, and wrote it where the last of a list was deleted.
def test_nothing_behind(lab):
    before = taps()
    text = json.dumps(DOCUMENT | {"tenants": DOCUMENT["tenants"] + [{"name": "new"}]}, indent=1)
    assert text.startswith("{") and text.count('"name": "new"') == 1
    text = text.replace('"name": "new"', '"name": "new", "networks": # none\n, "instances": [ONE]')
    text = text.replace("ONE", '{"name": "one", "nics": }')
    text = text.replace("{", '{"settings": , "trunks": ~,', 1)
    for programs in (["insulad"], ["insulad", "insula-switch"]):
        for program in programs:
            lab.kill(program)
        store(text)
        lab.start()
        assert lab.warnings() == [] and works(lab) and taps() == before, lab.warnings()
        assert len(lab.list("port")) == 4 and len(lab.list("lease")) == 3, lab.list("lease")
    mended = text
    for old, new in (('"networks": #', '"networks": [] #'), ('"trunks": ~', '"trunks": []'),
                     ('"settings":', '"settings": {}'), ('"nics": }', '"nics": [] }')):
        assert mended.count(old) == 1, old
        mended = mended.replace(old, new)
    assert lab.insula("config") == mended.strip(), lab.insula("config")
    for command in ("diff", "apply"):
        path = os.path.join(sandbox.DIRECTORY, "mended.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(lab.insula("config"))
        lab.insula(command, "-f", path)
    lab.insula("instance", "delete", "new/one")
    assert '"instances": []' in lab.insula("config") and taps() == before
    lab.apply_document(DOCUMENT)
    assert works(lab) and taps() == before


# Stopped while it is held: all goes.
def test_stop(lab, before):
    lab.kill("insulad")
    refuse_stored()
    lab.start()
    check_held(lab)
    errors = lab.stop()
    assert not errors, errors
    left = snapshot.compare(before, snapshot.network())
    assert not left, "\n".join(left)
    for guest in GUESTS:
        assert "eth0" not in netns.ip(guest, "link", "show"), guest


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(DOCUMENT)
    lab.go_online()
    with open("/etc/resolv.conf", "w", encoding="utf-8") as file:
        file.write(f"nameserver {laptops.ROUTER}\n")
    before = snapshot.network()
    try:
        lab.start()
        lab.apply_document(DOCUMENT)
        lab.lease()
        assert works(lab)
        for test, words in ((test_insulad_killed, ()), (test_both_killed, ()),
                            (test_nothing_behind, ()), (test_stop, (before,))):
            test(lab, *words)
            print(f"ok {test.__name__}", flush=True)
    finally:
        lab.stop()


main()
