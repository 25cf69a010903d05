#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# 64-byte frames between two virtio-user ports of one guest process (io forwarding, one core),
# carried by the bare loop of two vhost-user ports on another core, and by testpmd's own vhost
# driver in its place; alternated. Prints Mpps, both directions summed, and the ratio.
# usage: vhost_loop.sh [PATH/TO/vhost_loop] [ROUNDS] [SECONDS]
set -euo pipefail
loop=$(realpath "${1:-build/tests/net/vhost_loop}") rounds=${2:-3} seconds=${3:-4}
pages=288
dir=$(mktemp -d)
nr_before=$(cat /proc/sys/vm/nr_hugepages)
pids=()

cleanup()
{
	for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || true; done
	wait
	echo "$nr_before" >/proc/sys/vm/nr_hugepages
	rm -rf "$dir"
}
trap cleanup EXIT
export RUNTIME_DIRECTORY=$dir # what DPDK leaves behind
echo $((nr_before + pages)) >/proc/sys/vm/nr_hugepages

await()
{
	local i
	for ((i = 0; i < 400; i++)); do
		grep -q -- "$1" "$2" && return
		sleep 0.05
	done
	echo "waited in vain for '$1'; the end of $2:" >&2
	tail -n 5 "$2" >&2
	exit 1
}

received()
{
	local n
	n=$(grep -c 'RX-packets' "$dir/guest.out" || true)
	echo 'show port stats all' >&3
	for ((i = 0; i < 100; i++)); do
		[ "$(grep -c 'RX-packets' "$dir/guest.out")" -lt $((n + 2)) ] || break
		sleep 0.02
	done
	grep 'RX-packets' "$dir/guest.out" | tail -n 2 | awk '{ s += $2 } END { print s }'
}

# mpps BACK-END...: of a back end that dials the guest's two sockets.
mpps()
{
	local a b t0 t1
	rm -f "$dir"/{a,b,guest.in}
	mkfifo "$dir/guest.in"
	exec 3<>"$dir/guest.in"
	stdbuf -oL dpdk-testpmd --no-pci --in-memory --single-file-segments -m 256 \
		--lcores 0@1,1@1 \
		--file-prefix="insula-perf-$$" --vdev="net_virtio_user0,path=$dir/a,server=1" \
		--vdev="net_virtio_user1,path=$dir/b,server=1" -- -i --total-num-mbufs=16384 \
		<"$dir/guest.in" >"$dir/guest.out" 2>&1 &
	pids=($!)
	for ((i = 0; i < 200; i++)); do
		[ -S "$dir/b" ] && break
		sleep 0.05
	done
	"$@" <"$dir/guest.in.none" >"$dir/back.out" 2>&1 &
	pids+=($!)
	await 'testpmd> ' "$dir/guest.out"
	sleep 1 # both back ends dial once a second
	echo 'start tx_first 3' >&3 # 192 frames go round: fewer than a ring holds, so none is lost
	sleep 1 # warm
	a=$(received) t0=$EPOCHREALTIME
	sleep "$seconds"
	b=$(received) t1=$EPOCHREALTIME
	kill -9 "${pids[@]}"
	wait "${pids[@]}" 2>/dev/null || true
	pids=()
	exec 3>&-
	awk -v n=$((b - a)) -v t0="$t0" -v t1="$t1" 'BEGIN { printf "%.2f\n", n / (t1 - t0) / 1e6 }'
}

mkfifo "$dir/guest.in.none"
exec 4<>"$dir/guest.in.none"
for ((r = 0; r < rounds; r++)); do
	ours=$(mpps "$loop" -p "$dir/a" "$dir/b")
	theirs=$(mpps dpdk-testpmd --no-pci --no-huge -m 256 --lcores 0@0,1@0 \
		--file-prefix="insula-peer-$$" \
		--vdev="net_vhost0,iface=$dir/a,client=1" \
		--vdev="net_vhost1,iface=$dir/b,client=1" \
		-- --total-num-mbufs=16384 --forward-mode=io)
	awk -v a="$ours" -v b="$theirs" \
		'BEGIN { printf "vhost loop %s Mpps, testpmd vhost io %s Mpps, ratio %.2f\n",
			a, b, (b > 0 ? a / b : 0) }'
done
