#!/bin/bash
# The same faults measured again: samples of every event, kept with the trace, in the report; the trace is what it was.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
trace=$scratch/count.trace
json() { jq -e "$1" "$2" >/dev/null; }
measure() { "$RINGSIDE" replay --measure "$@" >"$scratch/out" 2>"$scratch/err"; }
profile() { "$RINGSIDE" profile --limit 0 --by insn,site,pair --format json "$trace" >"$scratch/profile"; }

"$RINGSIDE" record -o "$trace" --serial none "$BUILD/guests/count.elf" </dev/null 2>"$scratch/err"
ok "record" equal $? 33
"$RINGSIDE" profile --by caller "$trace" >"$scratch/out" 2>"$scratch/err"
ok "nobody looked who called" equal $? 2
profile
ok "not measured again: no such figures" json '(.again | not) and all(.tables[].rows[]; .again | not)' "$scratch/profile"
digest=$(jq -r .trace.digest "$scratch/profile")

measure 7 --format json "$trace"
ok "measure" equal $? 0
ok "every event, as often as asked" json '.events > 500 and .runs == 7 and .inside' "$scratch/out"
ok "what measuring costs is measured" json '.timed_ns > 0 and .plain_ns > 0 and .clock_cycles > 0 and (.overhead_percent | type) == "number"' "$scratch/out"
profile
ok "the report has them" json '.again.runs == 7 and all(.tables[].rows[].again; .min <= .low and .low <= .median and .median <= .high)' "$scratch/profile"
ok "and they are not nothing" json 'all(.tables[0].rows[] | select(.kind == "fault"); .again.min > 0)' "$scratch/profile"
ok "the digest is the same" equal "$(jq -r .trace.digest "$scratch/profile")" "$digest"
ok "the trace is sound" "$RINGSIDE" trace check "$trace" >/dev/null
ok "and replays" "$RINGSIDE" replay "$trace" >/dev/null
ok "nothing is left beside it" equal "$(find "$scratch" -name 'count.trace?*')" ""
"$RINGSIDE" profile "$trace" >"$scratch/text"
ok "the text says what measuring took" grep -qE '^of it, measuring +[0-9]+ +[0-9.]+% .* readings of the cycle counter or more, [0-9]+ cycles each$' "$scratch/text"
ok "the text says how" grep -q '^Measuring costs: a replay that reads the clock takes ' "$scratch/text"
"$RINGSIDE" profile --format csv "$trace" >"$scratch/csv"
ok "CSV has the columns" grep -q ',again_min,again_median,again_low,again_high$' "$scratch/csv"

chain() { "$RINGSIDE" profile --symbols "$BUILD/guests/count.elf" "$@" "$trace"; }
chain --by caller --limit 0 --format json >"$scratch/callers"
ok "who called" json '[.tables[0].rows[] | select(.function == "count_chained_15") | [.count, .insn, (."called from" | split(" < ")[:2])]] == [[15, "in", ["chain_middle", "chain_outer"]]]' "$scratch/callers"
ok "callers add up to what instructions did" json '([.tables[0].rows[].count] | add) == .tables[0].count and .tables[0].count > 500' "$scratch/callers"
chain --format folded >"$scratch/folded"
ok "stacks have the callers" grep -qE '^run;VMM;([^;]+;)*chain_outer;chain_middle;count_chained_15;in pio;emulate ' "$scratch/folded"
ok "and add up to the run" equal "$(awk '{ sum += $NF } END { printf "%.0f", sum }' "$scratch/folded")" "$(jq .run_cycles "$scratch/profile")"

# callgrind: what is a function's own adds up to the whole, and nobody costs less than the calls to it, nor more than the whole
chain --format callgrind >"$scratch/callgrind"
awk '
	/^summary:/ { whole = $2 }
	/^fn=/ { fn = substr($0, 4) }
	/^cfn=/ { to = substr($0, 5) }
	/^calls=/ { call = 1; next }
	/^0x/ { cost[fn] += $2; if (call) { calls[to] += $2; edges++ } else own += $2; call = 0 }
	END {
		for (f in calls) if (calls[f] > cost[f]) bad = bad " " f
		for (f in cost) if (cost[f] > whole) bad = bad " " f
		print (own == whole), (edges > 1), bad
	}' "$scratch/callgrind" >"$scratch/sums"
ok "callgrind: the sums are consistent" equal "$(cat "$scratch/sums")" "1 1 "
if command -v callgrind_annotate >/dev/null; then
	callgrind_annotate --inclusive=yes --show=Count --sort=Count --threshold=100 "$scratch/callgrind" >"$scratch/annotated" 2>"$scratch/err"
	ok "callgrind_annotate has a chain with all it called" equal "$(grep -oE '^ *15 .*guest:(chain_outer|chain_middle|count_chained_15) ' "$scratch/annotated" | grep -oE '[a-z_0-9]+ $' | sort | tr -d '\n')" "chain_middle chain_outer count_chained_15 "
	callgrind_annotate --tree=calling --show=Count --sort=Count --threshold=100 "$scratch/callgrind" >"$scratch/annotated" 2>"$scratch/err"
	ok "and whom it called how often" grep -qE '15 .*>   guest:count_chained_15 \(15x\)' "$scratch/annotated"
else
	echo "without callgrind_annotate: not checked"
fi

measure 2 --engine interp "$trace"
ok "again, replacing what there was" equal $? 0
profile
ok "two runs now" json '.again.runs == 2' "$scratch/profile"

exec 9<"$trace"
flock -s 9
measure 3 "$trace"
ok "a trace that is in use" equal $? 0
ok "gets them beside it" [ -s "$trace.samples" ]
ok "and that is said" grep -q 'in .*count.trace.samples: .*used' "$scratch/err"
exec 9<&-
# while it is recorded
"$RINGSIDE" record --top -o "$scratch/top.trace" --serial none "$BUILD/guests/count.elf" </dev/null >"$scratch/out" 2>"$scratch/err"
ok "record --top" equal $? 33
ok "shows each instruction, with the trace's counts" equal "$(awk '$1 == "rdtsc" || $1 == "cpuid" { print $1, $3 }' "$scratch/err" | sort | tail -2 | tr '\n' ' ')" "cpuid 43 rdtsc 29 "
ok "and is the same recording" equal "$("$RINGSIDE" trace info --format json "$scratch/top.trace" | jq -r .digest)" "$digest"

for bad in 0 x 101; do
	measure $bad "$trace"
	ok "--measure $bad" equal $? 2
done
measure 1 --to 5 "$trace"
ok "--measure with --to" equal $? 2
measure 1 "$scratch/csv"
ok "no trace" equal $? 3
done_checks
