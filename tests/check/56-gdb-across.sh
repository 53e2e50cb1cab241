#!/bin/bash
# 56-gdb-across.sh - gdb goes back and forth across what is hard to cross: exceptions, page faults, interrupts, ring changes, task switches, call gates, repeated
# strings, code that changes itself, checkpoints. Where each happens is looked up in the trace; registers and memory must be the same on return.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
need gdb
choose_seed

# Where to look in a trace: two events of each kind, instruction and vector, and some icounts anywhere.
places() { # TRACE COUNT
	"$RINGSIDE" trace dump "$1" | awk 'NR > 1 && $5 !~ /end|marker/ { k = $5 " " $6 " " $7; if (n[k]++ < 2) print "event " $1 }' | shuf --random-source=<(yes "$seed") | head -n "$2"
	awk -v s="$seed" -v e="$("$RINGSIDE" trace info --format json "$1" | jq .icount)" 'BEGIN { srand(s); for (i = 0; i < 4; i++) print int(rand() * e) }'
}

# Every way there and back at one place; each digest must be the first.
there_and_back() { # PLACE
	cat <<-END_OF_GDB
		echo @$1\n
		monitor goto $1
		monitor digest
		stepi 3
		reverse-stepi 3
		monitor digest
		reverse-stepi
		stepi
		monitor digest
		break *((unsigned int)\$pc + (unsigned int)\$cs_base)
		reverse-continue
		continue
		monitor digest
		delete
	END_OF_GDB
}

across() { # GUEST COUNT
	local guest=$1 trace=$scratch/$1.trace
	"$RINGSIDE" record -f -o "$trace" --serial none "$BUILD/guests/$guest.elf" >"$scratch/err" 2>&1 </dev/null
	{
		printf 'set pagination off\nset confirm off\nset width 0\n'
		places "$trace" "$2" | while read -r place; do there_and_back "$place"; done
		echo 'echo @finished\n'
	} >"$scratch/$guest.gdb"
	timeout 280 "$RINGSIDE" debug --symbols "$BUILD/guests/$guest.elf" --command "$scratch/$guest.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
	# at the very beginning there is no step back
	awk '
		function judge() {
			if (place != "" && place != "finished" && !(begin && n == 4) && (n != 4 || bad)) { print "at " place ": " n " digests, " bad " differ"; wrong++ }
			n = bad = begin = 0
		}
		/^@/ { judge(); place = substr($0, 2); places++; next }
		/^registers / { if (!n++) first = $0; else if ($0 != first) bad++ }
		/^icount 0 / { begin = 1 }
		END { if (place != "finished" || places < 4) { print "it ended at " place; wrong++ } exit wrong > 0 }
	' "$scratch/out" >"$scratch/verdict"
	if [ $? -eq 0 ]; then
		pass
	else
		cat "$scratch/out" >>"$scratch/verdict"
		LINES_OF_FILE=400 fail "there and back in $guest, seed $seed: $(head -n 3 "$scratch/verdict" | tr '\n' ';')" "SEED=$seed tests/check/56-gdb-across.sh"
		[ -z "${KEEP-}" ] || cp "$scratch/out" "$KEEP.$guest"
	fi
	rm -f "$trace"
}

count=8
guests="demo exc paging tasks gates rep smc step timer"
[ -z "${RINGSIDE_QUICK-}" ] || { count=3; guests="demo exc tasks smc"; }
for guest in $guests; do across "$guest" $count; done
done_checks
