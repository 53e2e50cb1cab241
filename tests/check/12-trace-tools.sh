#!/bin/bash
# A recording of the demo guest through every command that reads traces: the figures agree with each other, JSON parses, CSV and protobuf too,
# the replay is equal and its console the same byte for byte, recordings repeat.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
tmp=$scratch
guest=$BUILD/guests/demo.elf
trace=$tmp/demo.trace

json() { jq -e "$1" "$2" >/dev/null; }
record() {
	"$RINGSIDE" record -f -o "$trace" --format json --perf "$guest" </dev/null >"$tmp/console" 2>"$tmp/record.err" || return
	tail -n 1 "$tmp/record.err" >"$tmp/record.json"
}
# a host that pauses a recording may pause it anywhere, but not three of them
guest_has_most() {
	for _ in 1 2 3; do
		json 'all(.perf[] | select(.name == "task-clock-ns"); .guest * 2 > .value)' "$tmp/record.json" && return
		record
	done
	false
}

record
ok "record" equal $? 0
ok "the closing line is JSON" json '.format == "ringside-run" and .icount > 0 and .trace.complete' "$tmp/record.json"
ok "perf says where each figure is from" json '(.perf | length) == 7 and all(.perf[]; .source == "unavailable" and .why != "" or .value >= 0)' "$tmp/record.json"
ok "perf adds up over the layers" json 'all(.perf[] | select(.source != "unavailable"); .value == .guest + .vmm + .device + .log)' "$tmp/record.json"
ok "the trace has what one reading takes" json 'any(.trace.host_costs[]; .name == "perf_read")' <("$RINGSIDE" profile --format json "$trace")
ok "perf says what reading took" json '.perf_reads > 1000 and .perf_read_ns > 0' "$tmp/record.json"
ok "the guest's layer has most of the time" guest_has_most

"$RINGSIDE" record -o "$tmp/again.trace" --serial none --format json "$guest" </dev/null 2>"$tmp/again.err"
tail -n 1 "$tmp/again.err" >"$tmp/again.json"
ok "two recordings have one digest" equal "$(jq -r .trace.digest "$tmp/record.json")" "$(jq -r .trace.digest "$tmp/again.json")"
"$RINGSIDE" run --serial none --format json "$guest" </dev/null 2>"$tmp/run.json"
ok "run and record agree" equal "$(jq -c '[.icount, .faults, .reason]' "$tmp/run.json")" "$(jq -c '[.icount, .faults, .reason]' "$tmp/record.json")"

"$RINGSIDE" replay --format json "$trace" >"$tmp/replay.json"
ok "replay" equal $? 0
ok "replay is equal" equal "$(jq -c '[.verdict, .icount, .events]' "$tmp/replay.json")" "$(jq -c '["equal", .icount, .trace.events]' "$tmp/record.json")"
"$RINGSIDE" replay --serial stdio "$trace" >"$tmp/replay.console" 2>"$tmp/replay.err"
ok "the console is the same" cmp "$tmp/console" "$tmp/replay.console"
ok "the verdict went to stderr" grep -q "events verified" "$tmp/replay.err"
"$RINGSIDE" replay --to 1M --format json "$trace" >"$tmp/to.json"
ok "replay --to stops there" json '.icount == 1000000' "$tmp/to.json"
cp "$trace" "$tmp/alone.trace"
ok "replay needs only the trace" env -C / "$(realpath "$RINGSIDE")" replay "$tmp/alone.trace" >/dev/null

"$RINGSIDE" trace info --format json "$trace" >"$tmp/info.json"
ok "info is JSON" json '.format == "ringside-trace-info" and .complete and .model == "0/1/3"' "$tmp/info.json"
ok "info has the digest" equal "$(jq -r .digest "$tmp/info.json")" "$(jq -r .trace.digest "$tmp/record.json")"
ok "info in words" grep -q "^digest" <("$RINGSIDE" trace info "$trace")
ok "check" "$RINGSIDE" trace check "$trace" >/dev/null

events=$(jq .events "$tmp/info.json")
"$RINGSIDE" trace dump --json --costs "$trace" >"$tmp/dump.json"
ok "dump has every event" equal "$(wc -l <"$tmp/dump.json")" "$events"
ok "dump is JSON, numbered in order" equal "$(jq -s '[.[].seq] == [range(length)]' "$tmp/dump.json")" true
ok "dump in words has every event" equal "$("$RINGSIDE" trace dump "$trace" | wc -l)" "$events"
ok "dump --kind" equal "$("$RINGSIDE" trace dump --kind pio,exception "$trace" | wc -l)" "$(jq -s 'map(select(.kind == "pio" or .kind == "exception")) | length' "$tmp/dump.json")"
ok "dump --from --to" equal "$("$RINGSIDE" trace dump --from 1000000 --to 2M "$trace" | wc -l)" \
	"$(jq -s 'map(select(.icount >= 1000000 and .icount <= 2000000)) | length' "$tmp/dump.json")"
