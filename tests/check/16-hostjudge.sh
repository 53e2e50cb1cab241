#!/bin/bash
# The host processor judges the interpreter: the same instructions, natively and interpreted (tests/hostjudge/judge.c). Any failure prints
# the command that repeats it. A longer run: build/hostjudge/judge -n 10000000 -s SEED
set -u
cd "$(dirname "$0")/../.."
cases=400000
[ -n "${RINGSIDE_QUICK-}" ] && cases=60000
exec "${BUILD:-build}/hostjudge/judge" -n $cases -s 1
