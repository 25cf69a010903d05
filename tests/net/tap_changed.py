# SPDX-License-Identifier: BSD-3-Clause
# What others do to taps in use. A network namespace is deleted and made again: its tap goes with it
# and comes back in the new one, by itself or by an apply. A tap renamed, set down or moved inside
# is told and left alone, and found again after a death. A broken port is no change of the file:
# diff shows it as one only if apply would fall back to another device, and it blocks no other
# change. Runs in a sandbox.
import copy
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import laptop as laptops
import netns
import sandbox

GUEST, SPACE, UPLINK = "red/red-1.eth0", "red-1", "internet"


def document(uplink):
    return {"version": 1, "uplinks": [uplink],
            "tenants": [laptops.tenant("red", 10, ["10.0.0.11", "10.0.0.12"], UPLINK)]}


def routed():
    return document({"name": UPLINK, "mode": "routed", "address": "198.51.100.9/24",
                     "gateway": laptops.ROUTER, "interface": "up0"})


def port(lab, name=GUEST):
    return next(p for p in lab.list("port") if p["name"] == name)


# Without its counters.
def steady(now):
    return {k: v for k, v in now.items() if not k.startswith(("rx_", "tx_", "drops"))}


# Waits until `condition` is true of it.
def wait_for(condition, what, deadline_s=10):
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {deadline_s} s"
        time.sleep(0.05)


# Without asking insulad, which would make it look.
def wait_for_log(lab, text, mark):
    wait_for(lambda: text in lab.log()[mark:], text)


def links(space):
    return [line.split()[0].split("@")[0] for line in
            netns.ip(space, "-br", "link").splitlines()]


def tap_holders():
    held = []
    for program in ("insulad", "insula-switch"):
        [pid] = labs.processes(program)
        for fd in os.listdir(f"/proc/{pid}/fdinfo"):
            try:
                with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                    held += [line for line in file if line.startswith("iff:\t")]
            except FileNotFoundError:
                pass  # closed meanwhile: of a question to the kernel, say, not of a tap
    return held


def check_whole(lab):
    assert port(lab)["state"] == "up" and "trouble" not in port(lab), port(lab)
    assert not lab.warnings(), lab.warnings()
    assert lab.try_document("diff", lab.document) == (0, ""), "something is left to do"
    assert len(tap_holders()) == 4, tap_holders()  # two taps, each in two processes


def enter_again(lab):
    lab.agents[SPACE].stop()
    lab.agents |= netns.agents({SPACE: SPACE})
    netns.ip(SPACE, "address", "replace", "10.0.0.11/24", "dev", "eth0")
    netns.ip(SPACE, "route", "replace", "default", "via", "10.0.0.1")
    assert lab.probe("tcp", SPACE, "internet", laptops.ROUTER), "no way out"


# The guest's tap is there again, said since `mark`, and carries packets.
def back(lab, mark):
    wait_for_log(lab, f"port {GUEST}: its device is back", mark)
    check_whole(lab)
    enter_again(lab)


# The new one takes the name before insulad has seen the old one go.
def test_namespace_replaced(lab):
    mark = len(lab.log())
    netns.run("sh", "-c", f"ip netns del {SPACE}; ip netns add {SPACE}")
    wait_for_log(lab, f"port {GUEST}: its device is back", mark)
    assert f"port {GUEST}: network namespace {SPACE} was deleted underneath" in lab.log()[mark:]
    assert "eth0" in links(SPACE), links(SPACE)
    check_whole(lab)
    enter_again(lab)


def test_namespace_deleted(lab):
    mark = len(lab.log())
    netns.run("ip", "netns", "del", SPACE)
    wait_for_log(lab, f"port {GUEST}: network namespace {SPACE} does not exist", mark)
    assert len(tap_holders()) == 2, "the tap lives on, nowhere"
    now = port(lab)
    assert now["state"] == "broken" and f"`ip netns add {SPACE}`" in now["trouble"], now
    assert any(f"`ip netns add {SPACE}`" in w for w in lab.warnings()), lab.warnings()
    check_blocks_nothing(lab)
    netns.create(SPACE)
    wait_for_log(lab, f"port {GUEST}: its device is back", mark)
    check_whole(lab)
    enter_again(lab)


