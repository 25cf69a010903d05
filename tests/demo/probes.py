# SPDX-License-Identifier: BSD-3-Clause
# The matrix: every ordered pair x {ping, tcp}, all probes at once. A cell is reached only if the
# named target recorded that probe's nonce and the sender got its answer: red-1 asking for blue-2's
# address is answered by red-2, and that does not count. Called by inside.py.
import os

import policy as policies

TIMEOUT_S = 3
PINGS = 3


# `addresses` are the leased ones; a target without one is not reached.
def matrix(policy, agents, addresses):
    cells, waiting = [], []
    for source in agents:
        for target in agents:
            for proto in ("ping", "tcp") if source != target else ():
                cell = {"from": source, "to": target, "proto": proto,
                        "expected": policies.expected(policy, source, target), "observed": False}
                cells.append(cell)
                if addresses.get(source) and addresses.get(target):
                    nonce = os.urandom(16).hex()
                    args = {"address": addresses[target], "nonce": nonce}
                    if proto == "ping":
                        args |= {"count": PINGS, "interval": 0.2}
                    wait = agents[source].start(proto, timeout=TIMEOUT_S, **args)
                    waiting.append((cell, nonce, wait))
    answers = [(cell, nonce, wait()) for cell, nonce, wait in waiting]
    seen = {name: agent.call("collect") for name, agent in agents.items()}
    for cell, nonce, answer in answers:
        recorded = nonce in seen[cell["to"]][cell["proto"]]
        cell["observed"] = bool(recorded and answer.get("answered"))
        cell["answered_by"] = [n for n in seen if nonce in seen[n][cell["proto"]]]
    return cells