ok "the last event is the end" equal "$(tail -n 1 "$tmp/dump.json" | jq -r .kind)" end

"$RINGSIDE" profile --by all --limit 0 --format json --symbols "$guest" "$trace" >"$tmp/profile.json"
ok "profile is JSON" json '.format == "ringside-profile" and (.tables | length) == 13' "$tmp/profile.json"
ok "every event is in the table by instruction" equal "$(jq '[.tables[0].rows[].count] | add' "$tmp/profile.json")" "$events"
ok "counts agree with the dump" equal "$(jq -c '[.tables[0].rows[] | {k: (.insn + " " + .kind), c: .count}] | sort_by(.k)' "$tmp/profile.json")" \
	"$(jq -sc 'group_by(.insn + " " + .kind) | map({k: (.[0].insn + " " + .[0].kind), c: length}) | sort_by(.k)' "$tmp/dump.json")"
ok "times add up to the dump's" equal "$(jq '[.tables[0].rows[].total] | add' "$tmp/profile.json")" \
	"$(jq -s '[.[].cost | .fault + .callout + .entry + .emulate + .reflect + .device + .log] | add' "$tmp/dump.json")"
ok "phases add up to the run" json '([.phases[].cycles] | add) == .run_cycles' "$tmp/profile.json"
ok "rows add up to tables" json 'all(.tables[]; ([.rows[].count] | add // 0) == .count and ([.rows[].total] | add // 0) == .total)' "$tmp/profile.json"
ok "percentiles are in order" json 'all(.tables[].rows[]; .min <= .p50 and .p50 <= .p95 and .p95 <= .p99 and .p99 <= .max)' "$tmp/profile.json"
ok "sites have symbols" json '[.tables[1].rows[] | select(.symbol != "")] | length > 10' "$tmp/profile.json"
ok "text has a table" grep -q "^INSN" <("$RINGSIDE" profile "$trace")
ok "csv has a line a row" equal "$("$RINGSIDE" profile --by port --limit 0 --format csv "$trace" | wc -l)" "$(($(jq '.tables[3].rows | length' "$tmp/profile.json") + 1))"
"$RINGSIDE" profile --format pb --limit 0 "$trace" >"$tmp/profile.pb"
ok "protobuf decodes" equal "$(protoc --decode=profile.Profile schemas/profile.proto <"$tmp/profile.pb" | awk '/^  row/ { n++ } END { print n }')" \
	"$(jq '.tables[0].rows | length' "$tmp/profile.json")"
ok "plots" "$RINGSIDE" profile --plot "$tmp/c.png" --plot "$tmp/c.svg" "$trace" >/dev/null
ok "a PNG" equal "$(head -c 4 "$tmp/c.png" | od -An -tx1 | tr -d ' ')" 89504e47
ok "an SVG" grep -q "<svg" "$tmp/c.svg"

"$RINGSIDE" record -f -o "$tmp/again.trace" --serial none --limit 1M "$guest" </dev/null 2>"$tmp/limit.err"
ok "a limit is an end like others" equal $? 0
ok "and is said" grep -q "limit" "$tmp/limit.err"

# Speed and where the time went, in the text and in JSON; the line of progress is for terminals only.
"$RINGSIDE" record -f -o "$scratch/timed" --serial none "$BUILD/guests/demo.elf" 2>"$scratch/piped" </dev/null
"$RINGSIDE" trace info "$scratch/timed" >"$scratch/info"
ok "info tells the speed" grep -qE '^run .* [0-9.]+ million instructions a second' "$scratch/info"
ok "info tells where the time went" grep -qE '^time went to .*guest [0-9.]+ %' "$scratch/info"
ok "the same in JSON" equal "$("$RINGSIDE" trace info --format json "$scratch/timed" | jq '.mips > 0 and .phase_cycles.guest > 0')" true
ok "no progress in a pipe" equal "$(grep -c 'instructions a second' "$scratch/piped")" 0
if command -v script >/dev/null; then
	script -qec "$RINGSIDE record -f -o $scratch/timed --serial none --append events=5000000 $BUILD/guests/storm.elf" /dev/null >"$scratch/tty" 2>&1 </dev/null
	ok "progress on a terminal" grep -qE 'recording: [0-9.]+ M instructions a second, icount [0-9]+, [0-9]+ events, trace [0-9.]+ MiB' "$scratch/tty"
fi

done_checks
