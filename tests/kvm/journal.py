# SPDX-License-Identifier: BSD-3-Clause
# What the test guest's blk-journal left on a disk: every slot has to hold the last number that was
# acknowledged for it, or one that came later, sector by sector.
from guest_qemu import splitmix64

SECTOR, SLOT_SECTORS, SLOTS = 512, 8, 64
SEED_SHIFT = 24
SIZE = SLOTS * SLOT_SECTORS * SECTOR
AHEAD = 64  # times that all slots may have been written since the last acknowledgement was seen


def _word(number, at):
    return splitmix64((number << SEED_SHIFT) + at // 8).to_bytes(8, "little")


def _pattern(number, at):
    return b"".join(_word(number, at + n) for n in range(0, SECTOR, 8))


# What is wrong with the first SIZE bytes of a disk, "" if nothing is: all numbers below
# `acknowledged` were.
def lost(content, acknowledged):
    for slot in range(SLOTS):
        oldest = acknowledged - 1 - (acknowledged - 1 - slot) % SLOTS
        if oldest < 0:
            continue
        for sector in range(SLOT_SECTORS):
            at = (slot * SLOT_SECTORS + sector) * SECTOR
            found = content[at:at + SECTOR]
            number = next((n for n in range(oldest, oldest + AHEAD * SLOTS, SLOTS)
                           if found.startswith(_word(n, at))), None)
            if number is None or found != _pattern(number, at):
                was = next((f"has {n}" for n in range(oldest - SLOTS, -1, -SLOTS)
                            if found.startswith(_word(n, at))),
                           "is torn" if number else "has none of the guest's")
                return f"slot {slot} sector {sector} {was}, {oldest} was acknowledged"
    return ""


# The highest number in a line that begins with `word`, 0 if there is none. The last line may have
# been cut off.
def last(lines, word):
    return max((int(words[1]) for words in map(str.split, lines)
                if len(words) == 2 and words[0] == word), default=0)
