#!/bin/bash
# 28-nano.sh - the table of nanobenchmarks, small: every operation has its row, every way its figure, and a real fault is dearer than a call where there is one.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
OPS="in rdmsr callret sgdt" ROUNDS=2 TIMES=4000 OUT="$scratch/table" tools/bench-nano.sh >"$scratch/out" 2>"$scratch/err"
rc=$?
[ $rc -eq 0 ] && pass || fail "status $rc" "OPS='in rdmsr callret sgdt' ROUNDS=2 TIMES=4000 tools/bench-nano.sh" "$scratch/err"
ok "four rows" equal "$(grep -c . "$scratch/table")" 5
ok "eight figures each" equal "$(awk -F'\t' 'NR > 1 { print NF }' "$scratch/table" | sort -u)" 8
ok "numbers, or a dash where the host cannot" [ -z "$(sed 1d "$scratch/table" | cut -f2- | tr '\t' '\n' | grep -vE '^([0-9]+|-)$')" ]
for op in in rdmsr; do
	ok "$op: a fault is dearer than a call" awk -F'\t' -v op=$op '$1 == op && $5 > $4 && $8 > $7 { found = 1 } END { exit !found }' "$scratch/table"
done
ok "a program cannot do IN" equal "$(awk -F'\t' '$1 == "in" { print $2 }' "$scratch/table")" -
ok "and calls and returns" equal "$(awk -F'\t' '$1 == "callret" { print ($2 != "-") }' "$scratch/table")" 1 # 0 cycles where the host overlaps them with the loop
ok "says what is not possible, and why" grep -q 'vmcall.*no virtualization' "$scratch/out"
done_checks
