#!/bin/bash
# 20-guests.sh [NAME...] - each self-checking guest, live in every engine and replayed from its trace, in both ring models. The guest says itself what is wrong; here also:
# the recording and its replay print the same console, byte for byte, and the replay verifies every event with the guest's file absent.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
GOOD=33 # what a guest in which every check passed writes to the debug exit port, as an exit status

# Every engine this binary has.
ENGINES=$("$RINGSIDE" run -h | sed -n 's/.*--engine=\([a-z|]*\).*/\1/p' | tr '|' ' ')
ENGINES=${ENGINES:-interp}

# How long the latest run was, of which $scratch/err has the last words. Where nobody observes, the translator emulates some instructions by itself: they count all the same.
# The run before was as long as the first of this guest in this model.
same_length() { # WHAT COMMAND
	local now
	now=$(run_length "$scratch/err")
	[ -n "$first" ] || first=$now
	if [ "$now" = "$first" ] && [ "${now#unknown}" = "$now" ]; then
		pass
	else
		fail "$1 was of '$now', the first run of '$first'" "$2" "$scratch/err"
	fi
}

live() { # NAME MODEL ENGINE
	local out=$scratch/live rc
	timeout 300 "$RINGSIDE" run --engine "$3" --model "$2" "$BUILD/guests/$1.elf" >"$out" 2>"$scratch/err" </dev/null
	rc=$?
	if [ $rc -eq $GOOD ] && grep -aq "^DONE $1:" "$out" && ! grep -aqE '^(FAIL|KNOWN)' "$out"; then
		pass
	else
		{ grep -avE '^PASS' "$out"; cat "$scratch/err"; } >"$scratch/shown"
		fail "$1 in model $2, engine $3, status $rc" "$RINGSIDE run --engine $3 --model $2 $BUILD/guests/$1.elf" "$scratch/shown"
	fi
	same_length "$1 in model $2, engine $3" "$RINGSIDE run --engine $3 --model $2 $BUILD/guests/$1.elf"
}

# A trace of one engine replays on every other, to the same console.
replayed() { # NAME MODEL ENGINE TRACE
	local rc again="$RINGSIDE record -o /tmp/$1.trace --model $2 $BUILD/guests/$1.elf; $RINGSIDE replay --engine $3 --serial stdio /tmp/$1.trace"
	rm -f "$scratch/replayed"
	timeout 300 "$RINGSIDE" replay --engine "$3" --serial "file:$scratch/replayed" "$4" >"$scratch/result" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq 0 ]; then
		pass
	else
		fail "replay of $1 in model $2, engine $3, status $rc" "$again" "$scratch/result"
	fi
	same "console of $1 in model $2, engine $3: recording and replay differ" "$again" "$scratch/recorded" "$scratch/replayed"
}

recorded() { # NAME MODEL
	local trace=$scratch/$1.trace guest=$scratch/$1.elf rc engine
	rm -f "$trace"*
	cp "$BUILD/guests/$1.elf" "$guest"
	timeout 300 "$RINGSIDE" record -o "$trace" --model "$2" "$guest" >"$scratch/recorded" 2>"$scratch/err" </dev/null
	rc=$?
	rm -f "$guest"
	if [ $rc -ne $GOOD ]; then
		fail "recording $1 in model $2, status $rc" "$RINGSIDE record -o /tmp/$1.trace --model $2 $BUILD/guests/$1.elf" "$scratch/err"
		return
	fi
	same_length "the recording of $1 in model $2" "$RINGSIDE record -o /tmp/$1.trace --model $2 $BUILD/guests/$1.elf"
	for engine in $ENGINES; do
		replayed "$1" "$2" "$engine" "$trace"
	done
	also_interpreted "$1" "$2" "$guest" "$(digest "$trace")"
	rm -f "$trace"*
}

digest() { "$RINGSIDE" trace info --format json "$1" 2>"$scratch/err" | jq -r .digest; }

# What the interpreter records is the same trace, and so replays on every engine as that does.
also_interpreted() { # NAME MODEL GUEST DIGEST
	local other
	cp "$BUILD/guests/$1.elf" "$3"
	timeout 300 "$RINGSIDE" record -f -o "$scratch/other.trace" --engine interp --model "$2" "$3" >/dev/null 2>"$scratch/err" </dev/null
	rm -f "$3"
	other=$(digest "$scratch/other.trace")
	rm -f "$scratch/other.trace"*
	if [ -n "$other" ] && [ "$other" = "$4" ]; then
		pass
	else
		fail "$1 in model $2: the engines record '$4' and '$other'" "$RINGSIDE record --engine interp -o /tmp/$1.trace --model $2 $BUILD/guests/$1.elf"
	fi
}

# The checks must be able to fail: the guest `broken` has one check that is wrong.
can_fail() {
	timeout 60 "$RINGSIDE" run "$BUILD/guests/broken.elf" >"$scratch/live" 2>&1 </dev/null
	if [ $? -eq 35 ] && grep -aqE '^FAIL broken check: .*expected 0x1 got 0x2 at line [0-9]+$' "$scratch/live"; then
		pass
	else
		fail "a guest with a wrong check did not fail" "$RINGSIDE run $BUILD/guests/broken.elf" "$scratch/live"
	fi
}

names=${*:-$(cd tests/guests && ls -d */ | tr -d / | grep -vxE 'lib|demo|broken|hostile-.*')}
for name in $names; do
	for model in $MODELS; do
		first=
		for engine in $ENGINES; do
			live "$name" "$model" "$engine"
		done
		recorded "$name" "$model"
	done
done
[ $# -gt 0 ] || can_fail
done_checks
