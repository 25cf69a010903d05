# SPDX-License-Identifier: BSD-3-Clause
# Instances that start from an image without copying it: as an overlay that qemu-storage-daemon
# serves where the file system has no reflinks (a tmpfs), and by reflink where it has them (XFS, on
# a loop device). Whose disk is whose, what survives whose death, and when a disk goes. Runs in a
# sandbox.
import fcntl
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import lab as labs
import machine
import netns
import sandbox
from guest_qemu import pattern
from instance import FIRST_USER, kill, status_of, wait

SECTOR, MIB = 512, 1 << 20
SIZE, IMAGE_SEED = 16 * MIB, 7
TENANTS = {"red": 10, "blue": 20}
TENANT = """  - name: {tenant}
    networks: [{{name: lan, vlan: {vlan}, subnet: 10.0.0.0/24, gateway: 10.0.0.1}}]
"""
VM = """    instances:
      - name: vm
        kind: vm
        image: {image}
        memory: 32MiB
        stop_timeout: {timeout}
        disks: [{disks}]
        nics: [{{network: lan}}]
"""
SERVER = "qemu-storage-daemon"


class Site:
    def __init__(self, lab):
        self.lab, self.file = lab, os.path.join(lab.directory, "site.yaml")
        self.images = {}  # tenant: its machine's
        self.volumes = {tenant: [] for tenant in TENANTS}
        self.timeout = 0  # of a stop, in seconds

    def use(self, state):
        os.environ["INSULA_STATE_DIR"] = state
        self.lab.start()

    def run(self, *words, status=0, **more):
        done = subprocess.run([self.lab.insula_program, *words], text=True, capture_output=True,
                              timeout=60, check=False, **more)
        assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    def start(self, *words):
        # pylint: disable=consider-using-with
        return subprocess.Popen([self.lab.insula_program, *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def write(self, **images):
        self.images = {t: i for t, i in (self.images | images).items() if i}
        with open(self.file, "w", encoding="ascii") as out:
            out.write("version: 1\ntenants:\n")
            for tenant, vlan in TENANTS.items():
                out.write(TENANT.format(tenant=tenant, vlan=vlan))
                if tenant in self.images:
                    disks = ", ".join(f"{{volume: {name}}}" for name in self.volumes[tenant])
                    out.write(VM.format(image=self.images[tenant], timeout=self.timeout,
                                        disks=disks))
        return self.file

    def apply(self, **images):
        return self.lab.apply(self.write(**images))

    def show(self, tenant):
        return json.loads(self.run("instance", "show", f"{tenant}/vm", "-o", "json"))

    def console(self, tenant):
        return self.run("instance", "console", "--log", f"{tenant}/vm")

    def starts(self, tenant):
        return self.console(tenant).count("ok obey listens")

    def listens(self, tenant, times=1):
        wait(f"{tenant}/vm listens {times} times", lambda: self.starts(tenant) >= times)

    # The guest does it: a disk's commands, which have to succeed.
    def tell(self, tenant, *commands):
        for command in commands:
            before = self.console(tenant)
            self.run("instance", "console", f"{tenant}/vm", input=command + "\n")
            word = command.partition(":")[0]
            wait(f"{tenant}: {command}", lambda b=before, w=word: self.console(tenant).count(
                f"ok {w}") > b.count(f"ok {w}"))

    def log(self):
        with open(os.path.join(os.environ["INSULA_STATE_DIR"], "insulad.log"),
                  encoding="utf-8") as file:
            return file.read()

    def disks(self):
        folder = os.path.join(os.environ["INSULA_STATE_DIR"], "disks")
        return sorted(os.path.join(folder, n) for n in os.listdir(folder))

    # As the machines use them.
    def import_images(self):
        raw, qcow2 = (os.path.join(self.lab.directory, n) for n in ("raw", "qcow2"))
        with open(raw, "wb") as file:
            file.write(pattern(IMAGE_SEED, 0, MIB))
            file.truncate(SIZE)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
        boot = ("--kernel", machine.GUEST, "--cmdline", "run=dhcp,disk:0,obey:600")
        self.run("image", "import", "raw", raw, *boot)
        self.run("image", "import", "qcow2", qcow2, "--format", "qcow2", *boot)
        other = os.path.join(self.lab.directory, "other")
        with open(other, "wb") as file:
            file.truncate(MIB)
        self.run("image", "import", "other", other, *boot)


# Each has the image's content, and its own.
def test_overlays(site):
    site.apply(red="raw", blue="qcow2")
    for tenant in TENANTS:
        site.listens(tenant)
        site.tell(tenant, f"blk-verify:0:{MIB // SECTOR}:{IMAGE_SEED}", "blk-is-zero:2048:100")
    assert len(labs.processes(SERVER)) == 2
    assert [d.rpartition(".")[2] for d in site.disks()] == ["qcow2", "qcow2"]
    site.tell("red", "blk-write:100:50:8", "blk-flush")
    site.tell("blue", "blk-write:100:50:9", "blk-flush")
    for tenant, seed in (("red", 8), ("blue", 9)):
        site.tell(tenant, f"blk-verify:100:50:{seed}", f"blk-verify:0:100:{IMAGE_SEED}")


def test_used(site):
    assert json.loads(site.run("image", "show", "raw", "-o", "json"))["used_by"] == ["red/vm"]
    assert "image raw is used by red/vm" in site.run("image", "delete", "raw", status=1)
    text = site.run("apply", "-f", site.write(red="none"), status=1)
    assert "site.yaml:6: instance red/vm: there is no image none" in text, text
    text = site.run("diff", "-f", site.write(red="other"), status=2)
    assert "red/vm: its disk was made of another image than other is" in text, text
    site.write(red="raw")


# Whatever qemu-img makes is whole, and a part of it is not, as it says itself.
def test_qcow2_cut(site):
    raw, cut = (os.path.join(site.lab.directory, name) for name in ("raw", "cut"))
    for words in ([], ["-c"], ["-o", "compat=0.10"], ["-o", "extended_l2=on,cluster_size=128k"],
                  ["-o", "preallocation=metadata"], ["-o", "cluster_size=512"],
                  ["-c", "-o", "compression_type=zstd,cluster_size=2M"]):
        def make(size=None, words=words):
            subprocess.run(["qemu-img", "convert", "-O", "qcow2", *words, "-f", "raw", raw, cut],
                           check=True)
            with open(cut, "rb+") as file:
                file.truncate(size or file.seek(0, 2))
                return file.seek(0, 2)

        whole = make()
        site.run("image", "import", "cut", cut, "--format", "qcow2")
        site.run("image", "delete", "cut")
        for size in (1000, whole // 4):
            make(size)
            assert subprocess.run(["qemu-img", "check", "-f", "qcow2", cut], capture_output=True,
                                  check=False).returncode != 0, (words, size)
            text = site.run("image", "import", "cut", cut, "--format", "qcow2", status=1)
            assert f"{cut} is cut short: it lacks clusters that it names" in text, (words, text)


# What is Insula's own is nobody's disk by its path, whichever: no image, no other's disk, no state.
def test_not_ours(site):
    state, run = os.environ["INSULA_STATE_DIR"], os.environ["INSULA_RUN_DIR"]
    blobs = os.path.join(state, "images", "blobs")
    site.run("volume", "create", "mine", "1MiB")
    links = [os.path.join(site.lab.directory, name) for name in ("soft", "hard", "folder")]
    os.symlink(os.path.join(state, "insula.db"), links[0])
    os.link(site.disks()[0], links[1])
    os.symlink(blobs, links[2])
    for path, folder in ((os.path.join(blobs, os.listdir(blobs)[0]), state),
                         (site.disks()[0], state), (os.path.join(state, "insula.db"), state),
                         (os.path.join(state, "volumes", "mine.raw"), state), (links[0], state),
                         (links[1], state), (os.path.join(links[2], os.listdir(blobs)[0]), state),
                         (os.path.join(run, "host.db"), run)):
        text = site.run("instance", "create", "red/bad", "--kernel", machine.GUEST, "--disk", path,
                        status=1)
        assert f"disk {path} is a file in {folder}, which is Insula's own" in text, text
    os.unlink(links[1])
    site.run("volume", "delete", "mine")


# Nor by what the path leads to later, when it is started.
def test_not_ours_later(site):
    state = os.environ["INSULA_STATE_DIR"]
    blobs = os.path.join(state, "images", "blobs")
    [blob] = [p for p in (os.path.join(blobs, n) for n in os.listdir(blobs))
              if os.path.getsize(p) == MIB]
    path = os.path.join(site.lab.directory, "later")
    with open(path, "wb") as file:
        file.truncate(MIB)
    site.run("instance", "create", "red/later", "--kernel", machine.GUEST, "--cmdline",
             "run=obey:600", "--disk", path)
    os.rename(path, path + ".own")
    for link in (os.symlink, os.link):
        site.run("instance", "stop", "--force", "red/later")
        link(blob, path)
        text = site.run("instance", "start", "red/later", status=1)
        assert f"disk {path} is a file in {state}, which is Insula's own" in text, text
        os.unlink(path)
    os.rename(path + ".own", path)
    wait("it is tried again", lambda: json.loads(
        site.run("instance", "show", "red/later", "-o", "json"))["state"] == "running")
    site.run("instance", "stop", "--force", "red/later")
    site.run("instance", "delete", "red/later")


# Who serves a disk: its machine's user, without capabilities, network, or fds but its own.
def test_is_apart(site):
    users = {str(FIRST_USER + site.show(tenant)["id"]) for tenant in TENANTS}
    for pid in labs.processes(SERVER):
        status = status_of(pid)
        uids = set(status["Uid"].split())
        assert len(uids) == 1 and uids < users and status["Groups"].strip() == "", status
        assert int(status["CapEff"], 16) == 0 and status["NoNewPrivs"] == "1", status
        assert status["NSpid"].split()[-1] == "1", status
        for space in ("net", "ipc", "pid"):
            assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
        files = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        state = os.environ["INSULA_STATE_DIR"]
        mine = {f for f in files if f.startswith(state)}
        assert len(mine) == 2, files
        rest = {os.path.basename(f) for f in files - mine if f.startswith("/")}
        assert {f for f in rest if not f.startswith("memfd:")} <= {"null", "log", "ready"}, files


def test_restarts(site):
    former = site.show("red")["pid"]
    site.run("instance", "restart", "red/vm")
    site.listens("red", 2)
    assert site.show("red")["pid"] != former
    site.tell("red", "blk-verify:100:50:8", f"blk-verify:0:100:{IMAGE_SEED}")
    assert len(labs.processes(SERVER)) == 2
    site.run("instance", "stop", "--force", "red/vm")
    wait("its server ends, too", lambda: len(labs.processes(SERVER)) == 1)
    [disk] = [d for d in site.disks() if f"-{site.show('red')['id']}-" in d]
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", disk], check=True)
    site.run("instance", "start", "red/vm")
    site.listens("red", 3)
    site.tell("red", "blk-verify:100:50:8")


def test_insulad_killed(site):
    former = {t: site.show(t)["pid"] for t in TENANTS}
    servers = sorted(labs.processes(SERVER))
    kill(labs.processes("insulad")[0])
    site.lab.start()
    assert {t: site.show(t)["pid"] for t in TENANTS} == former
    assert sorted(labs.processes(SERVER)) == servers
    site.tell("red", "blk-write:200:10:5", "blk-flush", "blk-verify:200:10:5")


# Whoever of the two dies, with or without an insulad that sees it: the instance comes back, with
# what was flushed.
def test_killed(site):
    def both_back(times):
        site.listens("red", times)
        site.tell("red", "blk-verify:100:50:8", "blk-verify:200:10:5")
        wait("one server each", lambda: len(labs.processes(SERVER)) == 2)

    def server_of(tenant):
        user = str(FIRST_USER + site.show(tenant)["id"])
        return next(p for p in labs.processes(SERVER) if user in status_of(p)["Uid"].split())

    times = site.starts("red")
    kill(site.show("red")["pid"])
    both_back(times + 1)
    kill(server_of("red"))
    both_back(times + 2)
    assert f"instance red/vm: {SERVER} (pid" in site.log()
    server = server_of("red")
    kill(labs.processes("insulad")[0])
    kill(server)
    site.lab.start()
    both_back(times + 3)
    machine_pid = site.show("red")["pid"]
    kill(labs.processes("insulad")[0])
    kill(machine_pid)
    site.lab.start()
    both_back(times + 4)


# A guest may write what it likes at its disk's beginning: no more than that is read (H-34).
def test_header(site):
    site.tell("red", "blk-qcow2:/etc/passwd", "blk-flush")
    times = site.starts("red")
    site.run("instance", "restart", "red/vm")
    site.listens("red", times + 1)
    site.tell("red", "blk-verify:100:50:8")


# The disk is the instance's: gone with it, and new with the next one.
def test_deleted(site):
    assert "- instance red/vm: its disk goes, with all" in site.run(
        "diff", "-f", site.write(red=None), status=1)
    site.apply()
    assert len(site.disks()) == 1
    wait("its processes are gone", lambda: len(labs.processes(SERVER)) == 1)
    assert "is deleted" in site.run("image", "delete", "raw")
    site.apply(red="qcow2")
    site.listens("red")
    site.tell("red", f"blk-verify:0:{MIB // SECTOR}:{IMAGE_SEED}")


def test_disk_missing(site):
    site.run("instance", "stop", "--force", "red/vm")
    number = site.show("red")["id"]
    [disk] = [d for d in site.disks() if f"-{number}-" in d]
    os.rename(disk, disk + ".away")
    assert "its disk " in site.run("instance", "start", "red/vm", status=1)
    assert not os.path.exists(disk)
    os.rename(disk + ".away", disk)
    wait("it is tried again", lambda: site.show("red")["state"] == "running")


def pending(site, tenant):
    about = site.show(tenant)
    return about.get("plugging", []), about.get("unplugging", [])


def has_open(site, tenant, name):
    pid = site.show(tenant)["pid"]
    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return any(f.endswith(f"/volumes/{name}.raw") for f in files)


# The guest lets go of what it is asked for, or has been.
def let_go(site, tenant, *words):
    command = site.start(*words)
    site.tell(tenant, "eject:20000")
    assert command.wait(20) == 0, command.stdout.read()
    return command.stdout.read()


# A disk that goes from one to the other, and grows meanwhile.
def test_volume(site):
    site.run("volume", "create", "data", "8MiB")
    times = site.starts("red")
    text = site.run("volume", "attach", "--force", "data", "red/vm")
    assert "instance red/vm: disks none -> volume data; its guest is shut down" in text, text
    site.listens("red", times + 1)
    site.tell("red", "disk:1", "blk-write:0:100:3", "blk-flush")
    assert "ok disk 1 sectors 16384" in site.console("red")
    for words in (("delete", "data"), ("resize", "data", "16MiB")):
        assert "red/vm" in site.run("volume", *words, status=1)
    assert "attached to red/vm" in site.run("volume", "attach", "data", "blue/vm", status=1)
    site.run("instance", "stop", "--force", "red/vm")
    site.run("volume", "detach", "data")
    site.run("volume", "resize", "data", "16MiB")
    site.run("instance", "stop", "--force", "blue/vm")
    site.run("volume", "attach", "data", "blue/vm")
    times = site.starts("blue")
    site.run("instance", "start", "blue/vm")
    site.listens("blue", times + 1)
    site.tell("blue", "disk:1", "blk-verify:0:100:3", "blk-is-zero:16384:100")
    assert "ok disk 1 sectors 32768" in site.console("blue")
    let_go(site, "blue", "apply", "-f", site.write())  # a file without it
    wait("it is let go of", lambda: "free" in site.run("volume", "list"))
    wait("and closed", lambda: subprocess.run(
        [site.lab.insula_program, "volume", "delete", "data"], capture_output=True,
        check=False).returncode == 0)


# A volume comes and goes while its guest runs, which goes on: the same one finds it by content.
def test_plugged(site):
    for name in ("one", "two", "three", "four", "five"):
        site.run("volume", "create", name, "1MiB")
    for tenant in TENANTS:
        site.run("instance", "start", f"{tenant}/vm")
    wait("both run", lambda: {site.show(t)["state"] for t in TENANTS} == {"running"})
    former = {t: site.show(t)["pid"] for t in TENANTS}
    site.volumes["red"] = ["one"]
    text = site.run("diff", "-f", site.write(), status=1)
    assert "disks none -> volume one; volume one is plugged in while it runs\n" in text, text
    assert text in site.run("apply", "-f", site.file)
    assert pending(site, "red") == ([], []) and has_open(site, "red", "one")
    site.tell("red", "plugged:20000", "disk:1", "blk-write:0:100:4", "blk-flush")
    for words in (("delete", "one"), ("resize", "one", "2MiB")):
        assert "red/vm" in site.run("volume", *words, status=1)
    text = let_go(site, "red", "volume", "detach", "one")
    assert "volume one -> none; volume one is unplugged while it runs" in text, text
    assert not has_open(site, "red", "one")
    site.run("volume", "attach", "one", "blue/vm")
    site.tell("blue", "plugged:20000", "disk:1", "blk-verify:0:100:4")
    # from one to the other by one file
    site.volumes = {"red": ["one", "two"], "blue": []}
    let_go(site, "blue", "apply", "-f", site.write())
    site.tell("red", "plugged:20000", "disk:2", "blk-verify:0:100:4")
    assert {t: site.show(t)["pid"] for t in TENANTS} == former


# An insulad that dies while a guest is asked to let go, and after one was plugged in.
def test_plugged_insulad_killed(site):
    former = site.show("red")["pid"]
    command = site.start("volume", "detach", "two")
    site.tell("red", "asked:20000")
    kill(labs.processes("insulad")[0])
    assert command.wait(20) == 1
    site.lab.start()
    wait("the next one sees what there is", lambda: pending(site, "red") == ([], ["two"]))
    site.tell("red", "eject:20000")
    wait("it is let go of", lambda: pending(site, "red") == ([], []))
    assert not has_open(site, "red", "two") and has_open(site, "red", "one")
    assert site.show("red")["pid"] == former


# Two at once, all slots, and one too many.
def test_plugged_all(site):
    former = site.show("red")["pid"]
    commands = [site.start("volume", "attach", name, "red/vm") for name in ("two", "three")]
    assert [command.wait(20) for command in commands] == [0, 0]
    site.run("volume", "attach", "four", "red/vm")
    text = site.run("volume", "attach", "five", "red/vm", status=1)
    assert "red/vm runs, and has no slot left to plug volume five in: detach another" in text, text
    site.volumes["red"] = ["one", "two", "three", "four", "five"]
    text = site.run("diff", "-f", site.write(), status=1)
    assert "its guest is shut down and started anew: it has no slot left to plug" in text, text
    assert all(has_open(site, "red", name) for name in ("one", "two", "three", "four"))
    assert site.show("red")["pid"] == former
    # started again by itself, or by us, it has them as any disks
    times = site.starts("red")
    kill(former)
    site.listens("red", times + 1)
    site.tell("red", "disk:1", "blk-verify:0:100:4")
    wait("it runs", lambda: site.show("red")["state"] == "running")
    site.run("volume", "attach", "five", "red/vm")
    site.tell("red", "plugged:20000")
    let_go(site, "red", "volume", "detach", "one")
    site.run("volume", "detach", "--force", "two")
    site.listens("red", times + 2)
    assert not has_open(site, "red", "one") and not has_open(site, "red", "two")
    assert has_open(site, "red", "five")


# A machine that says it has what it was never given; this one was.
def check_not_believed(site):
    kill(labs.processes("insulad")[0])
    os.unlink(os.path.join(os.environ["INSULA_RUN_DIR"], "vm", "1", "given"))
    site.lab.start()
    text = "volume five is not plugged in: five.w: there is one already"
    wait("it is not believed", lambda: text in site.show("red").get("trouble", ""))


# Of what no instance has in the file, but a guest has not let go, nobody says that it is free.
def check_held(site):
    about = json.loads(site.run("volume", "show", "five", "-o", "json"))
    assert (about["state"], about["attached_to"], about["held_by"]) == ("held", [], ["red/vm"])
    rows = [line.split() for line in site.run("volume", "list").splitlines()]
    assert ["five", "held", "red/vm"] == [r[0:2] + r[-1:] for r in rows if r[0] == "five"][0], rows
    for force in ([], ["--force"]):
        text = site.run("volume", "attach", *force, "five", "blue/vm", status=1)
        assert "volume five is still held by instance red/vm, which has not let go" in text, text
    text = site.run("volume", "delete", "five", status=1)
    assert "cannot be deleted: instance red/vm has not let go of it; stop or restart" in text, text
    text = site.run("volume", "resize", "five", "2MiB", status=1)
    assert "red/vm runs with it, whose guest is told of no other size; stop it first" in text, text
    assert pending(site, "blue") == ([], [])
    # by a file both change at once, and the other one's trouble is its trouble
    site.volumes = {"red": ["three", "four", "two"], "blue": ["five"]}
    text = site.run("apply", "-f", site.write(), status=1)
    assert ("blue/vm: it waits for volume five, of which instance red/vm has not let go; `insula "
            "instance restart red/vm` takes it from that") in text, text
    assert "waits for volume five" in site.run("instance", "list")
    assert json.loads(site.run("volume", "show", "five", "-o", "json"))["held_by"] == ["red/vm"]
    site.run("volume", "detach", "five", status=1)  # red's is not, still
    site.volumes = {tenant: [] for tenant in TENANTS}


# What goes wrong is told, with what to do, and tried again.
def test_plugged_wrong(site):
    path = os.path.join(os.environ["INSULA_STATE_DIR"], "volumes", "two.raw")
    with open(path, "rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        text = site.run("volume", "attach", "two", "red/vm", status=1)
        assert "volume two is not plugged in: disk two.w: somebody else uses it" in text, text
        assert "`insula instance restart red/vm` gives it the volume" in text, text
        assert site.show("red")["trouble"] in text and pending(site, "red") == (["two"], [])
        assert "volume two is not plugged in" in site.run("status")
    wait("it is tried again", lambda: pending(site, "red") == ([], []))
    assert has_open(site, "red", "two") and "trouble" not in site.show("red")
    text = site.run("volume", "detach", "five", status=1)
    assert "volume five is not unplugged: the guest has not let go of it in time" in text, text
    assert pending(site, "red") == ([], ["five"]) and has_open(site, "red", "five")
    assert "red/vm" in site.run("volume", "resize", "five", "2MiB", status=1)
    check_held(site)
    site.run("instance", "restart", "red/vm")
    assert not has_open(site, "red", "five") and "trouble" not in site.show("red")
    # nobody lets go while it is paused
    site.run("instance", "pause", "red/vm")
    text = site.run("volume", "attach", "five", "red/vm")
    assert "volume five is plugged in when it goes on" in text, text
    assert pending(site, "red") == (["five"], [])
    site.run("instance", "resume", "red/vm")
    wait("it is plugged in", lambda: pending(site, "red") == ([], []))
    check_not_believed(site)
    site.volumes = {tenant: [] for tenant in TENANTS}
    for tenant in TENANTS:
        site.run("instance", "stop", "--force", f"{tenant}/vm")
    site.apply()


# What a deleted instance has, whose guest is being shut down, is free by itself, and soon.
def test_leaving(site):
    site.timeout, site.volumes["blue"] = 600, ["five"]
    site.apply()
    for tenant in TENANTS:
        site.run("instance", "start", f"{tenant}/vm")
    wait("both run", lambda: {site.show(t)["state"] for t in TENANTS} == {"running"})
    former = site.show("blue")["pid"]
    site.volumes["blue"] = []
    site.run("apply", "-f", site.write(blue=None))
    for words in (("delete", "five"), ("resize", "five", "2MiB"), ("attach", "five", "red/vm")):
        text = site.run("volume", *words, status=1)
        assert "instance blue/vm" in text and "restart" not in text, text
        assert "it is being shut down, which takes no longer than its stop_timeout of 600 s" in text
    kill(former)
    wait("it is free", lambda: json.loads(
        site.run("volume", "show", "five", "-o", "json"))["state"] == "free")
    site.run("volume", "delete", "five")
    site.timeout = 0
    site.run("instance", "stop", "--force", "red/vm")
    site.apply()


# A file system that shares blocks: no copy, no server.
def test_reflink(site):
    errors = site.lab.stop()
    assert not errors, errors
    left = labs.processes(SERVER) + labs.processes("insula-vmm")
    assert not left, left
    device, folder = (os.path.join(site.lab.directory, n) for n in ("xfs.image", "xfs"))
    with open(device, "wb") as file:
        file.truncate(400 * MIB)
    os.mkdir(folder)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", device], check=True)
    netns.run("mount", "-o", "loop", device, folder)
    site.use(os.path.join(folder, "state"))
    random = os.path.join(folder, "random")
    with open(random, "wb") as file:
        file.write(os.urandom(64 * MIB))
    site.run("image", "import", "raw", random, "--kernel", machine.GUEST, "--cmdline",
             "run=dhcp,disk:0,obey:600")
    os.sync()
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    assert free > 400 * MIB - 64 * MIB - 100 * MIB, "the import has copied"
    site.apply(red="raw", blue="raw")
    for tenant in TENANTS:
        site.listens(tenant)
        site.tell(tenant, "blk-write:100:50:8", "blk-flush", "blk-verify:100:50:8")
    os.sync()
    used = free - os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    assert used < 8 * MIB, f"{used} bytes more are used"
    assert [d.rpartition(".")[2] for d in site.disks()] == ["raw", "raw"]
    assert labs.processes(SERVER) == []
    with open(random, "rb") as one, open(site.disks()[0], "rb") as two:
        one, two = one.read(), two.read()
    assert one[:100 * SECTOR] == two[:100 * SECTOR] and one[150 * SECTOR:] == two[150 * SECTOR:]
    site.apply(red=None, blue=None)
    wait("they are gone", lambda: not labs.processes("insula-vmm"))
    assert site.disks() == []
    assert not site.lab.stop()
    netns.run("umount", folder)


def main():
    lab = labs.Lab(None, sandbox.DIRECTORY)
    netns.run("mount", "-o", "remount,size=1g", sandbox.DIRECTORY)
    site = Site(lab)
    lab.start()
    site.import_images()
    good = labs.run_cases(globals(), site)
    errors = lab.stop()
    if not good or errors:
        print(site.log(), *errors, sep="\n")
    sys.exit(not good or bool(errors))


if __name__ == "__main__":
    main()
