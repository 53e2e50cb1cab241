#!/bin/bash
# The host processor judges the interpreter and the translator: the same instructions, and the same small programs, natively and by each engine
# (tests/hostjudge/judge.c). Any failure prints the command that repeats it. A longer run: build/hostjudge/judge -n 10000000 -s SEED
set -u
cd "$(dirname "$0")/../.."
judge=${BUILD:-build}/hostjudge/judge
cases=400000 programs=120000
[ -n "${RINGSIDE_QUICK-}" ] && cases=60000 programs=20000
passed=0 failed=0

by_host() { # ARGS...
	local out rc
	out=$("$judge" "$@")
	rc=$?
	echo "$out"
	[ $rc -ne 77 ] || exit 77
	[[ $(tail -n 1 <<<"$out") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] || { failed=$((failed + 1)); return; }
	passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
}

by_host -n $cases -s 1
by_host -p -n $programs -s 2
if grep -qw bmi2 /proc/cpuinfo; then
	by_host -e translate -n $cases -s 3
	by_host -e translate -p -n $programs -s 2
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
