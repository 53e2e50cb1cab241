#!/bin/bash
# 30-hostile.sh [NAME...] - guests that try to crash or reach the VMM. They may end their own virtual machine in any way that the VMM has a word for; the
# program must end by itself, with a status of its own, and the recording must replay to the same end.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh

# The guest ended, however: done, failed, or by the debug exit port, where wild code may have chosen any status. Not by a signal, nor with the VMM's own errors.
ended() {
	grep -aqE '^ringside: debug exit [0-9]+: .* instructions' "$scratch/err" && return
	[ "$1" -le 1 ] && grep -aqE '^ringside: .* instructions, .* faults' "$scratch/err"
}

# Every engine this binary has. What one recorded the other replays.
ENGINES=$("$RINGSIDE" run -h | sed -n 's/.*--engine=\([a-z|]*\).*/\1/p' | tr '|' ' ')
ENGINES=${ENGINES:-interp}
LIMIT=100M # few come near it
[ -z "${RINGSIDE_QUICK-}" ] || LIMIT=5M

attack() { # NAME MODEL POLICY ENGINE
	local trace=$scratch/$1.trace options="--model $2 --sensitive $3 --engine $4 --memory 32M --limit $LIMIT" rc other=interp
	[ "$4" != interp ] || other=${ENGINES%% *}
	rm -f "$trace"*
	timeout 120 "$RINGSIDE" record -o "$trace" $options "$BUILD/guests/$1.elf" >"$scratch/out" 2>"$scratch/err" </dev/null
	rc=$?
	if ended $rc && ! grep -aqE 'BUG|Sanitizer|assert' "$scratch/err"; then
		pass
	else
		fail "$1, model $2, $3, $4: status $rc" "$RINGSIDE record -o /tmp/$1.trace $options $BUILD/guests/$1.elf" "$scratch/err"
		return
	fi
	timeout 120 "$RINGSIDE" replay --engine "$other" "$trace" >"$scratch/out" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq 0 ] && ! grep -aqE 'BUG|Sanitizer|assert' "$scratch/out"; then
		pass
	else
		fail "replay of $1, model $2, $3, $4: status $rc" \
			"$RINGSIDE record -o /tmp/$1.trace $options $BUILD/guests/$1.elf; $RINGSIDE replay --engine $other /tmp/$1.trace" "$scratch/out"
	fi
}

names=${*:-$(cd tests/guests && ls -d hostile-*/ | tr -d /)}
for name in $names; do
	for engine in $ENGINES; do
		for model in $MODELS; do
			[ "$engine$model" != lockstep0/3/3 ] || continue
			attack "$name" "$model" catch "$engine"
		done
		attack "$name" 0/1/3 leak "$engine"
	done
done
done_checks
