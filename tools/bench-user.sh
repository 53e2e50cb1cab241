#!/bin/bash
# bench-user.sh [WORKLOAD...] - what guest user code costs beside the same code run natively: the same i386 busybox, the same script, processor seconds.
#
# The workloads are in tests/bench/user.sh. The guest is the Debian kernel with a second archive after its initramfs that puts the script in place of init. It
# prints a line before and after each workload, and the host's scheduler says what the vCPU's thread had used by then: no clock of the guest is asked. The native
# figure is user and system time, children included. Natives and guests take turns, and of several rounds the least counts for each: noise only adds.
#
# Environment: BUILD (build), ROUNDS (3), ENGINE (translate). Exit: 0 all bounds hold, 1 one does not, 77 no Debian guest or no i386 programs here.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/bench/lib.sh

build=${BUILD:-build}
rounds=${ROUNDS:-3}
engine=${ENGINE:-translate}
debian=build/debian
user_code=(sha256sum gzip shell awk)
kernel_loops=(calls forks faults)
[ $# -gt 0 ] || set -- "${user_code[@]}" "${kernel_loops[@]}"
work=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
work=$(realpath "$work")
declare -A native guest

skip() {
	echo "bench-user: skipped: $*"
	exit 77
}

[ -e $debian/vmlinuz ] && [ -e $debian/initramfs.gz ] || skip "no Debian guest in $debian (make guests fetches it)"
busybox=$(tools/busybox.sh "$work") || skip "no busybox in $debian/cache (make guests fetches it)"
"$busybox" true 2>/dev/null || skip 'this host does not run i386 programs'
cp "$build/bench/loops" tests/bench/user.sh "$work"

{
	cat $debian/initramfs.gz
	perl tests/initramfs/newc.pl <<-END | gzip -1
		dir bench 755
		file bench/loops 755 $work/loops
		file init 755 tests/bench/user.sh
	END
} >"$work/initramfs"

# least ARRAY NAME SECONDS
least() {
	local -n table=$1
	if [ -z "${table[$2]-}" ] || awk "BEGIN { exit !($3 < ${table[$2]}) }"; then table[$2]=$3; fi
}

run_native() {
	local TIMEFORMAT='%U %S' times
	for name; do
		(cd "$work" && [ -s numbers ] || "$busybox" seq 1 400000 >"$work/numbers")
		times=$({ time (cd "$work" && BUSYBOX=$busybox taskset -c 0 "$busybox" sh ./user.sh "$name" >native.out 2>&1); } 2>&1)
		! grep failed "$work/native.out" || exit 5
		least native "$name" "$(awk "BEGIN { print ${times/ / + } }")"
	done
}

run_guest() {
	local line pid used rest begin=0 names
	names=$(IFS=,; echo "$*")
	rm -f "$work/console"
	mkfifo "$work/console"
	"$build/ringside" run --limit 100G --engine "$engine" --memory 256M --initrd "$work/initramfs" --append "console=ttyS0 quiet workloads=$names" \
		$debian/vmlinuz </dev/null >"$work/console" 2>"$work/err" &
	pid=$!
	while IFS= read -r line; do
		line=${line%$'\r'}
		read -r used rest </proc/$pid/schedstat || true
		case $line in
		'bench: begin '*) begin=$used ;;
		'bench: end '*) least guest "${line##* }" "$(awk "BEGIN { print ($used - $begin) / 1e9 }")" ;;
		'bench: failed '*) echo "$line" >&2 && exit 5 ;;
		esac
	done <"$work/console"
	wait $pid || { tail -3 "$work/err" >&2; exit 5; }
}

for ((round = 0; round < rounds; round++)); do
	run_native "$@"
	run_guest "$@"
done

# group TITLE EACH MEAN NAME...: a table of those that ran; MEAN 0 is no bound
group() {
	local title=$1 each=$2 mean=$3 name ratio product=1 n=0
	shift 3
	for name; do
		[ -n "${guest[$name]-}" ] || continue
		ratio=$(awk "BEGIN { printf \"%.2f\", ${guest[$name]} / ${native[$name]} }")
		row "$title $name ($(printf '%.2f' "${native[$name]}") s native)" "$ratio" times '<=' "$each"
		product=$(awk "BEGIN { print $product * $ratio }") n=$((n + 1))
	done
	[ $mean != 0 ] && [ $n -gt 1 ] || return 0
	ratio=$(awk "BEGIN { printf \"%.2f\", $product ^ (1 / $n) }")
	row "$title geometric mean" "$ratio" times '<=' "$mean"
}

group 'user code' 2 1.5 "${user_code[@]}"
group 'loop of' 4 0 "${kernel_loops[@]}"
exit $failed
