#!/bin/bash
# 45-timeline.sh - checkpoints and going live, by the command: a trace goes on from any of its points as the guest did; a replay from the
# nearest checkpoint verifies; budgets are kept; what is not a point of a trace is refused.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
demo=$BUILD/guests/demo.elf
trace=$scratch/demo.trace
[ -e "$demo" ] || { echo "$demo is not built"; exit 77; }

"$RINGSIDE" record -o "$trace" "$demo" >"$scratch/full" 2>"$scratch/err" </dev/null || fail 'recording the demo' "$RINGSIDE record $demo" "$scratch/err"
info() { "$RINGSIDE" trace info --format json "$1" | jq -r ".$2"; }
end=$(info "$trace" icount)

# live TRACE ICOUNT OUT: goes on from there; the console is the end of the original's.
live() {
	local command="$RINGSIDE record -o $3 --from $1@$2" n
	if ! timeout 120 "$RINGSIDE" record -f -o "$3" --from "$1@$2" >"$scratch/part" 2>"$scratch/err" </dev/null; then
		fail "going live at $2" "$command" "$scratch/err"
		return
	fi
	n=$(stat -c %s "$scratch/part")
	tail -c "$n" "$scratch/full" >"$scratch/end"
	[ "$n" -gt 0 ] || : >"$scratch/end"
	same "console after going live at $2" "$command" "$scratch/end" "$scratch/part"
	ok "says what is cut off" grep -q "live from icount $2, .*cut off" "$scratch/err"
	ok "the new trace replays" "$RINGSIDE" replay "$3" >"$scratch/out" 2>&1
	ok "the new trace is sound" "$RINGSIDE" trace check "$3" >"$scratch/out" 2>&1
}

choose_seed
RANDOM=$seed
for i in 1 2 3 4 5 6; do
	live "$trace" $(((RANDOM * 32768 + RANDOM) % end)) "$scratch/live.trace"
done
live "$trace" 0 "$scratch/live.trace"
ok 'going live at the beginning is the same recording' equal "$(info "$trace" digest)" "$(info "$scratch/live.trace" digest)"
live "$trace" $((end / 2)) "$scratch/first.trace"
live "$scratch/first.trace" $((end / 4 * 3)) "$scratch/second.trace"

refused() { # WHAT STATUS COMMAND...
	local what=$1 want=$2 rc
	shift 2
	timeout 60 "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
	rc=$?
	if [ $rc -eq "$want" ] && [ "$(wc -l <"$scratch/err")" -ge 1 ]; then pass; else fail "$what: status $rc" "$*" "$scratch/err"; fi
}
refused 'an icount beyond the end' 2 "$RINGSIDE" record -f -o "$scratch/x" --from "$trace@$((end + 1))"
refused 'no icount' 2 "$RINGSIDE" record -f -o "$scratch/x" --from "$trace"
refused 'a guest as well' 2 "$RINGSIDE" record -f -o "$scratch/x" --from "$trace@5" "$demo"
refused 'another memory' 2 "$RINGSIDE" record -f -o "$scratch/x" --memory 64M --from "$trace@5"
refused 'no trace' 3 "$RINGSIDE" record -f -o "$scratch/x" --from "$demo@5"
refused 'a budget that is none' 2 "$RINGSIDE" record -f -o "$scratch/x" --checkpoint-budget many "$demo"

for at in 0 1 $((end / 3)) "$end"; do
	ok "replay --seek --to $at" "$RINGSIDE" replay --seek --to "$at" "$trace" >"$scratch/out" 2>&1
done
ok 'no checkpoints at all' "$RINGSIDE" record -f -o "$scratch/none.trace" --serial none --checkpoint-budget 0 "$demo" 2>"$scratch/err" </dev/null
ok 'the digest does not depend on the budget' equal "$(info "$trace" digest)" "$(info "$scratch/none.trace" digest)"
done_checks
