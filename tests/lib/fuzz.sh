#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dev fuzz: runs one target. First every input kept of it (corpus and crashes), then new ones for
# some seconds. The tree is only read (but by --keep); what is found goes to the build folders.
set -euo pipefail
cd "${INSULA_ROOT:=$(dirname "$0")/../..}"
export INSULA_ROOT=$PWD

usage()
{
	cat <<-'EOF'
		usage: ./dev fuzz TARGET SECONDS
		       ./dev fuzz --afl TARGET SECONDS
		       ./dev fuzz --keep TARGET
		       ./dev fuzz --coverage [FILE]
		       ./dev fuzz --list

		Replays tests/fuzz/corpus/NAME and tests/fuzz/crashes/NAME (TARGET is fuzz_NAME),
		then looks for new inputs. A crashing input is left in build-fuzz/crashes/; keep it
		in tests/fuzz/crashes/NAME when it is mended.
		  --afl       the same by AFL++; crashes: build-afl/found/NAME/default/crashes/
		  --keep      adds to the corpus what was found and reaches code it did not reach
		  --coverage  lines of each parser that the kept inputs reach; with FILE, the ones
		              of it that they do not
		Example: ./dev fuzz fuzz_dhcp4 60
	EOF
}

# What the targets are for: all that reads bytes of guests, wires, clients, files and the kernel.
parsers=(dhcp/{arp,dhcp4_parse,dhcp4_decide,dhcp4_build,icmp_echo}.c
	vswitch/{parse,vnet_hdr,gso,vlan_ingress,guard,service,service_dhcp}.c
	vswitch/{session,icmp_error,route,rewrite,nat_table,session_table,session_state}.c
	vswitch/{policy_load,policy_check,policy}.c vswitch/{virtq,virtq_rx,virtq_tx}.c
	control/{yaml_node,model_yaml,model_value,model_schema,model_check,model_report}.c
	vmm/{boot,boot_elf,boot_linux,boot_payload,boot_file,boot_enter,decompress}.c
	vmm/{bus,pci,msix,virtio_pci,virtio_pci_common,api_route,options}.c
	vmm/{virtq,blk_request,virtio_vsock,vsock_connection,boot_place}.c
	vmm/virtio_{blk,net,vsock}_parse.c
	control/{proto_io,api,api_config,api_lists,linkwatch,link,host_care}.c)

# targets_of DIR
targets_of()
{
	find "$1/tests/fuzz" -maxdepth 1 -type f -perm -u+x -name 'fuzz_*' -printf '%f\n' | sort
}

# check_target DIR OPTION TARGET: builds DIR if TARGET is not there; 2 if there is none.
check_target()
{
	[ -x "$1/tests/fuzz/$3" ] || tests/lib/build.sh --quiet "$2"
	if ! targets_of "$1" | grep -qxF "$3"; then
		echo "dev fuzz: no target '$3'; it is one of: $(targets_of "$1" | tr '\n' ' ')" >&2
		return 2
	fi
}

