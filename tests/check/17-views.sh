#!/bin/bash
# Every view of a guest that does known things a known number of times: the counts are exact, and each view adds up to the whole.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/count.elf
trace=$scratch/count.trace
json() { jq -e "$1" "$2" >/dev/null; }
profile() { "$RINGSIDE" profile --symbols "$guest" --limit 0 --format json "$@" "$trace" >"$scratch/out" 2>"$scratch/err"; }
# is WHAT EXPRESSION: of the profile made last.
is() { if json "$2" "$scratch/out"; then pass; else fail "$1" "jq '$2'" "$scratch/out"; fi; }

for model in $MODELS; do
	"$RINGSIDE" record -f -o "$trace" --model "$model" --mark '^mark' --serial none "$guest" </dev/null 2>"$scratch/err"
	ok "record in model $model" equal $? 33
	events=$("$RINGSIDE" trace info --format json "$trace" | jq .events)

	# a symbol count_WHAT_N stands on an instruction that executed N times
	profile --by site
	places=$(nm "$guest" | sed -n 's/.* count_\([a-z0-9]*_[0-9]*\)$/\1/p' | grep -v hlt3)
	ok "there are places" [ "$(wc -l <<<"$places")" -gt 25 ]
	for place in $places; do
		is "$place in model $model" "[.tables[0].rows[] | select(.symbol == \"count_$place+0x0\").count] == [${place##*_}]"
	done

	profile --by all
	is "all views" '(.tables | length) == 13'
	is "rows add up to their tables" 'all(.tables[]; ([.rows[].count] | add) == .count and ([.rows[].total] | add) == .total)'
	is "views of all events add up to the whole" "all(.tables[] | select(.by == (\"insn\", \"operand\", \"process\", \"pair\", \"pairsite\", \"cluster\", \"time\", \"marker\")); .count == $events)"
	is "and to the cost outside the guest" '([.phases[] | select(.event).cycles] | add) as $cost | all(.tables[] | select(.by == ("insn", "operand", "process", "pair", "time", "marker")); .total == $cost)'
	is "views of what instructions did agree" '[.tables[] | select(.by == ("site", "symbol")).count] | unique | length == 1'
	is "what measuring took is said" '.measuring.readings >= 2 * .trace.events and .measuring.cycles == .measuring.readings * .measuring.each and .measuring.share > 0 and .measuring.share < 100'
	is "followers are counted" 'all(.tables[] | select(.groups); ([.rows[].groups] | add) == .groups and ([.rows[].followers] | add) == .followers and ([.rows[].saved] | add) == .saved)'
	is "pairs and clusters have the same followers" '[.tables[] | select(.followers).followers] | unique | length == 1'

	profile --by insn
	is "rdtsc" '[.tables[0].rows[] | select(.insn == "rdtsc").count] == [29]'
	is "cpuid" '[.tables[0].rows[] | select(.insn == "cpuid").count] == [43]'
	profile --by operand
	is "leaf 0 and leaf 1" '[.tables[0].rows[] | select(.insn == "cpuid") | [.operand, .count]] | sort == [["leaf 0", 31], ["leaf 1", 12]]'
	is "control registers" '[.tables[0].rows[] | select(.insn == "mov cr" and .operand == "cr3").count] == [3]'
	is "an MSR" '[.tables[0].rows[] | select(.insn == "rdmsr" and .operand == "msr 10").count] == [37]'
	is "a port" '[.tables[0].rows[] | select(.insn == "in" and .operand == "port 080").count] == [11 + 53 + 19 + 23 + 61 + 62]'
	profile --by port
	is "a port by port" '[.tables[0].rows[] | select(.port == "084").count] == [100]'
	profile --by device
	is "a device by device" '[.tables[0].rows[] | select(.device == "delay ports").count] == [11 + 13 + 53 + 53 + 19 + 23 + 61 + 62]'
	is "devices add up to their layer" '([.tables[0].rows[].phases.device] | add) == (.phases[] | select(.phase == "device").cycles)'
	profile --by vector
	is "a vector" '[.tables[0].rows[] | select(.vector == "0d").count] == [6]'
	profile --by site --disassemble
	is "disassembly" '[.tables[0].rows[] | select(.symbol == ("count_in_11+0x0", "count_readcr0_17+0x0", "count_cpuid0_31+0x0")).insn] | sort == ["cpuid", "in al, 0x80", "mov eax, cr0"]'
	profile --by port --filter port=80-84
	is "a range of ports" "([.tables[0].rows[].port] | unique) == [\"080\", \"084\"]"
	is "what they cost" '.selected_cost == ([.tables[0].rows[].total] | add) and .selected_share > 0 and .selected_share < 100'
	ok "a range that ends before it begins" equal "$("$RINGSIDE" profile --filter port=84-80 "$trace" >/dev/null 2>&1; echo $?)" 2
	profile --by marker --mark-port 80
	is "writes to a port are markers" '[.tables[0].rows[] | select(.after | startswith("port 080: "))] | length == 13 + 53'
	profile --by process
	is "two processes and how they were left" '[.tables[0].rows[] | select(.cr3 == ("00005000", "00006000")) | [.cr3, .mode, .count]] | sort == [["00005000", "kernel", 20], ["00006000", "kernel", 24]]'
	is "ring 3 is user" '[.tables[0].rows[] | select(.mode == "user").count] == [6]'
	profile --by pairsite
	is "pairs" '[.tables[0].rows[] | select(.first == "in count_pairin_53+0x0" and .second == "out count_pairout_53+0x0") | [.count, .groups, .followers]] == [[53, 53, 53]]'
	profile --by cluster
	is "clusters of two" '[.tables[0].rows[] | select(.symbol == "count_pairin_53+0x0") | [.count, .groups, .followers]] == [[106, 53, 53]]'
	is "clusters of five" '[.tables[0].rows[] | select(.symbol == "count_head_20+0x0") | [.count, .groups, .followers]] == [[100, 20, 80]]'
	is "one chain is one cluster" '[.tables[0].rows[] | select(.symbol == "count_sgdt_43+0x0") | [.count, .groups, .followers]] == [[43, 1, 42]]'
	profile --by cluster --near 1
	is "less is close" '[.tables[0].rows[] | select(.symbol == "count_sgdt_43+0x0") | [.count, .groups]] == [[43, 0]]'
	profile --by time --buckets 7
	is "buckets" '(.tables[0].rows | length) <= 7'

	profile --by marker
	is "recorded markers" '[.tables[0].rows[].after] | sort == ["(start)", "mark one", "mark three", "mark two"]'
	profile --by marker --mark '^mark'
	is "a line that was recorded as a marker is one" '[.tables[0].rows[].after] | sort == ["(start)", "mark one", "mark three", "mark two"]'
	profile --by site --from-mark 'mark one' --to-mark 'mark two'
	is "between markers" '([.tables[0].rows[] | select(.symbol == "count_marked_61+0x0").count] == [61]) and ([.tables[0].rows[].symbol | select(startswith("count_"))] | length == 1)'
	is "says so" '.selection | test("mark one") and test("mark two")'
	profile --by marker --from-mark 'mark two' --filter insn=in --filter port=80
	is "filters" '[.tables[0].rows[] | [.after, .count]] == [["mark two", 62]]'
	profile --by insn --filter cpl=3
	is "a filter by ring" '.selected_events == 6'
	profile --by process --filter process=5000,6000
	is "a filter by process" '[.tables[0].rows[].count] | add == 44'
	profile --by insn --filter kind=sensitive --filter insn=sgdt,smsw
	is "a filter by kind" '[.tables[0].rows[].count] | sort == [43, 47]'
