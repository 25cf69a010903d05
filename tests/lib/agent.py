# SPDX-License-Identifier: BSD-3-Clause
# One end of the network tests: runs inside one network namespace (`agent.py NAME`), takes commands
# as JSON lines on stdin and answers on stdout, each command in a thread of its own. It records the
# nonce of every ping and TCP probe that arrives here: only that counts as "reached".
# Started by netns.Agent; ends when stdin ends.
import errno
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

PROBE_PORT = 7007
TRANSFER_PORT = 7008
BLOCK = 256 << 10
PING_STAMP = 16  # ping(8) begins its payload with a struct timeval; the pattern follows

name = sys.argv[1]
lock = threading.Lock()
stopping = {}  # label -> Event, of streams
seen = {"ping": {}, "tcp": {}, "udp": {}}  # nonce -> payloads (ping) or peers; under lock
streams = {}  # label -> [[number, CLOCK_MONOTONIC in s, peer]]; under lock


def record(kind, nonce, what):
    with lock:
        seen[kind].setdefault(nonce, []).append(what)


# A raw ICMP socket gets a copy of every ICMP packet delivered to this namespace.
def listen_ping(sock):
    while True:
        packet, _ = sock.recvfrom(65535)
        icmp = packet[(packet[0] & 15) * 4 :]
        if len(icmp) >= 8 + PING_STAMP + 16 and icmp[0] == 8:
            payload = icmp[8 + PING_STAMP :]
            record("ping", payload[:16].hex(), payload)


def listen_tcp(sock):
    while True:
        conn, peer = sock.accept()
        threading.Thread(target=answer_tcp, args=(conn, peer), daemon=True).start()


def read_line(conn):
    line = b""
    while not line.endswith(b"\n"):
        byte = conn.recv(1)
        if not byte or len(line) > 4096:
            raise OSError("the peer ended inside a line")
        line += byte
    return line.decode().strip()


def answer_tcp(conn, peer):
    with conn:
        conn.settimeout(5)
        try:
            nonce = read_line(conn)
            record("tcp", nonce, f"{peer[0]}:{peer[1]}")
            conn.sendall(f"{name} {nonce}\n".encode())
        except OSError:
            pass


# A probe is "probe NONCE" and is answered; a stream's datagram "stream LABEL NUMBER" is noted.
def listen_udp(sock):
    while True:
        data, peer = sock.recvfrom(2048)
        now, words = time.monotonic(), data.decode(errors="replace").split()
        where = f"{peer[0]}:{peer[1]}"
        if len(words) == 2 and words[0] == "probe":
            record("udp", words[1], where)
            sock.sendto(f"{name} {words[1]}\n".encode(), peer)
        elif len(words) == 3 and words[0] == "stream":
            with lock:
                streams.setdefault(words[1], []).append([int(words[2]), now, where])


# ping(8) itself; `answered` is how many replies came back.
def ping(args):
    command = ["ping", "-n", "-q", "-c", str(args["count"]), "-i", str(args["interval"])]
    command += ["-W", str(args["timeout"]), "-p", args["nonce"], "-s", str(args.get("size", 56))]
    if "identifier" in args:
        command += ["-e", str(args["identifier"])]
    out = subprocess.run(command + [args["address"]], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+) received", out.stdout)
    return {"answered": int(match[1]) if match else 0, "error": out.stderr.strip()}


def tcp(args):
    try:
        with socket.create_connection((args["address"], PROBE_PORT), args["timeout"]) as conn:
            conn.settimeout(args["timeout"])
            conn.sendall(args["nonce"].encode() + b"\n")
            who, nonce = read_line(conn).split()
            return {"answered": nonce == args["nonce"], "who": who}
    except (OSError, ValueError) as error:
        return {"answered": False, "error": str(error)}


# Asks three times; a socket that is connected hears of ICMP errors.
def udp(args):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", args.get("source_port", 0)))
        sock.connect((args["address"], args.get("port", PROBE_PORT)))
        sock.settimeout(args["timeout"] / 3)
        for _ in range(3):
            try:
                sock.send(f"probe {args['nonce']}".encode())
                who, nonce = sock.recv(2048).decode().split()
                return {"answered": nonce == args["nonce"], "who": who}
            except TimeoutError:
                pass
            except (OSError, ValueError) as error:
                return {"answered": False, "error": errno.errorcode.get(getattr(error, "errno", 0))}
    return {"answered": False, "error": "timeout"}


