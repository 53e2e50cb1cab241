#!/bin/bash
# 29-calibrate.sh - the host's own constants: plausible, for every instruction of the audit table, in recordings and quoted by profiles.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
is() { if jq -e "$2" "$scratch/out" >/dev/null; then pass; else fail "$1" "jq '$2'" "$scratch/out"; fi; }

"$RINGSIDE" calibrate --insns --samples 200 --format json >"$scratch/out" 2>"$scratch/err"
ok "calibrate" equal $? 0
is "a form of its own" '.format == "ringside-calibration" and .version == 1 and (.constants | length) == 10'
is "in order" 'all(.constants[], .insns[] | select(.median); .min <= .p25 and .p25 <= .median and .median <= .p75 and .p75 <= .p95 and .p95 <= .max)'
is "a figure, or why there is none" 'all(.constants[]; (.samples == 200) != (.why != null))'
is "a fault is dearer than a system call, that than a counter" '[.constants[] | select(.name == ("counter_read", "system_call", "fault_round_trip")).min] | .[0] < .[1] and .[1] < .[2]'
is "the way there is a part of the round trip" '[.constants[] | select(.name == ("fault_round_trip", "fault_to_handler")).min] | .[1] < .[0]'
is "every instruction" '(.insns | length) > 50 and ([.insns[].name] | unique | length) == (.insns | length)'
is "what faults was measured, what does not says why" 'all(.insns[]; if .kind == "call-out" then (.why | length) > 0 and .median == null else .samples == 200 end)'
is "by itself, by another, or not at all" '[.insns[].kind] | unique == ["call-out", "itself", "stand-in"]'

"$RINGSIDE" calibrate --insns --samples 50 >"$scratch/text"
ok "as text" grep -qE '^fault round trip +[0-9]+ +[0-9]+' "$scratch/text"
ok "with reasons" grep -qE '^sysenter .*stand-in: HLT' "$scratch/text"
"$RINGSIDE" calibrate --samples 0 2>"$scratch/err"
ok "no samples" equal $? 2

for trap in call fault; do
	"$RINGSIDE" record -f -o "$scratch/t.trace" --engine translate --trap $trap --serial none "$BUILD/guests/count.elf" >"$scratch/err" 2>&1 </dev/null
	"$RINGSIDE" profile --format json "$scratch/t.trace" >"$scratch/out"
	is "a recording carries them, trap $trap" '.trace.host_costs | map(select(.name == ("system_call", "counter_read"))) | length == 2 and all(.min <= .median and .median <= .p95)'
	is "the fault where there are faults, trap $trap" "([.trace.host_costs[].name] | index(\"fault_round_trip\") != null) == (\"$trap\" == \"fault\")"
	ok "quoted, trap $trap" grep -qE '^  host .*system call [0-9]+' <("$RINGSIDE" profile "$scratch/t.trace")
done
done_checks
