#!/bin/bash
# bench-profile.sh - what reading a trace of ten million events costs, beside the bounds: 5 seconds and 500 MiB, for the plain profile and for every view.
#
# The guest `storm` makes the events. Memory is the high-water mark that the kernel tells when the process ends; time is the
# processor's, which other work on the machine disturbs least. Called by `make bench`.
# Environment: BUILD (build), EVENTS (10000000), ROUNDS (3). Exit: 0 the bounds hold, 1 one does not.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/bench/lib.sh

build=${BUILD:-build}
events=${EVENTS:-10000000}
rounds=${ROUNDS:-3}
ringside=$build/ringside
work=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

# measure COMMAND...: its high-water mark in KiB goes to $work/peak, its processor seconds (of both threads) to $work/seconds
measure() {
	command time -o "$work/time" -f '%U %S %M' "$@" >"$work/out"
	awk '{ printf "%.2f\n", $1 + $2 }' "$work/time" >>"$work/seconds"
	awk '{ print $3 }' "$work/time" >>"$work/peak"
}

# Exit 33 is how a self-checking guest says that all was well.
"$ringside" record -o "$work/storm.trace" --serial none --append "events=$events" "$build/guests/storm.elf" </dev/null 2>"$work/err" || [ $? = 33 ] || {
	cat "$work/err" >&2
	exit 1
}
echo "profile of $("$ringside" trace info --format json "$work/storm.trace" | jq .events) events, best of $rounds rounds"
for by in insn all; do
	rm -f "$work/seconds" "$work/peak"
	for _ in $(seq "$rounds"); do
		measure "$ringside" profile --by $by "$work/storm.trace"
	done
	row "profile --by $by, processor time" "$(sort -n "$work/seconds" | head -1)" s '<=' 5
	row "  peak memory" "$(($(sort -n "$work/peak" | tail -1) / 1024))" MiB '<=' 500
done
exit $failed