# Sends a numbered datagram every `interval` seconds until `stop LABEL`, on one socket.
def stream(args):
    stopping[args["label"]] = threading.Event()
    number, begin = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((args["address"], PROBE_PORT))
        while True:
            try:
                sock.send(f"stream {args['label']} {number}".encode())
            except OSError:
                pass  # what an ICMP error or a lost carrier says; the next one tries again
            number += 1
            pause = begin + number * args["interval"] - time.monotonic()
            if stopping[args["label"]].wait(max(0, pause)):
                return {"sent": number}


def stop_stream(args):
    stopping[args["label"]].set()
    return {}


def arrivals(args):
    with lock:
        return {"arrivals": list(streams.get(args["label"], []))}


def collect(_args):
    with lock:
        pings = {n: {"count": len(p), "bytes": sum(map(len, p)),
                     "sha256": hashlib.sha256(b"".join(p)).hexdigest()}
                 for n, p in seen["ping"].items()}
        return {"ping": pings} | {k: {n: list(p) for n, p in seen[k].items()}
                                  for k in ("tcp", "udp")}


# Sends `bytes` bytes that no two senders share, once the receiver says that all senders are there;
# at `rate` bytes a second if given.
def send(args):
    block, left, digest = os.urandom(BLOCK), args["bytes"], hashlib.sha256()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(args["timeout"])
    sock.bind(("", args.get("source_port", 0)))
    with sock:
        sock.connect((args["address"], TRANSFER_PORT))
        sock.sendall(args["label"].encode() + b"\n")
        if read_line(sock) != "go":
            raise OSError("the receiver did not say go")
        begin = time.monotonic()
        while left:
            if args.get("rate"):
                due = begin + (args["bytes"] - left) / args["rate"]
                time.sleep(max(0, due - time.monotonic()))
            part = block[: min(left, BLOCK)]
            sock.sendall(part)
            digest.update(part)
            left -= len(part)
            block = block[1:] + block[:1]
        sock.shutdown(socket.SHUT_WR)
        read_line(sock)
        own = sock.getsockname()
    return {"sha256": digest.hexdigest(), "source": f"{own[0]}:{own[1]}"}


# Takes one transfer from each of `senders` senders at once; says "go" when all have connected.
def receive(args):
    results, threads, conns = {}, [], []
    with socket.create_server(("", TRANSFER_PORT)) as server:
        server.settimeout(args["timeout"])
        reply(args["id"], {"listening": True}, last=False)
        for _ in range(args["senders"]):
            conn, peer = server.accept()
            conn.settimeout(args["timeout"])
            conns.append((read_line(conn), conn, f"{peer[0]}:{peer[1]}"))
    for label, conn, peer in conns:
        conn.sendall(b"go\n")
        threads.append(threading.Thread(target=drain, args=(results, label, conn, peer)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return {"transfers": results}


def drain(results, label, conn, peer):
    digest, total, error = hashlib.sha256(), 0, ""
    with conn:
        try:
            while part := conn.recv(BLOCK):
                digest.update(part)
                total += len(part)
            conn.sendall(b"done\n")
        except OSError as failure:
            error = str(failure)
    results[label] = {"bytes": total, "sha256": digest.hexdigest(), "peer": peer, "error": error}


COMMANDS = {"ping": ping, "tcp": tcp, "udp": udp, "collect": collect, "send": send,
            "receive": receive, "stream": stream, "stop_stream": stop_stream, "arrivals": arrivals}


def reply(number, result, last=True):
    with lock:
        print(json.dumps({"id": number, "last": last, "result": result}), flush=True)


def serve(args):
    try:
        result = COMMANDS[args["command"]](args)
    except OSError as error:
        result = {"error": f"{args['command']}: {error}", "failed": True}
    reply(args["id"], result)


def main():
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    server = socket.create_server(("", PROBE_PORT), backlog=64)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", PROBE_PORT))
    threading.Thread(target=listen_ping, args=(raw,), daemon=True).start()
    threading.Thread(target=listen_tcp, args=(server,), daemon=True).start()
    threading.Thread(target=listen_udp, args=(datagrams,), daemon=True).start()
    reply(0, {"ready": True})
    for line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()


main()
