# SPDX-License-Identifier: BSD-3-Clause
# MTUs that do not fit: an uplink's interface whose MTU somebody else changes is told of and set
# back by the next apply; one that was renamed is told of, and gets its MTU back all the same; a
# network with a larger MTU than its uplink is warned of with both numbers. And two uplinks that
# both fall back to nat, for which there is room once. In a sandbox.
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

UPLINK = "internet"


def document(mtu=1500):
    return {"version": 1,
            "uplinks": [{"name": UPLINK, "mode": "routed", "address": "198.51.100.9/24",
                         "gateway": laptops.ROUTER, "interface": "wlan0", "mtu": mtu}],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11"], UPLINK)]}


def mtu_of(name):
    return json.loads(netns.ip("", "-j", "link", "show", name))[0]["mtu"]


def test_changed_underneath(lab):
    netns.ip("", "link", "set", "wlan0", "mtu", "1400")
    said = "the MTU of its interface wlan0 was changed to 1400"
    deadline = time.monotonic() + 5  # it hears of it by netlink
    while said not in lab.log():
        assert time.monotonic() < deadline, lab.log()
        time.sleep(0.02)
    assert any(said in w and "1500" in w for w in lab.warnings()), lab.warnings()
    [uplink] = lab.list("uplink")
    assert said in uplink["trouble"] and uplink["state"] == "up", uplink
    status, text = lab.try_document("diff", document())
    assert status == 1 and "the MTU of wlan0 is set back to 1500" in text, (status, text)
    assert mtu_of("wlan0") == 1400, "diff changed it"
    text = lab.apply_document(document())
    assert "set back to 1500" in text and mtu_of("wlan0") == 1500, text
    assert not lab.warnings() and "trouble" not in lab.list("uplink")[0], lab.warnings()
    assert lab.try_document("diff", document()) == (0, "")


# Waits for what insulad hears of by netlink, without asking it, which would make it look.
def wait_for_log(lab, mark, said):
    deadline = time.monotonic() + 5
    while said not in lab.log()[mark:]:
        assert time.monotonic() < deadline, lab.log()[mark:]
        time.sleep(0.02)


def wait_for(condition, say):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, say()
        time.sleep(0.05)


# A new cable in the place of the one that was deleted.
def plug_in():
    netns.veth("", "wlan0", labs.INTERNET_NETNS, "eth0")
    netns.ip(labs.INTERNET_NETNS, "address", "add", f"{laptops.ROUTER}/24", "dev", "eth0")


def rename(old, new):
    for words in ((old, "down"), (old, "name", new, "up")):
        netns.ip("", "link", "set", *words)


def way_out(lab):
    return lab.probe("tcp", "red-1", "internet", laptops.ROUTER)


def test_renamed_underneath(lab):
    mark = len(lab.log())
    rename("wlan0", "wan7")
    said = "its interface wlan0 was renamed to wan7"
    wait_for_log(lab, mark, said)
    assert way_out(lab), "the renamed interface carries nothing"
    [uplink] = lab.list("uplink")
    assert said in uplink["trouble"] and uplink["state"] == "up", uplink
    # Neither blocks an apply nor is undone by one, and one that fails leaves it alone.
    word = f"insula: port {UPLINK}: {uplink['trouble']}\n"
    assert lab.try_document("diff", document()) == (0, word)
    assert lab.apply_document(document()).endswith(word)
    # Another of its old name is not the uplink's, nor is its end.
    netns.ip("", "link", "add", "wlan0", "type", "bridge")
    netns.ip("", "link", "del", "wlan0")
    assert lab.try_document("diff", document()) == (0, word)
    for command in uplink["trouble"].split("`")[1::2]:
        netns.run(*command.split())
    wait_for(lambda: not lab.warnings(), lab.warnings)
    assert lab.try_document("diff", document()) == (0, "") and way_out(lab)
    rename("wlan0", "wan7")
    wait_for(lambda: said in str(lab.warnings()), lab.warnings)
    mark = len(lab.log())
    netns.ip("", "link", "del", "wan7")
    wait_for_log(lab, mark, "its interface was deleted underneath")
    plug_in()
    wait_for_log(lab, mark, f"port {UPLINK}: its device is back")
    assert way_out(lab) and not lab.warnings(), lab.warnings()


# Stopping, and an apply that goes without it: the interface is as it was, under its new name.
def test_renamed_and_let_go(lab):
    lab.apply_document(document(1400))
    assert mtu_of("wlan0") == 1400
    rename("wlan0", "wan7")
    lab.stop_insulad()
    assert mtu_of("wan7") == 1500, "stop forgot it"
    rename("wan7", "wlan0")
    lab.start()
    lab.apply_document(document(1400))
    assert mtu_of("wlan0") == 1400
    rename("wlan0", "wan7")
    without = document(1400)
    without["uplinks"][0]["interface"] = "gone0"
    lab.apply_document(without)  # falls back to nat
    assert mtu_of("wan7") == 1500, "the apply forgot it"
    rename("wan7", "wlan0")
    lab.apply_document(document())


# The name is another's meanwhile: that one has to go first. Done as it says, all is well.
def test_name_taken(lab):
    lab.apply_document(document())
    rename("wlan0", "wan7")
    netns.ip("", "link", "add", "wlan0", "type", "bridge")
    said = "another one is called wlan0 now; give that one another name, then `ip link set wan7 d"
    wait_for(lambda: said in str(lab.warnings()), lab.warnings)
    [uplink] = lab.list("uplink")
    rename("wlan0", "other7")
    for command in uplink["trouble"].split("`")[1::2]:
        netns.run(*command.split())
    wait_for(lambda: not lab.warnings(), lab.warnings)
    netns.ip("", "link", "del", "other7")


def exchange():
    rename("up7", "third7")
    rename("up8", "up7")
    rename("third7", "up8")


# Two uplinks' interfaces exchange their names, unseen and seen: each gets its own MTU back, not the
# other's nor ours, and none while it is in use.
def test_names_exchanged(lab):
    both = document()
    for name, mtu, address in (("up7", "1300", "192.0.2.9/24"), ("up8", "1400", "203.0.113.9/24")):
        netns.ip("", "link", "add", name, "mtu", mtu, "type", "bridge")
        both["uplinks"].append({"name": f"by-{name}", "mode": "routed", "address": address,
                                "interface": name})
    lab.apply_document(both)
    assert (mtu_of("up7"), mtu_of("up8")) == (1500, 1500)
    lab.kill("insulad")
    lab.kill("insula-switch")
    exchange()
    lab.start()
    assert (mtu_of("up7"), mtu_of("up8")) == (1500, 1500), "put back while in use"
    lab.stop_insulad()
    assert (mtu_of("up7"), mtu_of("up8")) == (1400, 1300), "exchanged with the names"
    lab.start()
    exchange()
    wait_for(lambda: len(lab.warnings()) >= 2, lab.warnings)
    both["uplinks"][1]["mtu"] = 1480
    lab.apply_document(both)
    assert "by-up8: its interface up8 was renamed to up7" in str(lab.warnings()), lab.warnings()
    assert (mtu_of("up7"), mtu_of("up8")) == (1480, 1400), "both are on up7, none on up8"
    lab.apply_document(document())
    assert (mtu_of("up7"), mtu_of("up8")) == (1300, 1400), "the apply forgot one"
    for name in ("up7", "up8"):
        netns.ip("", "link", "del", name)


def test_smaller_than_the_network(lab):
    for words in (lab.try_document("diff", document(1400))[1],
                  lab.apply_document(document(1400)), " ".join(lab.warnings())):
        assert "network red/lan: its MTU is 1500" in words and "internet 1400" in words, words
        assert "`mtu: 1400`" in words, words
    smaller = document(1400)
    smaller["tenants"][0]["networks"][0]["mtu"] = 1400
    assert "its MTU is" not in lab.apply_document(smaller) and not lab.warnings(), lab.warnings()
    lab.apply_document(document())


def test_two_fall_back(lab):
    both = document()
    both["uplinks"][0]["interface"] = "gone0"
    both["uplinks"].append({"name": "second", "mode": "routed", "address": "192.0.2.9/24",
                            "interface": "gone1"})
    status, text = lab.try_document("apply", both)
    assert status == 1 and "nothing has been changed" in text, text
    for words in ("port second: ", "gone1", "its last resort is nat, which uplink internet has",
                  "take one of the two out"):
        assert words in text, f"no '{words}' in: {text}"
    assert "link del" not in text, text
    assert lab.try_document("diff", document()) == (0, "")


# The file's uplink of mode nat has nat, whoever fell back to it before and wherever it stands: the
# other fails in the same words as where there was nothing, which diff says before.
def test_nat_is_its_own(lab):
    alone = {"version": 1, "tenants": [laptops.tenant("red", 10, ["10.0.0.11"], "wan")],
             "uplinks": [{"name": "wan", "mode": "routed", "address": "192.0.2.9/24",
                          "interface": "wan7"}]}
    for more in ({}, {"interface": "other0"}):
        both = alone | {"uplinks": [*alone["uplinks"], {"name": UPLINK, "mode": "nat"} | more]}
        for wanted in (both, both | {"uplinks": both["uplinks"][::-1]}):
            check_nat_is_its_own(lab, alone, wanted)
    # With its interface there is no quarrel; and none when that is gone and all starts anew.
    netns.ip("", "link", "add", "wan7", "type", "bridge")
    text = lab.apply_document(both)
    assert f"nat goes to uplink {UPLINK}" in text, text
    netns.ip("", "link", "del", "wan7")
    wait_for(lab.warnings, lambda: "nothing is said of wan7")
    assert not lab.stop_insulad()
    lab.start()
    now = {u["name"]: u for u in lab.list("uplink")}
    assert now[UPLINK]["state"] in ("up", "down") and now[UPLINK]["mode"] == "nat", now
    assert now["wan"]["state"] == "broken" and now["wan"]["mode"] == "routed", now
    for words in (" ".join(lab.warnings()), lab.try_document("diff", both)[1]):
        assert f"which uplink {UPLINK} has" in words and "falls back" not in words, words
    lab.apply_document(document())


def check_nat_is_its_own(lab, alone, both):
    lab.apply_document({"version": 1})
    planned = lab.try_document("diff", both)
    from_nothing = lab.try_document("apply", both)
    assert from_nothing[0] == 1, from_nothing
    for words in ("port wan: ", "wan7", f"its last resort is nat, which uplink {UPLINK} has",
                  "take one of the two out", "nothing has been changed"):
        assert words in from_nothing[1], f"no '{words}' in: {from_nothing[1]}"
    assert "nat through" in lab.apply_document(alone)
    foreseen = lab.try_document("diff", both)
    reason = from_nothing[1].splitlines()[0].partition("port wan")[2]
    for status, text in (planned, foreseen):
        assert status == 2 and reason in text, text
    assert lab.try_document("apply", both) == from_nothing
    [uplink] = lab.list("uplink")
    assert uplink["mode"] == "nat" and uplink["state"] in ("up", "down"), uplink
    assert "insula-nat0" in netns.run("nft", "list", "table", "ip", "insula").stdout
    assert lab.try_document("diff", alone) == (0, "")


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(document())
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
