#!/bin/bash
# 27-contrast.sh - one guest in several ways: the counts are those of a recording, the digests agree, every layer is told, nothing is left behind.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/count.elf
export TMPDIR=$scratch
is() { if jq -e "$2" "$scratch/out" >/dev/null; then pass; else fail "$1" "jq '$2'" "$scratch/out"; fi; }
contrast() { timeout 300 "$RINGSIDE" contrast "$@" "$guest" >"$scratch/out" 2>"$scratch/err" </dev/null; }

contrast --by trap --rounds 2 --rows 0 --format json --plot "$scratch/trap.svg"
ok "by trap" equal $? 0
is "one digest" '.same_digest and .format == "ringside-contrast" and .rounds == 2'
is "counts are of one run, in every way" '[.rows[] | select(.insn == ("rdtsc", "rdmsr", "cli", "sgdt")) | [.insn, .count.interp, .count.call, .count.fault]] | sort == [["cli", 13, 13, 13], ["rdmsr", 37, 37, 37], ["rdtsc", 29, 29, 29], ["sgdt", 43, 43, 43]]'
is "events add up" '([.rows[].count.fault] | add) == .figures.events.fault'
is "real faults in one way alone" '([.rows[] | select(((.kind | IN("fault", "pio")) and .insn != "mov sreg") or .insn == "hlt").count.fault] | add) as $n | $n > 800 and .figures.hardfaults.interp + .figures.hardfaults.call == 0 and .figures.hardfaults.fault <= $n and .figures.hardfaults.fault >= $n * 0.99'
is "and a layer of its own" '.figures.fault.interp == 0 and .figures.fault.call == 0 and .figures.fault.fault > 0'
by_far=${RINGSIDE_QUICK:+1} # sanitizers make the calls dearer, not the faults
is "what can fault is dearer by far" "all(.rows[] | select(.insn == (\"rdtsc\", \"rdmsr\", \"cli\", \"in\")); .min.fault > ${by_far:-2} * .min.call)"
is "layers stay below the time" '([.figures | .guest, .decode, .tlb, .view, .fault, .callout, .entry, .emulate, .reflect, .device, .log | .fault] | add) <= .figures.median_ms.fault * 4'
is "an answer" '.sentence | test("price of trap-and-emulate.*this guest.s [0-9]+")'
ok "a picture" [ -s "$scratch/trap.svg" ] && ok "and what it was made from" [ -s "$scratch/trap.svg.gp" ]

contrast --by model --rounds 2
ok "by model" equal $? 0
for line in 'view switches +0 +[1-9]' 'reflected +[0-9]+ +[0-9]+' 'TLB fills +[0-9]+ +[0-9]+' 'processor time, median .* ms .* ms' 'switched its view of memory [1-9]'; do
	ok "by model: $line" grep -qE "$line" "$scratch/out"
done

contrast --by engine --rounds 1 --format json
is "by engine" '.same_digest and (.figures.median_cpu_ms | keys == ["interp", "translate"])'

contrast --by steam
ok "a way that is none" equal "$? $(grep -c 'model, trap or engine' "$scratch/err")" "2 1"
contrast --by model --model 0/3/3
ok "both asked and chosen" equal "$? $(grep -c 'runs all of them' "$scratch/err")" "2 1"
contrast --by trap --engine interp
ok "the same of engines" equal $? 2
contrast --rounds 0
ok "no rounds" equal $? 2
ok "nothing is left" [ -z "$(ls -d "$scratch"/ringside-contrast* 2>/dev/null)" ]
done_checks
