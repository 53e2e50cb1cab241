#!/bin/bash
# bench-debug.sh - what debugging a long recording costs, beside the bounds: seeks, reverse steps, a search a billion instructions back, and what its checkpoints
# cost the recording.
#
# The guest is Debian's kernel with tests/initramfs/init-long as process 1, 10 billion instructions or more. Recordings with and without checkpoints are taken in
# turn; of each the best processor time of all threads counts, which other work on the machine disturbs least. Called by `make bench`.
# Environment: BUILD (build), ROUNDS (2), LONG (10: rounds of the workload). Exit: 0 all bounds hold, 1 one does not, 77 no Debian guest.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/bench/lib.sh

build=${BUILD:-build}
rounds=${ROUNDS:-2}
long=${LONG:-10}
ringside=$build/ringside
debian=build/debian
work=$(mktemp -d "$build/bench.XXXXXX")
server=
trap '[ -z "$server" ] || kill $server 2>/dev/null; rm -rf "$work"' EXIT

if [ ! -e $debian/vmlinuz ] || ! busybox=$(tools/busybox.sh "$work"); then
	echo "bench: skipped: no Debian guest in $debian (make guests fetches it)"
	exit 77
fi

perl tests/initramfs/newc.pl <<-END_OF_LIST | gzip -1n >"$work/initramfs.gz"
	dir dev 755
	node dev/console 600 5 1
	node dev/null 666 1 3
	node dev/zero 666 1 5
	dir bin 755
	file bin/busybox 755 $busybox
	link bin/sh busybox
	file init 755 tests/initramfs/init-long
END_OF_LIST

# record LABEL OPTIONS...: processor seconds go to $work/LABEL.seconds, the trace is $work/LABEL.trace
record() {
	local label=$1
	shift
	TIMEFORMAT='%U %S'
	if ! { time "$ringside" record -f -o "$work/$label.trace" --engine translate --serial none --memory 128M --initrd "$work/initramfs.gz" \
		--append "console=ttyS0 nokaslr quiet cryptomgr.notests rounds=$long" "$@" $debian/vmlinuz </dev/null >"$work/out" 2>&1; } 2>"$work/time"; then
		tail -5 "$work/out" >&2
		exit 1
	fi
	awk '{ printf "%.3f\n", $1 + $2 }' "$work/time" >>"$work/$label.seconds"
}

best() { sort -n "$1" | head -1; }
median() { middle <"$1"; }
worst() { sort -n "$1" | tail -1; }

for i in $(seq "$rounds"); do
	[ -t 2 ] && printf '\rround %d of %d' "$i" "$rounds" >&2
	record without --checkpoint-budget 0
	record with
done
[ -t 2 ] && printf '\r' >&2
end=$("$ringside" trace info --format json "$work/with.trace" | jq .icount)
size() { stat -c %s "$work/$1.trace"; }
echo "debugging a recording of $end instructions, $("$ringside" trace info --format json "$work/with.trace" | jq .events) events"
row 'checkpoints: processor time to record' "$(awk "BEGIN { printf \"%.3f\", $(best "$work/with.seconds") / $(best "$work/without.seconds") }")" times '<=' 1.05
row 'checkpoints: size of the trace' "$(awk "BEGIN { printf \"%.3f\", $(size with) / $(size without) }")" times '<=' 1.20

"$ringside" debug --no-gdb --socket "$work/gdb.sock" "$work/with.trace" >"$work/server" 2>&1 </dev/null &
server=$!
for _ in $(seq 200); do
	grep -q 'target remote' "$work/server" && break
	sleep 0.05
done
perl tools/bench-debug.pl "$work/gdb.sock" "$end" "round$((long - 2))" 1000000000 >"$work/figures"
figures() { awk -v n="$1" '$1 == n { print $2 }' "$work/figures"; }
figures seek >"$work/seek"
figures step >"$work/step"
row 'instructions in the trace' "$end" '' '>=' 10000000000
row 'seek to a random icount, median' "$(median "$work/seek")" s '<=' 2
row 'seek to a random icount, worst' "$(worst "$work/seek")" s '<=' 2
row 'reverse-stepi, median' "$(awk "BEGIN { printf \"%.2f\", $(median "$work/step") * 1000 }")" ms '<=' 50
row 'reverse-continue to a watchpoint' "$(figures watch)" s '<=' 10
row '  which is back by' "$(figures distance)" instructions '>=' 1000000000
exit $failed
