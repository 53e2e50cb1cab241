#!/bin/bash
# 25-xlate.sh - the translator against the interpreter: random programs, and every guest recorded by one engine and replayed by the other, in both ring models.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
COUNT=${RINGSIDE_QUICK:+20000}

"$BUILD/xlate/programs" --count "${COUNT:-100000}" >"$scratch/programs" 2>&1
rc=$?
if [ $rc -eq 77 ]; then
	cat "$scratch/programs"
	exit 77
elif [ $rc -eq 0 ]; then
	pass
	tail -n 2 "$scratch/programs"
else
	LINES_OF_FILE=60 fail "random programs, status $rc" "$BUILD/xlate/programs --count ${COUNT:-100000}" "$scratch/programs"
fi

crosswise() { # NAME MODEL RECORDER REPLAYER
	local trace=$scratch/$1.trace rc repeat
	repeat="$RINGSIDE record --engine $3 -o /tmp/$1.trace --model $2 $BUILD/guests/$1.elf; $RINGSIDE replay --engine $4 /tmp/$1.trace"
	rm -f "$trace"*
	timeout 300 "$RINGSIDE" record --engine "$3" -o "$trace" --model "$2" "$BUILD/guests/$1.elf" >/dev/null 2>"$scratch/err" </dev/null
	timeout 300 "$RINGSIDE" replay --engine "$4" "$trace" >"$scratch/result" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq 0 ]; then
		pass
	else
		cat "$scratch/err" >>"$scratch/result"
		fail "$1 in model $2 recorded by $3, replayed by $4, status $rc" "$repeat" "$scratch/result"
	fi
}

for guest in "$BUILD"/guests/*.elf; do
	for model in $MODELS; do
		crosswise "$(basename "$guest" .elf)" "$model" interp translate
		crosswise "$(basename "$guest" .elf)" "$model" translate interp
	done
done
done_checks