done

# lines of the console mark a recording in which nobody thought of it
"$RINGSIDE" record -f -o "$trace" --serial none "$guest" </dev/null 2>"$scratch/err"
profile --by site --from-mark 'mark one' --to-mark 'mark two'
is "between lines" '([.tables[0].rows[] | select(.symbol == "count_marked_61+0x0").count] == [61]) and ([.tables[0].rows[].symbol | select(startswith("count_"))] | length == 1)'
"$RINGSIDE" record -f -o "$scratch/marked" --mark '^mark' --serial none "$guest" </dev/null 2>"$scratch/err"
ok "a recording with markers replays" equal "$("$RINGSIDE" replay --format json "$scratch/marked" | jq -r .verdict)" equal
ok "markers are events" equal "$("$RINGSIDE" trace dump --json --kind marker "$scratch/marked" | wc -l)" 3

status() { # WHAT WANT ARGUMENT...
	local what=$1 want=$2 rc
	shift 2
	profile "$@"
	rc=$?
	if [ $rc -eq "$want" ]; then pass; else fail "$what: status $rc, not $want" "$RINGSIDE profile $* $trace" "$scratch/err"; fi
}
status "no marker like that" 3 --from-mark 'no such line'
status "no regular expression" 2 --mark '['
status "no filter" 2 --filter nothing=1
status "no value" 2 --filter insn=nothing
status "no number" 2 --near x
status "--buckets 0" 2 --buckets 0
"$RINGSIDE" run --mark '(' "$guest" </dev/null >/dev/null 2>&1
ok "run --mark '('" equal $? 2
done_checks
