#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# dhclient's script in the network tests: sets the address of the namespace it runs in and says what
# happened on stderr. Writes nothing (least of all /etc/resolv.conf, which namespaces share).
# shellcheck disable=SC2154 # dhclient sets the variables
case "$reason" in
PREINIT)
	ip link set "$interface" up
	;;
BOUND | RENEW | REBIND | REBOOT)
	ip address replace "$new_ip_address/$new_subnet_mask" dev "$interface"
	[ -z "$new_routers" ] || ip route replace default via "${new_routers%% *}" dev "$interface"
	;;
RELEASE | EXPIRE | FAIL | STOP)
	ip address flush dev "$interface" scope global
	;;
esac
echo "script: $reason ${new_ip_address:-}" >&2
