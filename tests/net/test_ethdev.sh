#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 60
# Port kind ethdev: DPDK's af_packet driver between two network namespaces, its null driver, and
# devargs that name nothing.
set -u
cd "$(dirname "$0")" || exit 1
loop_bin=$(realpath "${INSULA_BUILD:-../../build}")/tests/net/vhost_loop
dir=$(mktemp -d)
ns=insula-ethdev-$$
loop_pid=

finish()
{
	[ -z "$loop_pid" ] || kill -9 "$loop_pid" 2>/dev/null
	ip netns del "$ns-a" 2>/dev/null
	ip netns del "$ns-b" 2>/dev/null
	ip netns del "$ns-s" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

fail()
{
	echo "FAIL: $1"
	cat "$dir/out"
	exit 1
}

# start PORT PORT: a loop inside namespace s.
start()
{
	: >"$dir/out"
	ip netns exec "$ns-s" "$loop_bin" "$@" >"$dir/out" 2>&1 &
	loop_pid=$!
	for _ in $(seq 100); do
		grep -q '^ready' "$dir/out" && return
		kill -0 "$loop_pid" 2>/dev/null || break
		sleep 0.1
	done
	fail "the loop did not start with $*"
}

stop()
{
	kill "$loop_pid"
	wait "$loop_pid" || fail "the loop ended with $?"
	loop_pid=
	grep -q 'mbufs 0$' "$dir/out" || fail "packet buffers leaked"
}

# refused WORDS PORT-OPTIONS...: create fails and says so.
refused()
{
	local words=$1
	shift
	! ip netns exec "$ns-s" "$loop_bin" "$@" net_null9 >"$dir/out" 2>&1 || fail "$* was taken"
	grep -q -- "$words" "$dir/out" || fail "$* was refused without saying '$words'"
}

for i in a b s; do
	ip netns add "$ns-$i" || exit 1
done
for i in a b; do
	ip -n "$ns-$i" link add eth0 type veth peer name "port-$i" netns "$ns-s"
	ip netns exec "$ns-$i" ethtool -K eth0 tx off >/dev/null
	ip -n "$ns-$i" link set eth0 up
	ip -n "$ns-s" link set "port-$i" up
done
ip -n "$ns-a" addr add 192.0.2.1/24 dev eth0
ip -n "$ns-b" addr add 192.0.2.2/24 dev eth0

start net_af_packet0,iface=port-a net_af_packet1,iface=port-b
ip netns exec "$ns-a" ping -q -c 5 -i 0.1 -w 5 -s 1400 192.0.2.2 >"$dir/ping" || fail "ping"
stop
grep -Eq 'rx0 [1-9][0-9]* .*tx1 [1-9][0-9]* lost1 0' "$dir/out" || fail "counters"
echo "ok af_packet carries frames between two namespaces"

start -p net_null0 net_null1
for _ in $(seq 50); do
	kill -USR1 "$loop_pid"
	sleep 0.1
	grep -Eq 'rx0 [1-9][0-9]{4}' "$dir/out" && break
done
stop
grep -Eq 'rx0 [1-9][0-9]{4}' "$dir/out" || fail "net_null received nothing"
echo "ok a polled device is received from and given back"

refused "no driver for 'net_nonsense0'; linked in are .*net_virtio_user" net_nonsense0
refused "no device 'net_af_packet0,iface=nothere': .*CAP_NET_RAW.*use \`interface\` instead" \
	net_af_packet0,iface=nothere
refused "'net_virtio_user0' has no path" net_virtio_user0
refused 'net_virtio_user0,path=/nobody.: its driver says: connect error' \
	net_virtio_user0,path=/nobody
refused 'queues wanted' -q 2 net_af_packet0,iface=port-a
echo "ok what cannot be opened is refused with a reason"
