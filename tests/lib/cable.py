# SPDX-License-Identifier: BSD-3-Clause
# A cable that looks at what it carries: two ends without any offload, every frame judged on its way
# (length, checksums) before it goes on, its tag taken off and put on if it is to carry one VLAN.
# What passes is fit for the plainest network card. Used by tests/net/offloads.py.
import fcntl
import os
import select
import struct
import threading

import frames

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
FRAME_MAX = 1514


class Tap:
    """A tap device of namespace `netns` without offloads; read() and send() are its wire."""

    def __init__(self, netns, name):
        with frames.entered(netns):
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                                        IFF_TAP | IFF_NO_PI))

    def fileno(self):
        return self.fd

    def read(self):
        try:
            return os.read(self.fd, 70000)
        except BlockingIOError:
            return None

    def send(self, frame):
        try:
            os.write(self.fd, frame)
        except OSError:
            pass  # the device is down

    def close(self):
        os.close(self.fd)


class Cable:
    """Carries between a far host's Tap and the switch's end (a Tap or a Wire)."""

    # vlan: of the tag that the switch's end has and the far host does not; None = no tags.
    def __init__(self, switch_end, far_end, vlan=None):
        self.switch_end, self.far_end, self.vlan = switch_end, far_end, vlan
        self.count, self.faults = 0, []
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    # From the switch: judged, then without its tag; None if it is not for the far host.
    def _judge(self, data):
        frame = frames.Frame(data)
        tags = [] if self.vlan is None else [(frames.VLAN, self.vlan)]
        if [(kind, tci & 0xFFF) for kind, tci in frame.tags] != tags:
            self.faults.append(f"tags {frame}")
            return None
        self.count += 1
        if len(data) > FRAME_MAX + 4 * len(tags):
            self.faults.append(f"{len(data)} bytes: {frame}")
        if not frame.checksums_right():
            self.faults.append(f"checksum: {frame}")
        return data[:12] + data[12 + 4 * len(tags) :]

    def _to_switch(self, data):
        if self.vlan is None:
            return data
        return data[:12] + struct.pack("!HH", frames.VLAN, self.vlan) + data[12:]

    def _carry(self):
        ends = {self.switch_end: (self.far_end, self._judge),
                self.far_end: (self.switch_end, self._to_switch)}
        while True:
            ready = select.select([*ends, self._stop], [], [])[0]
            if self._stop in ready:
                return
            for end in ready:
                other, change = ends[end]
                for _ in range(64):
                    if (data := end.read()) is None:
                        break
                    if (data := change(data)) is not None:
                        other.send(data)

    def stop(self):
        os.write(self._wake, b"x")
        self._thread.join()
        self.switch_end.close()
        self.far_end.close()