# Nothing that the file changes, and no obstacle to what it does change: told, with the command.
def check_blocks_nothing(lab):
    word = f"port {GUEST}: tap eth0 in netns {SPACE}: network namespace {SPACE} does not exist; " \
           f"make it with `ip netns add {SPACE}`"
    assert lab.try_document("diff", lab.document) == (0, f"insula: {word}\n")
    assert lab.json_of("diff", lab.document) == {"changes": [], "warnings": [word],
                                                "would_fail": False}
    changed = copy.deepcopy(lab.document)
    changed["tenants"][0]["networks"][0]["mtu"] = 1400
    netns.create("spare")
    other = laptops.tenant("green", 30, []) | {"instances": [
        {"name": "new", "nics": [{"network": "lan", "netns": "spare"}]}]}
    changed["tenants"].append(other)
    status, planned = lab.try_document("diff", changed)
    assert status == 1 and planned.endswith(f"insula: {word}\n"), planned
    done = lab.apply_document(changed)
    assert done.endswith(f"insula: {word}\n") and "repair" not in done, done
    assert done.splitlines()[:-2] == planned.splitlines()[:-1], f"{planned} is not {done}"
    assert "eth0" in links("spare") and port(lab)["state"] == "broken", port(lab)
    # What the file itself wants in a namespace that is not there is another matter.
    other["instances"][0]["nics"].append({"name": "eth1", "network": "lan", "netns": "nowhere"})
    status, planned = lab.try_document("diff", changed)
    _, failed = lab.try_document("apply", changed)
    failure = "port green/new.eth1: tap eth1 in netns nowhere: network namespace nowhere does " \
              "not exist; make it with `ip netns add nowhere`"
    assert status == 2, planned
    assert f"insula: apply would fail: {failure}\ninsula: {word}\n" in planned, planned
    assert failed.startswith(f"{failure}\ninsula: nothing has been changed\n"), failed
    lab.apply_document(lab.document)
    netns.run("ip", "netns", "del", "spare")


# While insulad could not notice: killed, and the switch runs on.
def test_namespace_replaced_unseen(lab):
    lab.kill("insulad")
    netns.run("ip", "netns", "del", SPACE)
    netns.create(SPACE)
    lab.start()
    assert "eth0" in links(SPACE), links(SPACE)
    check_whole(lab)
    enter_again(lab)


# Whoever has made an interface of the same name there keeps it.
def test_stranger_in_new_namespace(lab):
    mark = len(lab.log())
    netns.run("sh", "-c", f"ip netns del {SPACE}; ip netns add {SPACE}; "
              f"ip -n {SPACE} link add eth0 type bridge && ip -n {SPACE} link set eth0 alias mine")
    status, text = lab.try_document("apply", lab.document)
    # Either insulad was faster, and the bridge could not be made, or it is left alone.
    if "mine" in netns.ip(SPACE, "link"):
        assert status == 0 and "is not this port's" in text, text
        assert "mine" in netns.ip(SPACE, "link"), "the stranger's interface was deleted"
        netns.ip(SPACE, "link", "del", "eth0")
    back(lab, mark)


def test_renamed(lab):
    mark = len(lab.log())
    netns.ip(SPACE, "link", "set", "eth0", "down")
    netns.ip(SPACE, "link", "set", "eth0", "name", "wan")
    netns.ip(SPACE, "link", "set", "wan", "up")
    wait_for_log(lab, "was renamed to wan", mark)
    now = port(lab)
    assert now["state"] == "up" and "renamed to wan" in now["trouble"], now
    assert any("renamed to wan" in w for w in lab.warnings()), lab.warnings()
    word = f"insula: port {GUEST}: {now['trouble']}\n"
    assert lab.try_document("diff", lab.document) == (0, word)
    assert lab.apply_document(lab.document).endswith(f"\n{word}")
    # A file that changes this very port cannot be done before that, and says so.
    changed = copy.deepcopy(lab.document)
    changed["tenants"][0]["instances"][0]["nics"][0]["mac"] = "02:aa:bb:cc:dd:01"
    status, planned = lab.try_document("diff", changed)
    assert status == 2 and "apply would fail: " in planned and now["trouble"] in planned, planned
    status, text = lab.try_document("apply", changed)
    assert status == 1 and now["trouble"] in text, text
    assert steady(port(lab)) == steady(now), port(lab)
    # Nor is it taken for the tap that the file might name now.
    changed["tenants"][0]["instances"][0]["nics"][0] |= {"interface": "wan"}
    status, planned = lab.try_document("diff", changed)
    failure = f"wan in {SPACE} exists already as the tap of port {GUEST}; name another"
    assert status == 2 and "apply would fail: " in planned and failure in planned, planned
    assert word in planned, planned
    status, text = lab.try_document("apply", changed)
    assert status == 1 and failure in text, text
    assert steady(port(lab)) == steady(now), port(lab)
    commands = now["trouble"].split("`")[1::2]
    for command in commands:
        netns.run(*command.split())
    assert "eth0" in links(SPACE), f"{commands} do not mend it"
    check_whole(lab)
    enter_again(lab)