# kept_of TARGET: sets `kept` to its folders in the tree.
kept_of()
{
	local dir name=${1#fuzz_}
	kept=()
	for dir in tests/fuzz/corpus/$name tests/fuzz/crashes/$name; do
		[ ! -d "$dir" ] || kept+=("$dir")
	done
}

fuzz()
{
	local target=$1 seconds=$2 found=build-fuzz/found/${1#fuzz_} kept
	local crashes=build-fuzz/crashes/
	check_target build-fuzz --fuzz "$target" || return
	kept_of "$target"
	mkdir -p "$found" "$crashes"
	"build-fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-error_exitcode=1 -timeout_exitcode=1 -print_final_stats=1 \
		-artifact_prefix="$crashes" "$found" "${kept[@]}"
}

# AFL++ begins with the corpus only. It wants core files piped nowhere and a fixed clock rate: a
# machine of somebody else's is not reconfigured for that.
afl()
{
	local target=$1 seconds=$2 name=${1#fuzz_} found
	check_target build-afl --afl "$target" || return
	found=build-afl/found/$name
	rm -rf "$found"
	mkdir -p "$found"
	export AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1
	AFL_NO_AFFINITY=1 afl-fuzz -V "$seconds" -t 10000 -m none \
		-i "tests/fuzz/corpus/$name" -o "$found" -- \
		"build-afl/tests/fuzz/$target" >"$found/log" 2>&1 ||
		{ tail -20 "$found/log" >&2 && return 1; }
	grep -E '^(execs_done|execs_per_sec|corpus_found|saved_crashes|saved_hangs) ' \
		"$found/default/fuzzer_stats"
	! grep -qE '^saved_(crashes|hangs) *: [1-9]' "$found/default/fuzzer_stats"
}

keep()
{
	local target=$1 name=${1#fuzz_}
	check_target build-fuzz --fuzz "$target" || return
	mkdir -p "build-fuzz/found/$name" "tests/fuzz/corpus/$name"
	"build-fuzz/tests/fuzz/$target" -merge=1 \
		"tests/fuzz/corpus/$name" "build-fuzz/found/$name"
}

# coverage [FILE]
coverage()
{
	local target objects=() kept
	tests/lib/build.sh --quiet --coverage
	rm -f build-cov/*.prof*
	for target in $(targets_of build-cov); do
		kept_of "$target"
		[ ${#kept[@]} -gt 0 ] || continue
		LLVM_PROFILE_FILE=build-cov/$target.profraw "build-cov/tests/fuzz/$target" \
			"${kept[@]}" >"build-cov/$target.log" 2>&1 ||
			{ tail -20 "build-cov/$target.log" >&2 && return 1; }
		objects+=(-object "build-cov/tests/fuzz/$target")
	done
	llvm-profdata merge -o build-cov/all.profdata build-cov/*.profraw
	if [ $# -gt 0 ]; then
		uncovered "$1" "${objects[@]:1}"
	else
		summary "${objects[@]:1}"
	fi
}

# Asked for one file, llvm-cov finds none that was compiled by a path with "..": so for all.
uncovered()
{
	llvm-cov show -instr-profile=build-cov/all.profdata "${@:2}" |
		awk -v wanted="$PWD/$1:" '
		/^\// { here = $0 == wanted; seen += here }
		here && /^ +[0-9]+\| +0\|/ { print; n++ }
		END {
			if (!seen) { print "no target has " wanted > "/dev/stderr"; exit 1 }
			if (!n) print "every line is reached"
		}'
}

summary()
{
	llvm-cov export -summary-only -instr-profile=build-cov/all.profdata "$@" |
		python3 -c '
import json, os, sys
wanted = sys.argv[1:]
for f in json.load(sys.stdin)["data"][0]["files"]:
    n = f["summary"]["lines"]
    name = os.path.relpath(f["filename"])
    if name in wanted:
        wanted.remove(name)
        print("%-26s %4d of %4d lines  %5.1f %%" % (name, n["covered"], n["count"], n["percent"]))
for name in wanted:
    print("%-26s    no target has it" % name)
' "${parsers[@]}"
}

main()
{
	local verb=fuzz
	case ${1:-} in
	-h | --help)
		usage
		return 0
		;;
	--list)
		tests/lib/build.sh --quiet --fuzz
		targets_of build-fuzz
		return 0
		;;
	--coverage)
		if [ $# -gt 2 ] || [ ! -e "${2:-.}" ]; then
			usage >&2
			return 2
		fi
		coverage "${@:2}"
		return
		;;
	--keep)
		if [ $# -ne 2 ]; then
			usage >&2
			return 2
		fi
		keep "$2"
		return
		;;
	--afl)
		verb=afl
		shift
		;;
	esac
	if [ $# -ne 2 ] || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
		usage >&2
		return 2
	fi
	"$verb" "$1" "$2"
}

main "$@"
