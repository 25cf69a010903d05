#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# udhcpc's script in the demo and the network tests: sets address, MTU and default route of the
# namespace it runs in, and notes the lease in $INSDEMO_LEASES/$INSDEMO_INSTANCE. Writes nothing
# else (least of all /etc/resolv.conf, which namespaces share).
note="$INSDEMO_LEASES/$INSDEMO_INSTANCE"
# shellcheck disable=SC2154 # udhcpc sets the variables
case "$1" in
deconfig)
	ip address flush dev "$interface" scope global
	ip link set "$interface" up
	;;
bound | renew)
	ip address replace "$ip/$mask" dev "$interface"
	[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
	[ -z "$router" ] || ip route replace default via "${router%% *}" dev "$interface"
	cat >"$note.new" <<END
{"event": "$1", "address": "$ip", "prefix_len": "$mask", "router": "$router", "dns": "$dns",
 "mtu": "$mtu", "lease_s": "$lease", "server": "$serverid"}
END
	mv "$note.new" "$note"
	;;
esac
