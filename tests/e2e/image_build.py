# SPDX-License-Identifier: BSD-3-Clause
# `insula image build debian-12` by a real insulad, in a state folder that outlives it; then an
# instance of that image in the outer machine, which takes its user data. Started by
# test_image_build.sh; with "build" and "boot" it is what runs in the sandboxes of both machines, of
# which the first has this host's network: it makes no device there, and packages come by it.
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(os.path.dirname(HERE), "lib")
sys.path.insert(0, LIB)

# pylint: disable=wrong-import-position
import lab as labs
import outer
import sandbox

BUILD_S, BOOT_S = 900, 1500
USER_DATA = """          #cloud-config
          ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHHHTEST test]
          write_files:
            - path: /run/tell
              content: |
                keys=$(cut -d ' ' -f 3 /home/*/.ssh/authorized_keys)
                echo "DATA $(hostname) $keys $(df --output=fstype / | tail -1)"
                echo "ADDRESS $(ip -4 -o address show scope global | cut -d ' ' -f 7)"
          runcmd:
            - [sh, -c, 'sh /run/tell >/dev/ttyS0']
"""
SITE = f"""version: 1
tenants:
  - name: red
    networks: [{{name: lan, vlan: 10, subnet: 10.0.0.0/24, gateway: 10.0.0.1}}]
    instances:
      - name: web_1
        kind: vm
        image: debian-12
        memory: 512MiB
        nics: [{{network: lan, address: 10.0.0.11}}]
        user_data: |
{USER_DATA}"""
EXPECTED = ("DATA web-1 test ext4", "ADDRESS 10.0.0.11/24")


def lab_of(state):
    lab = labs.Lab(None, sandbox.DIRECTORY)
    os.environ["INSULA_STATE_DIR"] = state
    lab.start()
    return lab


def build(state):
    lab = lab_of(state)
    begin = time.monotonic()
    print(lab.insula("image", "build", "debian-12", timeout=BUILD_S))
    print(f"built in {time.monotonic() - begin:.0f} s")
    errors = lab.stop()
    sys.exit("\n".join(errors) if errors else 0)


def boot(state):
    lab = lab_of(state)
    file, begin = os.path.join(sandbox.DIRECTORY, "site.yaml"), time.monotonic()
    with open(file, "w", encoding="ascii") as out:
        out.write(SITE)
    print(lab.apply(file), flush=True)
    text = ""
    while not all(word in text for word in EXPECTED) and time.monotonic() - begin < BOOT_S:
        time.sleep(2)
        text = lab.insula("instance", "console", "--log", "red/web_1")
    print(f"after {time.monotonic() - begin:.0f} s")
    print("\n".join(text.splitlines()[-40:]))
    print(*(f"ok {word}" for word in EXPECTED if word in text), sep="\n", flush=True)
    lab.stop()


def inside(what, state, *, network=False):
    words = ["/usr/bin/python3", os.path.abspath(__file__), what, state]
    return [word for word in sandbox.wrap(words) if not (network and word == "--net")]


def main():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        state = os.path.join(folder, "state")
        subprocess.run(inside("build", state, network=True), check=True, timeout=BUILD_S + 60)
        machine = outer.Machine(folder, ("kvm-amd", "tun", "veth", "nf_tables"), memory_mib=4096)
        told = machine.run(
            ["/bin/bash", "-c", 'exec "$@" >"$OUTER_REPORT" 2>&1', "-", *inside("boot", state)],
            BOOT_S + 60,
            environment={"INSULA_BUILD": os.path.realpath(os.environ["INSULA_BUILD"])})
        print("\n".join(told))
        missing = [word for word in EXPECTED if f"ok {word}" not in told]
        if missing:
            sys.exit(f"expected: {missing}\n{machine.last_words()}")


if len(sys.argv) > 1:
    {"build": build, "boot": boot}[sys.argv[1]](sys.argv[2])
else:
    main()
