#!/bin/bash
# bench-compare.sh - how far `ringside compare` can be trusted on this host: how often it flags a build that did not change (the bound is its level, 1 %, with
# room for chance), and how often it finds a handler that was made slower, by how much. Each comparison has recordings of its own, eight of each side, taken in turn.
#
# Called by `make bench`. Environment: BUILD (build), ROUNDS (40), FINDS (5, per slowness). Exit: 0 the bounds hold, 1 one does not.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/bench/lib.sh

build=${BUILD:-build}
rounds=${ROUNDS:-40}
finds=${FINDS:-5}
work=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

# record SLOW TRACE GUEST OPTION...: exit 33 is how a self-checking guest says that all was well
record() {
	RINGSIDE_SLOW=$1 "$build/planted/ringside" record -f -o "$work/$2" --memory 16M --serial none "${@:4}" "$build/guests/$3.elf" </dev/null >/dev/null 2>&1 || [ $? = 33 ]
}

# compared SLOW GUEST OPTION...: a comparison of fresh recordings is in $work/out
compared() {
	local more=() i
	for i in 1 2 3 4 5 6 7 8; do
		record 0 "base.$i" "${@:2}"
		record "$1" "new.$i" "${@:2}"
		[ $i = 1 ] || more+=(--base "$work/base.$i" --new "$work/new.$i")
	done
	"$build/ringside" compare --format json --limit 0 "${more[@]}" "$work/base.1" "$work/new.1" >"$work/out" || [ $? = 1 ]
}

flagged=0
for _ in $(seq "$rounds"); do
	compared 0 count
	[ "$(jq -r .verdict "$work/out")" != regressed ] || flagged=$((flagged + 1))
done
# Of 40 comparisons at 1 % three or more are flagged once in 130 benches.
row "unchanged build: flagged of $rounds comparisons" $flagged times '<=' $((rounds / 40 + 1))
for slow in 20 40 80; do
	: >"$work/found"
	for _ in $(seq "$finds"); do
		compared $slow storm --append events=20000
		jq -r '.costs[] | select(.row == "rdtsc fault") | "\(.change * 100) \(if .verdict == "slower" then 1 else 0 end)"' "$work/out" >>"$work/found"
	done
	row "RDTSC's handler $(awk '{ s += $1 } END { printf "%.1f", s / NR }' "$work/found") % slower: found" \
		"$(awk '{ s += $2 } END { printf "%.0f", 100 * s / NR }' "$work/found")" '% of times' '>=' $((slow == 80 ? 80 : 0))
done
exit $failed
