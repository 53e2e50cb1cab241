#!/bin/bash
# The command line: help everywhere, usage errors are status 2, bad input is status 3, and every message names what and why.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
tmp=$scratch

# expect STATUS TEXT ARGS...: ringside ARGS exits with STATUS and says TEXT somewhere.
expect() {
	local want=$1 text=$2 rc out
	shift 2
	out=$("$RINGSIDE" "$@" 2>&1 </dev/null)
	rc=$?
	if [ $rc -eq "$want" ] && [[ $out == *"$text"* ]]; then
		pass
	else
		echo "$out" >"$scratch/said"
		fail "status $rc, wanted $want and \"$text\"" "$RINGSIDE $*" "$scratch/said"
	fi
}

echo "not a trace" >"$tmp/text"
: >"$tmp/empty"
echo taken >"$tmp/taken.trace"

expect 2 Usage:
expect 0 Usage: -h
expect 0 Usage: --help
expect 0 "ringside " version
expect 0 "ringside " --version
for c in run record replay profile "symbols -o $tmp/new.sym" "trace info" "trace dump" "trace check"; do
	expect 0 Examples: $c -h
	expect 0 "ringside ${c%% -o*}" $c --help
	expect 2 "argument is missing" $c
	expect 2 "unknown option" $c --no-such-option x
	expect 2 "one argument too many" $c a b
	expect 3 "$tmp/absent" $c "$tmp/absent"
done
expect 0 "check" trace -h
expect 2 "no such command" nonsense
expect 2 "no such command" trace nonsense
expect 2 Usage: trace

# what a file must be
for c in replay profile "trace info" "trace dump" "trace check"; do
	expect 3 "$tmp/text" $c "$tmp/text"
	expect 3 "$tmp/empty" $c "$tmp/empty"
	expect 3 "$tmp" $c "$tmp"
done
for c in run "record -o $tmp/new.trace" "symbols -o $tmp/new.sym"; do
	expect 3 "$tmp/text" $c "$tmp/text"
	expect 3 "$tmp/empty" $c "$tmp/empty"
	expect 3 "$tmp" $c "$tmp"
done

# what a value must be
guest=$BUILD/guests/demo.elf
expect 2 "--memory 1M" run --memory 1M "$guest"
expect 2 "--memory 4G" run --memory 4G "$guest"
expect 2 "--memory many" run --memory many "$guest"
expect 2 "--memory 99999999999G" run --memory 99999999999G "$guest"
expect 2 "--memory 3000001" run --memory 3000001 "$guest"
expect 2 "--model 0/2/3" run --model 0/2/3 "$guest"
expect 2 "--sensitive perhaps" run --sensitive perhaps "$guest"
expect 2 "--engine steam" run --engine steam "$guest"
expect 2 "--engine steam" replay --engine steam "$tmp/text"
expect 2 "--clock sun" run --clock sun "$guest"
expect 2 "--serial tcp" run --serial tcp "$guest"
expect 2 "--limit -1" run --limit -1 "$guest"
expect 2 "--format xml" run --format xml "$guest"
expect 3 "initrd" run --initrd "$tmp/absent" "$guest"
expect 3 "module" run --module "$tmp/absent with arguments" "$guest"
expect 2 "-o FILE" symbols "$tmp/text"
expect 2 "--shift far" symbols -o "$tmp/new.sym" --shift far "$tmp/text"
expect 2 "one of them" symbols -o "$tmp/new.sym" --shift 1 --for "$tmp/text" "$tmp/text"
expect 2 "exists already" symbols -o "$tmp/taken.trace" "$tmp/text"
expect 3 "line 1" symbols -o "$tmp/new.sym" "$tmp/text"
expect 3 "kallsyms" symbols -o "$tmp/new.sym" "$guest"
expect 2 "--by colour" profile --by colour "$tmp/text"
expect 2 "--sort colour" profile --sort colour "$tmp/text"
expect 2 "--limit few" profile --limit few "$tmp/text"
expect 2 "--format xml" profile --format xml "$tmp/text"
expect 2 "--plot x.gif" profile --plot x.gif "$tmp/text"
expect 3 "$tmp/absent" profile --symbols "$tmp/absent" "$tmp/text"
expect 2 "--kind nonsense" trace dump --kind nonsense "$tmp/text"
expect 2 "--from x" trace dump --from x "$tmp/text"
expect 2 "--to x" replay --to x "$tmp/text"
expect 2 "--serial tcp" replay --serial tcp "$tmp/text"

# nothing is overwritten unasked, and what cannot be written is the host's fault
expect 2 "exists already" record -o "$tmp/taken.trace" "$guest"
ok "an existing file is not touched" equal "$(cat "$tmp/taken.trace")" taken
expect 5 "$tmp/absent/new.trace" record -o "$tmp/absent/new.trace" "$guest"
expect 5 "" run --serial "file:$tmp/absent/console" "$guest"

# The engine is the translator, and where the host's processor cannot, the interpreter, which is said once.
engine_of() { "$RINGSIDE" trace info --format json "$1" | jq -r .engine; }
"$RINGSIDE" record -f -o "$tmp/t" --serial none "$BUILD/guests/count.elf" 2>"$tmp/said" </dev/null
if grep -qw bmi2 /proc/cpuinfo; then
	ok "the default engine" equal "$(engine_of "$tmp/t")" translate
	ok "nothing is said of it" equal "$(grep -c BMI2 "$tmp/said")" 0
fi
RINGSIDE_WITHOUT_BMI2=1 "$RINGSIDE" replay "$tmp/t" >"$tmp/out" 2>"$tmp/said"
ok "without BMI2 a trace replays" equal $? 0
RINGSIDE_WITHOUT_BMI2=1 "$RINGSIDE" record -f -o "$tmp/t" --serial none "$BUILD/guests/count.elf" 2>"$tmp/said" </dev/null
ok "without BMI2" equal "$(engine_of "$tmp/t")" interp
ok "without BMI2 one line says so" equal "$(grep -c 'BMI2.*interpreted' "$tmp/said")" 1

done_checks
