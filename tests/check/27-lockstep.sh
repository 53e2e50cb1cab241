#!/bin/bash
# 27-lockstep.sh - two engines side by side: they agree on guests, live, recorded and replayed; a mistake planted in the translator is found, down to the
# instruction, whatever the distance between comparisons.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
demo=$BUILD/guests/demo.elf
grep -qw bmi2 /proc/cpuinfo || { echo "the translator does not run here"; exit 77; }

agree() { # TEXT ARGS...: both engines agree until the end
	local text=$1
	shift
	timeout 300 "$RINGSIDE" "$@" >"$scratch/out" 2>&1 </dev/null
	ok "$*: status" equal $? 0
	ok "$*: agrees" grep -q "$text" "$scratch/out"
}

agreed="the engines agreed in [0-9]* comparisons"
agree "$agreed" run --serial none --engine lockstep --model 0/3/3 "$demo"
agree "$agreed" run --serial none --engine lockstep --compare-every block --limit 300K --memory 8M "$demo"
agree "$agreed" record -o "$scratch/both" --serial none --engine lockstep --compare-every 10K "$demo"
"$RINGSIDE" record -o "$scratch/interp" --serial none --engine interp "$demo" 2>"$scratch/err" </dev/null
digest() { "$RINGSIDE" trace info --format json "$1" | jq -r .digest; }
ok "what a lockstep records" equal "$(digest "$scratch/both")" "$(digest "$scratch/interp")"
agree "power off" replay --engine lockstep --compare-every 10K "$scratch/interp"
agree "stopped where asked" replay --engine lockstep --to 20M "$scratch/both"

# The address of the first instruction like TEXT in a function of the demo.
address() { # FUNCTION TEXT
	objdump -d --no-show-raw-insn --disassemble="$1" "$demo" | tr -s ' \t' ' ' | sed -n "s/^ *\([0-9a-f]*\): $2.*/0x\1/p" | head -n 1
}

finds() { # WHAT INSTRUCTION FIELD ARGS...
	local what=$1 insn=$2 field=$3
	shift 3
	timeout 120 "$RINGSIDE" "$@" >"$scratch/out" 2>&1 </dev/null
	ok "$what: status of $*" equal $? 4
	ok "$what: where, $*" grep -q "agree at icount [0-9]* and differ at [0-9]*" "$scratch/out"
	ok "$what: the instruction, $*" grep -qi "^ *0x0*${plant#0x} *$insn" "$scratch/out"
	ok "$what: the field, $*" grep -q "^ *$field .*0x" "$scratch/out"
}

plant=$(address sieve_main 'inc %edi')
for every in block 777 1M; do
	finds "a register" "inc edi" edi run --serial none --memory 8M --engine lockstep --compare-every $every --plant-mistake "$plant" "$demo"
done
finds "a register, other rings" "inc edi" edi run --model 0/3/3 --serial none --engine lockstep --plant-mistake "$plant" "$demo"
plant=$(address sieve_main 'movb \$0x1,0x')
finds "memory" "mov byte ptr" memory run --serial none --engine lockstep --plant-mistake "$plant" "$demo"
finds "memory, recording" "mov byte ptr" memory record -o "$scratch/wrong" --serial none --engine lockstep --plant-mistake "$plant" "$demo"
finds "memory, replaying" "mov byte ptr" memory replay --engine lockstep --plant-mistake "$plant" "$scratch/interp"
plant=$(address mandel_main 'fmul')
finds "the FPU" fmul "st[0-7]" run --serial none --engine lockstep --plant-mistake "$plant" "$demo"
"$RINGSIDE" replay --format json --engine lockstep --plant-mistake "$plant" "$scratch/interp" >"$scratch/json" 2>"$scratch/err"
ok "JSON says so" equal "$(jq -r .verdict "$scratch/json")" "engines differ"
done_checks
