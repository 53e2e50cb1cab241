#!/bin/bash
# A store of runs, and its gate; the recipe for a CI.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/count.elf
store=$scratch/runs.db
json() { jq -e "$1" "$2" >/dev/null; }
record() { "$RINGSIDE" record -f -o "$scratch/$1" --serial none "${@:2}" "$guest" </dev/null 2>/dev/null; }
status() { # WHAT WANT ARGUMENT...
	local what=$1 want=$2 rc
	shift 2
	"$RINGSIDE" history "$@" >"$scratch/out" 2>"$scratch/err"
	rc=$?
	if [ $rc -eq "$want" ]; then pass; else fail "$what: status $rc, not $want" "$RINGSIDE history $*" "$scratch/err"; fi
}

for i in 1 2 3; do record t$i; done
record more --mark '^PASS'
status "no store yet" 3 list "$store"
status "a label is needed" 2 add "$store" "$scratch/t1"
for i in 1 2 3 4 5 6; do status "add" 0 add --label "v$i" "$store" "$scratch/t1" "$scratch/t2"; done
status "list" 0 list --format json "$store"
ok "twelve runs" equal "$(jq -s length "$scratch/out")" 12
ok "in order" equal "$(jq -rs '[.[].label] | unique | join(" ")' "$scratch/out")" "v1 v2 v3 v4 v5 v6"
status "list of a label" 0 list --label v3 "$store"
ok "has two lines and a head" equal "$(wc -l <"$scratch/out")" 3
status "gate: equal" 0 gate "$store" "$scratch/t3"
status "gate: an event more" 1 gate "$store" "$scratch/more"
ok "says which" grep -q 'insn - marker .*0 -> .*more' "$scratch/out"
status "gate: nothing to compare with" 4 gate --workload other "$store" "$scratch/t3"
status "steps" 0 steps "$store"
ok "there are none" [ ! -s "$scratch/out" ]
status "plot" 0 plot --row 'insn in pio' --output "$scratch/h.svg" "$store"
ok "an SVG" grep -q '<svg' "$scratch/h.svg"
status "plot of no row" 3 plot --row nothing --output "$scratch/h.svg" "$store"
status "a trace is no store" 3 list "$scratch/t1"
status "nor is it written over" 3 add --label x "$scratch/t1" "$scratch/t2"
ok "and is left whole" "$RINGSIDE" trace check "$scratch/t1" >/dev/null
status "a store is no trace" 3 add --label x "$store" "$store"

# the recipe: makes a baseline, is content with it, fails when the guest faults more
gate() { RINGSIDE=$RINGSIDE GUEST_STATUS=33 RUNS=2 tools/ci/cost-gate.sh "$@" >"$scratch/out" 2>"$scratch/err"; }
gate --update "$scratch/base" "$guest" --serial none
ok "the recipe makes a baseline" equal $? 0
gate "$scratch/base" "$guest" --serial none
ok "and is content with it" equal $? 0
ok "and prints Markdown" grep -q '^\*\*Cost of the guest' "$scratch/out"
gate "$scratch/base" "$guest" --serial none --mark '^PASS'
ok "an event more fails" equal $? 1
ok "and is listed" grep -q '| insn | `- marker` | 0 |' "$scratch/out"
gate "$scratch/base" "$guest" --serial none --model 0/3/3
ok "another model is incomparable" equal $? 4
gate "$scratch/nothing" "$guest"
ok "no baseline" equal $? 2
gate "$scratch/base" "$scratch/nothing"
ok "no guest" equal $? 3
done_checks
