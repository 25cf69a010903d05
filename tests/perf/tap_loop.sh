#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# iperf3 TCP through the bare loop of two taps and through a kernel bridge of two veths, alternated.
# usage: tap_loop.sh [PATH/TO/tap_loop] [ROUNDS] [SECONDS]; prints Gb/s of each and their ratio.
set -euo pipefail
loop=${1:-build/tests/perf/tap_loop} rounds=${2:-3} seconds=${3:-4}
id=ilp$$
pids=()

cleanup()
{
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	for ns in a b bra brb br; do ip netns del "$id-$ns" 2>/dev/null || true; done
}
trap cleanup EXIT

# gbps CLIENT_NS SERVER_NS ADDRESS
gbps()
{
	local server
	ip netns exec "$2" iperf3 -s -1 -B "$3" >/dev/null &
	server=$!
	until ip netns exec "$2" ss -ltnH sport = :5201 | grep -q .; do :; done
	ip netns exec "$1" iperf3 -c "$3" -t "$seconds" -O 1 -J |
		python3 -c 'import json, sys
print("%.2f" % (json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9))'
	wait "$server"
}

for ns in a b bra brb br; do ip netns add "$id-$ns"; done
ip -n "$id-br" link add br0 type bridge
for ns in bra brb; do
	ip -n "$id-$ns" link add eth0 type veth peer name "$ns" netns "$id-br"
	ip -n "$id-br" link set "$ns" master br0 up
	ip -n "$id-$ns" link set eth0 up
done
ip -n "$id-br" link set br0 up
ip -n "$id-bra" addr add 10.9.0.1/24 dev eth0
ip -n "$id-brb" addr add 10.9.0.2/24 dev eth0

read -r -a options <<<"${LOOP_ARGS:-}"
coproc LOOP { exec "$loop" "${options[@]}" "$id-a" "$id-b"; }
pids+=("$LOOP_PID")
read -r -t 20 _ <&"${LOOP[0]}"
i=1
for ns in a b; do
	ip -n "$id-$ns" link set tap0 up
	ip -n "$id-$ns" addr add "10.9.1.$((i++))/24" dev tap0
done

for ((r = 0; r < rounds; r++)); do
	t=$(gbps "$id-a" "$id-b" 10.9.1.2)
	b=$(gbps "$id-bra" "$id-brb" 10.9.0.2)
	python3 -c 'import sys
t, b = map(float, sys.argv[1:])
print(f"tap loop {t} Gb/s, kernel bridge {b} Gb/s, ratio {t / b:.2f}")' "$t" "$b"
done