def test_set_down(lab):
    mark = len(lab.log())
    netns.ip(SPACE, "link", "set", "eth0", "down")
    wait_for_log(lab, f"port {GUEST}: its tap was set down", mark)
    assert port(lab)["state"] == "down" and not lab.warnings()
    assert "UP" not in netns.ip(SPACE, "-br", "link", "show", "eth0").split()[2]
    full = labs.drops(lab, GUEST)["tx_full"]
    labs.new_drops(lab, GUEST, "tx_no_port", 1, lambda: subprocess.run(
        ["ip", "netns", "exec", "red-2", "ping", "-b", "-c1", "-w1", "255.255.255.255"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False))
    assert labs.drops(lab, GUEST)["tx_full"] == full, "its queue is not full"
    netns.ip(SPACE, "link", "set", "eth0", "up")
    check_whole(lab)
    enter_again(lab)


def test_moved(lab):
    netns.create("elsewhere")
    netns.ip(SPACE, "link", "set", "eth0", "netns", "elsewhere")
    assert "moved to another network namespace" in port(lab)["trouble"]
    [command] = port(lab)["trouble"].split("`")[1::2]
    netns.run("ip", "netns", "exec", "elsewhere", *command.split())
    netns.ip(SPACE, "link", "set", "eth0", "up")
    netns.run("ip", "netns", "del", "elsewhere")
    check_whole(lab)
    enter_again(lab)


# Both dead, nobody has an fd of it any more: not by its name is it found again then.
def kill_both(lab):
    for program in ("insulad", "insula-switch"):
        lab.kill(program)


def rename_tap(new):
    for words in (("eth0", "down"), ("eth0", "name", new), (new, "up")):
        netns.ip(SPACE, "link", "set", *words)
    netns.ip(SPACE, "route", "replace", "default", "via", "10.0.0.1")


# Under its new name, as if nobody had died; another of its old name is no obstacle.
def test_renamed_and_killed(lab):
    mark = len(lab.log())
    netns.ip(SPACE, "link", "del", "eth0")
    wait_for_log(lab, f"port {GUEST}: its device is back", mark)  # with another index
    enter_again(lab)
    rename_tap("wan")
    for stranger in (False, True):
        kill_both(lab)
        if stranger:
            netns.ip(SPACE, "link", "add", "eth0", "type", "bridge")
        lab.start()
        assert "wan" in links(SPACE) and ("eth0" in links(SPACE)) == stranger, links(SPACE)
        assert "renamed to wan" in port(lab)["trouble"], port(lab)
        assert len(tap_holders()) == 4, tap_holders()
        assert lab.probe("tcp", SPACE, "internet", laptops.ROUTER), "no way out"
    netns.ip(SPACE, "link", "del", "eth0")
    kill_both(lab)
    lab.stop_insulad()
    assert links(SPACE) == ["lo"], "stop has left it there"
    lab.start()
    check_whole(lab)
    enter_again(lab)


# A namespace made anew counts from the same index: that alone makes nobody's tap ours.
def test_stranger_of_the_same_index(lab):
    def index():
        return netns.ip(SPACE, "-o", "link", "show", "eth0").split(":")[0]

    mark, anew = len(lab.log()), f"ip netns del {SPACE}; ip netns add {SPACE}"
    netns.run("sh", "-c", anew)
    wait_for_log(lab, f"port {GUEST}: its device is back", mark)
    ours = index()
    kill_both(lab)
    netns.run("sh", "-c", f"{anew}; ip -n {SPACE} tuntap add eth0 mode tap; "
              f"ip -n {SPACE} link set eth0 alias mine")
    assert index() == ours
    lab.start()
    assert "is not this port's" in port(lab)["trouble"], port(lab)
    mark = len(lab.log())
    assert "mine" in netns.ip(SPACE, "link"), "the stranger's interface was taken over"
    netns.ip(SPACE, "link", "del", "eth0")
    back(lab, mark)


# In another namespace it is not the guest's: made anew where it belongs, and never there twice.
def test_moved_and_killed(lab):
    netns.create("elsewhere")
    for stop in (False, True):
        netns.ip(SPACE, "link", "set", "eth0", "netns", "elsewhere")
        kill_both(lab)
        if stop:
            lab.stop_insulad()
        lab.start()
        assert links("elsewhere") == ["lo"], "there twice"
        check_whole(lab)
        enter_again(lab)
    netns.run("ip", "netns", "del", "elsewhere")


# The uplink's interface goes: an apply would fall back to nat, and says so as a repair.
def test_diff_of_uplink(lab):
    netns.ip("", "link", "del", "up0")
    wait_for(lambda: port(lab, UPLINK)["state"] == "broken", "the uplink is broken")
    status, text = lab.try_document("diff", lab.document)
    assert status == 1 and text.startswith(f"~ uplink {UPLINK}: repair: "), text
    assert "falls back to nat through tap insula-nat0" in text, text
    text = lab.apply_document(lab.document)
    assert text.startswith(f"~ uplink {UPLINK}: repair: "), text
    assert port(lab, UPLINK)["type"] == "nat", port(lab, UPLINK)
    assert lab.try_document("diff", lab.document) == (0, "")


def main():
    laptops.private_files()
    lab = laptops.Laptop(sandbox.DIRECTORY)
    lab.build_for(routed())
    lab.go_online()
    lab.bridge_the_internet()
    lab.plug_in()
    sys.exit(0 if lab.run_cases(globals()) else 1)


main()
