#!/bin/bash
# The regression gate on recordings of the demo guest: equal, changed, incomparable, and its forms.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/demo.elf
json() { jq -e "$1" "$2" >/dev/null; }
record() { "$RINGSIDE" record -f -o "$scratch/$1" --serial none "${@:2}" "$guest" </dev/null 2>/dev/null; }
compare() { "$RINGSIDE" compare "$@" >"$scratch/out" 2>"$scratch/err"; }
verdict() { # WHAT STATUS ARGUMENT...
	local what=$1 want=$2 rc
	shift 2
	compare "$@"
	rc=$?
	if [ $rc -eq "$want" ]; then pass; else fail "$what: status $rc, not $want" "$RINGSIDE compare $*" "$scratch/err"; fi
}

for i in 1 2 3 4; do record $i; done
record model --model 0/3/3
record cut --limit 20M
record append --append hello

cd "$scratch" || exit 1
RINGSIDE=$(realpath "$OLDPWD/$RINGSIDE" 2>/dev/null || realpath "$RINGSIDE")
verdict "a build with itself, one recording each" 0 1 2
verdict "several recordings" 0 --base 2 --new 4 1 3
verdict "--format json" 0 --format json --limit 0 1 2
ok "is JSON" json '.format == "ringside-compare" and .verdict == "equal" and .same_digest and .counts == [] and (.costs | length) > 20' "$scratch/out"
ok "one recording confirms nothing" json '.costs_confirmed == false and (.notes | length) > 0' "$scratch/out"
verdict "--format markdown" 0 --format markdown 1 2
ok "is a Markdown table" grep -q '^| insn | `out pio` |' "$scratch/out"
verdict "another model" 4 1 model
ok "says why" grep -q "ring models differ" "$scratch/err"
verdict "another model, as JSON" 4 --format json 1 model
ok "is JSON too" json '.verdict == "incomparable"' "$scratch/out"
verdict "another model, allowed: view switches are more" 1 --allow model --format json 1 model
ok "lists them" json 'any(.counts[]; .by == "counter" and .row == "view switches" and .base == 0 and .new > 0)' "$scratch/out"
verdict "the other way it is fewer" 0 --allow model --format json model 1
ok "and an improvement" json '.verdict == "improved"' "$scratch/out"
verdict "fewer, when any change counts" 1 --allow model --counts any model 1
verdict "another command line" 4 1 append
verdict "another limit" 4 1 cut
verdict "not of one run" 4 --base cut 1 2
verdict "no trace" 3 1 "$scratch/out"
verdict "a missing trace" 3 1 nowhere
verdict "an argument is missing" 2 1
verdict "--alpha 2" 2 --alpha 2 1 2
verdict "--effect x" 2 --effect x 1 2
verdict "--alike nothing" 2 --alike nothing 1 2
verdict "--alike ignore" 0 --alike ignore --format json 1 2
ok "says what was ignored" json ".alike.ignored and (.alike.base | length) == 1 and .alike.p == 1" "$scratch/out"
verdict "--by nothing" 2 --by nothing 1 2
verdict "--by pair" 2 --by pair 1 2
verdict "--by operand" 0 --by operand 1 2
verdict "--allow nothing" 2 --allow nothing 1 2
verdict "-h" 0 -h
done_checks
