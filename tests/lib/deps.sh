#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev deps: installs with apt what a kind of work needs on a fresh Debian 12. Fast when nothing is
# missing. No installed service ever starts: policy-rc.d forbids it during the installation, and
# services that came new are masked afterwards. Never installs a kernel.
set -euo pipefail

# To compile everything but the fuzzers.
build_pkgs="gcc libc6-dev meson ninja-build pkg-config python3
	libdpdk-dev libnl-3-dev libnl-route-3-dev libmnl-dev libcmocka-dev libjansson-dev
	libsqlite3-dev libyaml-dev libmicrohttpd-dev libsmartcols-dev libseccomp-dev libnftables-dev
	libcurl4-openssl-dev libpcap-dev libmd-dev libcap-dev libbsd-dev libssl-dev libnuma-dev
	libfdt-dev liburing-dev zlib1g-dev liblzma-dev libzstd-dev liblz4-dev acpica-tools"
# To run Insula beside real Linux stacks.
# tcpdump: of the commands that --keep prints.
demo_pkgs="iproute2 iputils-ping iperf3 udhcpc nftables procps python3 python3-yaml
	kmod util-linux tcpdump"
# dev lint.
lint_pkgs="clang-format cppcheck shellcheck python3"
# Fuzzers; generators and readers of captures (scapy, tshark); peers of the network tests (testpmd,
# dhclient, Open vSwitch); guests, their disks and the outer machine of kinds kvm and e2e;
# instruction counts; addr2line.
test_pkgs="clang libclang-rt-14-dev dpdk-dev ethtool curl python3-scapy tshark isc-dhcp-client
	traceroute python3-jsonschema qemu-system-x86 qemu-system-common qemu-utils
	busybox-static e2fsprogs xfsprogs mmdebstrap binutils valgrind openvswitch-switch-dpdk"
# dev fuzz --afl and --coverage.
fuzz_pkgs="clang libclang-rt-14-dev llvm afl++"
# Peers of the benchmarks, the outer machine; where the cycles go.
bench_pkgs="dpdk-dev ethtool openvswitch-switch-dpdk kea-dhcp4-server kea-admin binutils linux-perf
	qemu-system-x86 qemu-system-data busybox-static"

policy=/usr/sbin/policy-rc.d
mark="# insula-dev-deps: removed when the installation ends"

usage()
{
	cat <<-'EOF'
		usage: ./dev deps [KIND...]

		Installs with apt what KIND needs and is missing; without KIND, all of them.
		  build   compile
		  demo    build, and run the demo
		  test    demo, lint, and run every kind of test
		  fuzz    build, and dev fuzz with AFL++ and coverage
		  bench   demo, and run the benchmarks
		  lint    ./dev lint and ./dev format
		Needs root only if something is missing. No service is started, no kernel installed.
		Example: sudo ./dev deps demo
	EOF
}

packages_of()
{
	case $1 in
	build) echo "$build_pkgs" ;;
	demo) echo "$build_pkgs $demo_pkgs" ;;
	lint) echo "$lint_pkgs" ;;
	test) echo "$build_pkgs $demo_pkgs $lint_pkgs $test_pkgs" ;;
	fuzz) echo "$build_pkgs $fuzz_pkgs" ;;
	bench) echo "$build_pkgs $demo_pkgs $bench_pkgs" ;;
	*)
		echo "dev deps: no kind '$1'; it is one of: build demo test fuzz bench lint" >&2
		return 2
		;;
	esac
}

# Prints those of its arguments that are not installed.
missing_of()
{
	local installed
	# shellcheck disable=SC2016 # dpkg-query's own variables
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p' || true)
	printf '%s\n' "$@" | sort -u | grep -vxF -f <(printf '%s\n' "$installed" '-') || true
}

services_forbid()
{
	if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
		mv "$policy" "$policy.insula-saved"
	fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
}

# Also cleans up after a run that was killed.
services_restore()
{
	if [ -e "$policy" ] && grep -qF "$mark" "$policy"; then
		rm -f "$policy"
	fi
	if [ -e "$policy.insula-saved" ]; then
		mv "$policy.insula-saved" "$policy"
	fi
}

unit_files()
{
	find /lib/systemd/system /usr/lib/systemd/system -maxdepth 1 -type f \
		\( -name '*.service' -o -name '*.socket' -o -name '*.timer' \) 2>/dev/null | sort -u
}

# A unit that came with the installation and would start at the next boot is masked.
mask_new_units()
{
	local unit
	while read -r unit; do
		unit=${unit##*/}
		if [ -n "$unit" ] && [ ! -e "/etc/systemd/system/$unit" ] &&
			find /etc/systemd/system/*.wants -name "$unit" 2>/dev/null | grep -q .; then
			ln -s /dev/null "/etc/systemd/system/$unit"
			echo "deps: masked $unit (undo: systemctl unmask $unit)"
		fi
	done < <(comm -13 <(printf '%s\n' "$1") <(unit_files))
}

apt_install()
{
	apt-get install -y --no-install-recommends "$@"
}

refuse_kernel()
{
	local kernel
	kernel=$(apt-get install -s --no-install-recommends "$@" 2>/dev/null |
		sed -n 's/^Inst \(linux-image[^ ]*\).*/\1/p')
	if [ -n "$kernel" ]; then
		echo "deps: refused: this would install a kernel on the host ($kernel)" >&2
		return 1
	fi
}

install_missing()
{
	local before log
	export DEBIAN_FRONTEND=noninteractive
	before=$(unit_files)
	log=$(mktemp)
	trap 'services_restore; rm -f "'"$log"'"' EXIT
	trap 'exit 130' INT TERM HUP
	services_forbid
	echo "deps: installing $*"
	if ! { apt-get install -s --no-install-recommends "$@" >"$log" 2>&1 &&
		refuse_kernel "$@" && apt_install "$@" >"$log" 2>&1; }; then
		# No lists yet, or lists so old that the mirror has moved on.
		apt-get update >"$log" 2>&1 || {
			cat "$log" >&2
			echo "deps: apt-get update failed: is there a network and a mirror?" >&2
			return 1
		}
		refuse_kernel "$@"
		apt_install "$@" >"$log" 2>&1 || {
			tail -30 "$log" >&2
			echo "deps: could not install: $*" >&2
			return 1
		}
	fi
	mask_new_units "$before"
}

main()
{
	local arg kinds=() pkgs=() missing=()
	for arg in "$@"; do
		case $arg in
		-h | --help)
			usage
			return 0
			;;
		*) kinds+=("$arg") ;;
		esac
	done
	[ ${#kinds[@]} -gt 0 ] || kinds=(test fuzz bench)
	for arg in "${kinds[@]}"; do
		local list
		list=$(packages_of "$arg")
		read -r -d '' -a more <<<"$list" || true
		pkgs+=("${more[@]}")
	done
	mapfile -t missing < <(missing_of "${pkgs[@]}")
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "deps: missing: ${missing[*]}" >&2
		echo "deps: install with: sudo ./dev deps ${kinds[*]}" >&2
		return 1
	fi
	install_missing "${missing[@]}"
}

main "$@"
