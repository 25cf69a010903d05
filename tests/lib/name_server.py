# SPDX-License-Identifier: BSD-3-Clause
# A name server for the network tests: `name_server.py LISTEN NAME ADDRESS` answers every question
# for NAME's IPv4 address, and says that there is nothing of all else. Prints one line when it
# serves.
import socket
import struct
import sys

TYPE_A, NAME_ERROR, ANSWER = 1, 3, 0x8580


# The question's name, and the bytes of the whole question.
def question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode(errors="replace"))
        at += 1 + query[at]
    return ".".join(labels).lower(), query[12 : at + 5], struct.unpack_from("!H", query, at + 1)[0]


def answer(query, name, address):
    asked, whole, kind = question(query)
    found = asked == name and kind == TYPE_A
    flags = ANSWER | (0 if asked == name else NAME_ERROR)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", TYPE_A, 1, 60, 4) + socket.inet_aton(address)
    return head + whole + (record if found else b"")


def main():
    listen, name, address = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((listen, 53))
        print("serving", flush=True)
        while True:
            query, peer = sock.recvfrom(2048)
            try:
                sock.sendto(answer(query, name, address), peer)
            except (IndexError, struct.error):
                pass  # no question


main()
