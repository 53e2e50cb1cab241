#!/bin/bash
# cost-gate.sh [--update] BASELINE GUEST [MACHINE OPTION...] - fail a build whose guest faults more, or whose faults became dearer.
#
# BASELINE is a folder with recordings of the same guest. Without --update: records the guest RUNS times, compares with BASELINE, prints Markdown (for
# a pull request), exits with compare's status: 0 equal or better, 1 regressed, 4 incomparable. With --update: the new recordings become BASELINE.
# Counts are exact and need one recording. Costs are compared only on the host that made the baseline, and only seven or eight of each side decide (compare
# says how many it takes). What all costs have in common is shown but decides nothing: the baseline is of another day, and the host may be faster or slower now.
#
# Environment: RINGSIDE (build/ringside), RUNS (8), GUEST_STATUS (0; what the guest's own end gives, 33 for the guests in tests/), COMPARE (further options of
# `ringside compare`, such as "--allow guest" where the guest is what changes). Other exits: 2 usage, 3 the guest could not be recorded.
set -euo pipefail

usage() {
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

update=
[ "${1-}" = --update ] && { update=1; shift; }
[ $# -ge 2 ] || usage
baseline=$1 guest=$2
shift 2
ringside=${RINGSIDE:-build/ringside}
runs=${RUNS:-8}
[ -n "$update" ] || [ -e "$baseline/1.trace" ] ||
	{ echo "cost-gate: $baseline: no baseline; --update makes one" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for i in $(seq "$runs"); do
	status=0
	"$ringside" record -o "$work/$i.trace" "$@" "$guest" </dev/null >/dev/null 2>"$work/err" || status=$?
	[ $status -eq "${GUEST_STATUS:-0}" ] || { echo "cost-gate: recording $guest: status $status" >&2; tail -n 3 "$work/err" >&2; exit 3; }
done

if [ -n "$update" ]; then
	mkdir -p "$baseline"
	rm -f "$baseline"/*.trace
	cp "$work"/*.trace "$baseline"
	echo "cost-gate: $baseline: $runs recordings" >&2
	exit 0
fi

sides=()
for t in "$baseline"/*.trace; do [ "$t" = "$baseline/1.trace" ] || sides+=(--base "$t"); done
for t in "$work"/*.trace; do [ "$t" = "$work/1.trace" ] || sides+=(--new "$t"); done
# shellcheck disable=SC2086 # COMPARE is a list of options
"$ringside" compare --format markdown --alike ignore ${COMPARE-} "${sides[@]}" "$baseline/1.trace" "$work/1.trace"
