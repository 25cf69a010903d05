#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# In the outer machine, see service.py: once as its job, which starts a systemd whose only unit is
# this script again ("lab"), which numbers the processes it meets as they come.
set -u
build=$INSULA_BUILD insula=$INSULA_BUILD/control/insula
export INSULA_RUN_DIR=/run/insula INSULA_STATE_DIR=/run/state
declare -A seen=([insulad]="" [insula-switch]="")

begin()
{
	mkdir -p /sys/fs/cgroup /run/systemd/system/insulad.service.d
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	sed "s#^ExecStart=.*#ExecStart=$build/control/insulad#" "$build/control/insulad.service" \
		>/run/systemd/system/insulad.service
	cp "$build/../control/insula-guests.service" /run/systemd/system/
	mkdir -p /run/systemd/system/insula-guests.service.d
	printf '[Unit]\nDefaultDependencies=no\n' \
		>/run/systemd/system/insula-guests.service.d/lab.conf
	# What else a machine starts first is not what this is about.
	cat >/run/systemd/system/insulad.service.d/lab.conf <<-EOF
		[Unit]
		DefaultDependencies=no
		Wants=
		Wants=insula-guests.service
		[Service]
		Environment=INSULA_SWITCH=$build/vswitch/insula-switch
		Environment=INSULA_RUN_DIR=$INSULA_RUN_DIR INSULA_STATE_DIR=$INSULA_STATE_DIR
	EOF
	cat >/run/systemd/system/lab.service <<-EOF
		[Unit]
		DefaultDependencies=no
		SuccessAction=exit-force
		FailureAction=exit-force
		[Service]
		Type=oneshot
		Environment=INSULA_BUILD=$build
		StandardOutput=file:$OUTER_REPORT
		StandardError=inherit
		ExecStart=/bin/bash $(readlink -f "$0") lab
	EOF
	container=lab exec unshare --pid --fork --mount --mount-proc /lib/systemd/systemd --system \
		--unit=lab.service --log-target=console --show-status=no
}

# count NAME PID: sets `nth` to the how-many-th of its name it is, or to "none".
count()
{
	nth=none
	[ -n "$2" ] && [ "$2" != 0 ] || return 0
	[[ " ${seen[$1]} " == *" $2 "* ]] || seen[$1]+=" $2"
	nth=$(echo "${seen[$1]}" | tr ' ' '\n' | grep . | grep -nx "$2" | cut -d: -f1)
}

tell()
{
	local text nth
	count insulad "$(systemctl show -p MainPID --value insulad)"
	text="$1: insulad $nth"
	count insula-switch "$(pgrep -x insula-switch)"
	echo "$text, switch $nth"
}

# What insulad gives to the groups of guests, and who else is there.
guests()
{
	local group=/sys/fs/cgroup/system.slice/insula-guests.service
	echo "guests: $(tr ' ' '\n' <$group/cgroup.subtree_control | sort | xargs)," \
		"$(wc -l <$group/cgroup.procs) in it," \
		"$(ps -o comm= -p "$(xargs <$group/keeper/cgroup.procs)") beside them"
}

# Waits until insulad answers and has a switch that runs.
answers()
{
	until [[ $("$insula" status 2>&1) == *"switch.state       running"* ]]; do
		sleep 0.1
	done
}

lab()
{
	systemctl start insulad
	answers
	tell started
	guests
	kill -9 "$(systemctl show -p MainPID --value insulad)"
	answers
	tell killed
	guests
	systemctl stop insulad
	tell stopped
	systemctl start insulad
	answers
	tell "started again"
	"$insula" stop >/dev/null
	until [ "$(systemctl is-active insulad)" = inactive ]; do
		sleep 0.1
	done
	tell "insula stop"
}

"${1:-begin}"
