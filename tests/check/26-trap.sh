#!/bin/bash
# 26-trap.sh - real faults: every guest, in both ring models, has one digest whether it was interpreted, called out or faulted; and how many faults were real.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
[ -z "${RINGSIDE_QUICK-}" ] || MODELS="0/1/3"
WAYS=("--engine interp" "--engine translate --trap call" "--engine translate --trap fault")

# record NAME MODEL WAY: its digest.
record() {
	# shellcheck disable=SC2086
	timeout 300 "$RINGSIDE" record -f -o "$scratch/$1.trace" --model "$2" $3 --serial none --format json --memory 32M --limit 2M \
		"$BUILD/guests/$1.elf" \
		2>"$scratch/closing" </dev/null
	jq -r .trace.digest "$scratch/closing"
}

# hostile-desc is slow in every engine, and has no instruction that the others lack
for guest in $(ls "$BUILD"/guests/*.elf | grep -v hostile-desc); do
	name=$(basename "$guest" .elf)
	for model in $MODELS; do
		: >"$scratch/digests"
		for way in "${WAYS[@]}"; do
			record "$name" "$model" "$way" >>"$scratch/digests"
		done
		if [ "$(sort -u "$scratch/digests" | wc -l)" -eq 1 ] && ! grep -q null "$scratch/digests"; then
			pass
		else
			fail "$name in model $model: trap modes differ" "$RINGSIDE record -f -o /tmp/$name.trace --engine translate --trap fault --model $model $guest" "$scratch/digests"
		fi
	done
done

# What faulted really: all that can and nothing else, and never in the other modes.
for model in $MODELS; do
	record count "$model" "--engine translate --trap fault" >/dev/null
	hard=$(jq .hardfaults "$scratch/closing")
	"$RINGSIDE" profile --by insn --limit 0 --format json "$scratch/count.trace" >"$scratch/profile"
	# ring 3's HLT is reflected, but faults all the same; MOV to a segment register stays a call-out
	expected=$(jq '[.tables[0].rows[] | select(((.kind | IN("fault", "pio")) and .insn != "mov sreg") or .insn == "hlt").count] | add' "$scratch/profile")
	# where a budget ends within a block, what is left of the block is interpreted
	ok "count in model $model: $hard of $expected privileged instructions" [ "$hard" -le "$expected" ]
	ok "count in model $model: nearly all of $expected, not $hard" [ $((100 * hard)) -ge $((99 * expected)) ]
	ok "phases add up to the run" equal "$(jq '([.phases[].cycles] | add) == .run_cycles' "$scratch/profile")" true
	phase() { jq ".phases[] | select(.phase == \"$1\").$2" "$scratch/profile"; }
	ok "faults cost something" [ "$(phase fault cycles)" -gt $((hard * 200)) ]
	ok "only what can fault has that cost" equal "$(jq '[.tables[0].rows[] | select(.kind == "sensitive" or .kind == "marker").phases.fault] | add == 0' "$scratch/profile")" true
	ok "each in its layer" [ "$(phase decode cycles)" -gt 0 ] && ok "call-outs" [ "$(phase callout cycles)" -gt 0 ]
	record count "$model" "--engine translate" >/dev/null
	"$RINGSIDE" profile --format json "$scratch/count.trace" >"$scratch/profile"
	ok "no fault without faults, and a word why" equal "$(phase fault cycles) $(phase fault note)" '0 "none: trap call"'
	ok "none when called" equal "$(jq .hardfaults "$scratch/closing")" 0
	ok "the trace says how it was made" equal "$("$RINGSIDE" trace info --format json "$scratch/count.trace" | jq -r .trap)" call
	timeout 300 "$RINGSIDE" replay --engine translate --trap fault "$scratch/count.trace" >"$scratch/result" 2>&1
	ok "a replay that faults" equal $? 0
done

"$RINGSIDE" run --engine interp --trap fault "$BUILD/guests/count.elf" 2>"$scratch/err" </dev/null
ok "the interpreter cannot fault" equal "$? $(grep -c 'needs --engine translate' "$scratch/err")" "2 1"

# A SIGSEGV from elsewhere still has its default action (a sanitizer would have its own).
ASAN_OPTIONS=handle_segv=0 "$RINGSIDE" run --engine translate --trap fault --serial none "$BUILD/guests/demo.elf" >/dev/null 2>&1 </dev/null &
pid=$!
kill -SEGV $pid
wait $pid 2>/dev/null
ok "a signal that was sent kills" equal $? 139
done_checks
