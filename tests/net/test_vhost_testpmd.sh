#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 180
# Port kind vhost-user against real front ends: DPDK's virtio-user in testpmd. Two such ports, one
# worker between them (vhost_loop): bytes, checksum and segmentation offloads both ways, several
# queues, sleep, either side killed. virtio-user shares its memory only from hugepages; they are
# given back.
set -u
cd "$(dirname "$0")" || exit 1
build=${INSULA_BUILD:-../../build}
loop_bin=$(realpath "$build")/tests/net/vhost_loop
frames=$(realpath vhost_frames.py)
pages=288

skip()
{
	echo "SKIP: $1"
	exit 77
}
command -v dpdk-testpmd >/dev/null || skip "dpdk-testpmd is missing: apt-get install dpdk-dev"
/usr/bin/python3 -c 'import scapy.all' 2>/dev/null \
	|| skip "scapy is missing: apt-get install python3-scapy"

dir=$(mktemp -d)
free_before=$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)
nr_before=$(cat /proc/sys/vm/nr_hugepages)
declare -A pid fifo

finish()
{
	local name
	for name in "${!pid[@]}"; do
		kill -9 "${pid[$name]}" 2>/dev/null
		wait "${pid[$name]}" 2>/dev/null
	done
	echo "$nr_before" >/proc/sys/vm/nr_hugepages
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

if [ "$free_before" -lt $pages ]; then
	echo $((nr_before + pages - free_before)) >/proc/sys/vm/nr_hugepages
	[ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" -ge $pages ] ||
		skip "virtio-user needs $pages hugepages of 2 MiB; this host gave fewer"
fi

fail()
{
	echo "FAIL: $1"
	tail -n 15 "$dir"/*.out
	exit 1
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds.
wait_for()
{
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited in vain: $what"
		sleep 0.05
	done
}

said()
{
	grep -q -- "$2" "$dir/$1.out"
}

# A last line of this kind, for this port.
port_is()
{
	[ "$(grep "^port $1 " "$dir/loop.out" | tail -n 1 | cut -d' ' -f3-)" = "$2" ]
}

loop()
{
	: >"$dir/loop.out"
	"$loop_bin" "$@" "$dir/a" "$dir/b" >"$dir/loop.out" 2>&1 &
	pid[loop]=$!
	wait_for 5 "the loop is ready" said loop '^ready'
}

more_totals()
{
	[ "$(grep -c '^totals' "$dir/loop.out")" -gt "$1" ]
}

# totals FIELD: of the loop, now.
totals()
{
	local before
	before=$(grep -c '^totals' "$dir/loop.out")
	kill -USR1 "${pid[loop]}"
	wait_for 5 "totals" more_totals "$before"
	grep '^totals' "$dir/loop.out" | tail -n 1 | sed -n "s/.* $1 \([0-9]*\).*/\1/p"
}

reached()
{
	[ "$(totals "$1")" -ge "$2" ]
}

# peer NAME VDEV... -- TESTPMD-ARGS...: a testpmd whose first device is the virtio-user of socket
# NAME.
peer()
{
	local name=$1 vdevs=() fd
	shift
	while [ "$1" != -- ]; do
		vdevs+=("--vdev=$1")
		shift
	done
	shift
	rm -f "$dir/$name.fifo"
	mkfifo "$dir/$name.fifo"
	: >"$dir/$name.out"
	exec {fd}<>"$dir/$name.fifo"
	fifo[$name]=$fd
	RUNTIME_DIRECTORY=$dir dpdk-testpmd --no-pci --in-memory --single-file-segments -m 256 \
		--lcores 0,1@0-1 \
		--file-prefix="insula-$$-$name" "${vdevs[@]}" -- -i --no-flush-rx \
		--total-num-mbufs=4096 "$@" \
		<"$dir/$name.fifo" >"$dir/$name.out" 2>&1 &
	pid[$name]=$!
	wait_for 20 "testpmd $name is up" said "$name" 'testpmd> '
}

tell()
{
	echo "$2" >&"${fifo[$1]}"
}

# Ends a process; with a signal other than TERM it gets no chance to say good-bye.
end()
{
	local fd
	if [ "${2:-TERM}" = TERM ] && [ -n "${fifo[$1]:-}" ]; then
		tell "$1" quit
	else
		kill "-${2:-TERM}" "${pid[$1]}"
	fi
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
	if [ -n "${fifo[$1]:-}" ]; then
		fd=${fifo[$1]}
		exec {fd}>&-
		unset "fifo[$1]"
	fi
}

user()
{
	echo "net_virtio_user0,path=$dir/$1,${2:-server=1}"
}

/usr/bin/python3 "$frames" write mixed "$dir/mixed.pcap" || exit 1
/usr/bin/python3 "$frames" write super "$dir/super.pcap" || exit 1
same()
{
	/usr/bin/python3 "$frames" same "$@" >"$dir/same.out" || fail "$(cat "$dir/same.out")"
}

# Two testpmds with one queue: a sends what is in a capture (every checksum left to the far end), b
# writes down what it gets.
guests()
{
	loop
	peer b "$(user b)" "net_pcap0,tx_pcap=$dir/out.pcap" -- --mbuf-size=16384
	peer a "$(user a)" "net_pcap0,rx_pcap=$dir/$file" -- --mbuf-size=16384 --forward-mode=csum
	tell a 'port stop 0'
	tell a 'csum set tcp hw 0'
	tell a 'csum set udp hw 0'
	tell a 'csum mac-swap off 0'
}

# Its prompt is there again after `start`.
b_started()
{
	sed '1,/testpmd> start/d' "$dir/b.out" | grep -q 'testpmd> '
}

# What b's driver asks of the far end: checksums completed by us, or left to it, or super-frames
# too.
b_accepts()
{
	local offload
	tell b 'port stop 0'
	for offload in "$@"; do
		tell b "port config 0 rx_offload $offload on"
	done
	tell b 'port start 0'
	tell b start
	# What comes before its port has started anew is lost.
	wait_for 10 "b forwards" b_started
}

# send FRAMES: starts a, waits until all of them went in.
send()
{
	wait_for 10 "port b is up" port_is 1 "up offloads $2"
	tell a 'port start 0'
	wait_for 10 "port a is up" said loop '^port 0 up'
	tell a start
	wait_for 10 "$1 frames from a" reached rx0 "$1"
}

# b_wrote FRAMES: what it took out of its ring is in its capture.
b_wrote()
{
	tell b 'show port stats 1'
	[ "$(awk '/TX-packets:/ { n = $2 } END { print n + 0 }' "$dir/b.out")" -ge "$1" ]
}

guests_end()
{
	end a
	end b
	end loop
	said loop 'mbufs 0$' || fail "packet buffers leaked"
}

test_csum_in_software()
{
	file=mixed.pcap
	guests
	b_accepts
	send 120 0
	wait_for 10 "120 frames to b" reached tx1 120
	wait_for 10 "b writes them down" b_wrote 120
	[ "$(totals csum0)" -eq 120 ] || fail "partial checksums from a: $(totals csum0) of 120"
	guests_end
	same "$dir/mixed.pcap" "$dir/out.pcap"
}

test_csum_passed_through()
{
	file=mixed.pcap
	guests
	b_accepts tcp_cksum udp_cksum
	send 120 1
	wait_for 10 "120 frames to b" reached tx1 120
	wait_for 10 "b writes them down" b_wrote 120
	guests_end
	same "$dir/mixed.pcap" "$dir/out.pcap" ignore-csum
	! /usr/bin/python3 "$frames" same "$dir/mixed.pcap" "$dir/out.pcap" >"$dir/same.out" ||
		fail "b was offered partial checksums and got complete ones"
}

test_tso()
{
	file=super.pcap
	guests
	tell a 'tso set 1000 0'
	b_accepts tcp_cksum udp_cksum tcp_lro
	send 8 7
	wait_for 10 "8 super-frames to b" reached tx1 8
	wait_for 10 "b writes them down" b_wrote 8
	[ "$(totals gso0)" -eq 8 ] || fail "super-frames from a: $(totals gso0) of 8"
	guests_end
	same "$dir/super.pcap" "$dir/out.pcap" ignore-csum
}

# No tx stage in the loop that would segment: the port itself must refuse.
test_tso_never_raw()
{
	file=super.pcap
	guests
	tell a 'tso set 1000 0'
	b_accepts tcp_cksum udp_cksum
	send 8 1
	wait_for 10 "8 super-frames refused" reached lost1 8
	[ "$(totals tx1)" -eq 0 ] || fail "b got super-frames it cannot take"
	guests_end
}

queues_all_reached()
{
	totals rx0 >"$dir/null"
	grep '^totals' "$dir/loop.out" | tail -n 1 \
		| grep -Eq 'queues0 [1-9][0-9]* [1-9][0-9]* [1-9][0-9]* '
}

test_queues()
{
	loop -q 3
	peer b "$(user b server=1,queues=3)" -- --rxq=3 --txq=3 --forward-mode=rxonly --auto-start
	peer a "$(user a server=1,queues=3)" -- --rxq=3 --txq=3 --forward-mode=txonly --auto-start
	wait_for 10 "packets on all three queues" queues_all_reached
	guests_end
	for queue in 0 1 2; do
		said b "RX Port= 0/Queue= $queue " || fail "b got nothing on queue $queue"
	done
}

# A front end with fewer queues than the port, and the port as the server.
test_server()
{
	loop -s -q 2
	peer b "net_virtio_user0,path=$dir/b" -- --forward-mode=rxonly --auto-start
	peer a "net_virtio_user0,path=$dir/a,queues=2" -- --rxq=2 --txq=2 --forward-mode=txonly \
		--auto-start
	wait_for 10 "packets to b" reached tx1 1000
	# A server's guest comes back at once, while its ghost may still be attached.
	end a KILL
	wait_for 5 "port a is down" said loop '^port 0 down'
	peer a "net_virtio_user0,path=$dir/a,queues=2" -- --rxq=2 --txq=2 --forward-mode=txonly \
		--auto-start
	wait_for 10 "packets to b again" reached rx0 $(($(totals rx0) + 1000))
	guests_end
	[ ! -e "$dir/a" ] || fail "the server left its socket behind"
}

test_killed()
{
	local sent
	loop
	peer b "$(user b)" -- --forward-mode=rxonly --auto-start
	peer a "$(user a)" -- --forward-mode=txonly --auto-start
	wait_for 10 "packets to b" reached tx1 1000
	end a KILL
	wait_for 5 "port a is down" port_is 0 'down offloads 0'
	rm -f "$dir/a"
	peer a "$(user a)" -- --forward-mode=txonly --auto-start
	sent=$(totals tx1)
	wait_for 10 "packets to b from the new a" reached tx1 $((sent + 1000))

	# The other way round: the guests live on, a new switch finds them.
	end loop KILL
	loop
	wait_for 10 "packets through the new loop" reached tx1 1000
	guests_end
}

cpu_ticks()
{
	awk '{ print $14 + $15 }' "/proc/${pid[loop]}/stat"
}

test_sleep()
{
	local before
	loop
	peer b "$(user b)" -- --forward-mode=rxonly --auto-start
	peer a "$(user a)" -- --forward-mode=txonly
	wait_for 10 "port a is up" said loop '^port 0 up'
	wait_for 10 "port b is up" said loop '^port 1 up'
	before=$(cpu_ticks)
	sleep 2 # measures idleness over this time; waits for nothing
	[ $(($(cpu_ticks) - before)) -le 4 ] \
		|| fail "idle, the loop took $(($(cpu_ticks) - before)) ticks in 2 s"
	tell a 'set burst 1'
	tell a 'start tx_first 1'
	wait_for 5 "a lone packet wakes the loop" reached tx1 1
	guests_end
}

for t in csum_in_software csum_passed_through tso tso_never_raw queues server killed sleep; do
	if [ $# -eq 0 ] || [ "$1" = $t ]; then
		"test_$t"
		echo "ok $t"
	fi
done
