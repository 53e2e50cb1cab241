#!/bin/bash
# 57-gdb-lines.sh - gdb's steps by source line, forward and backward, over, into and out of what is hard to cross: exceptions, page faults, interrupts, ring changes,
# task switches, call gates, repeated strings, code that changes itself. Where each happens is looked up in the trace; each moment has a digest, and every way
# to it must lead to the same.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
need gdb
choose_seed

# Events of a trace, one of each kind, instruction, vector and privilege level: number and icount.
places() { # TRACE COUNT REGEX
	"$RINGSIDE" trace dump "$1" | awk -v wanted="$3" 'NR > 1 { k = $4 " " $5 " " $6 " " $7; if (k ~ wanted && !n[k]++) print $1, $2 }' |
		shuf --random-source=<(yes "$seed") | head -n "$2"
}

# What the scripts below say: "=MOMENT" before the digest of a moment, "Line" and "pc" where it is to be the start of a line, "!" and what went wrong.
vocabulary() {
	cat <<-'END_OF_GDB'
		set pagination off
		set confirm off
		set width 0
		define moment
		  echo =$arg0\n
		  monitor digest
		end
		define start
		  info line *$pc
		  printf "pc 0x%x\n", $pc
		end
		define must
		  if !($arg0)
		    echo ! $arg1
		    printf ": icount %d, pc 0x%x\n", $icount, $pc
		  end
		end
	END_OF_GDB
}

# An event while cpu_run() of tests/guests/lib runs a piece of code for a line of C: over that line, into it, out of it, both ways.
around_a_run() { # EVENT ICOUNT
	cat <<-END_OF_GDB
		echo @event $1\n
		monitor goto event $1
		tbreak cpu_run
		reverse-continue
		set \$entered = \$icount
		moment entry
		finish
		if \$icount <= $2
		  echo outside\n
		else
		  set \$behind = \$pc
		  moment finished
		  eval "monitor goto %d", \$entered
		  reverse-finish
		  must (\$icount<\$entered&&\$behind-\$pc<8) reverse-finish-ends-at-the-call
		  stepi
		  must (\$icount==\$entered) the-call-leads-to-where-reverse-finish-began
		  moment entry
		  reverse-stepi
		  reverse-next
		  must (\$icount<\$entered) reverse-next-goes-back-to-the-begin-of-the-line
		  start
		  moment line
		  next
		  must (\$icount>$2) next-crosses-the-event
		  start
		  moment next
		  reverse-next
		  moment line
		  step
		  must (\$pc>=(unsigned)&cpu_run&&\$pc<(unsigned)&cpu_run+99) step-goes-into-the-function
		  reverse-step
		  moment line
		  next
		  moment next
		  reverse-step
		  must (\$pc>(unsigned)&cpu_run&&\$pc<(unsigned)&cpu_run+99) reverse-step-goes-into-the-function
		  must (\$icount>$2) from-behind
		  start
		  step
		  moment next
		end
	END_OF_GDB
}

# Code with lines that is itself interrupted, or faults, or calls the kernel: each line that steps forward come to is one that steps back may come to.
within_lines() { # EVENT ICOUNT
	cat <<-END_OF_GDB
		echo @event $1\n
		monitor goto $(($2 ? $2 - 1 : 0))
		set \$here = \$icount
		reverse-step
		must (\$icount<=\$here) reverse-step-goes-back
		start
		set \$line = \$icount
		moment line
	END_OF_GDB
	for _ in 1 2 3 4 5 6; do printf 'step\ninfo line *$pc\necho stepped\\n\n'; done
	cat <<-END_OF_GDB
		while \$icount > \$line
		  reverse-step
		  start
		  echo stepped back\n
		end
		moment line
	END_OF_GDB
}

# User code that is interrupted, faults or calls the kernel, with steps that go over handlers: forward and backward they stay in the user's code.
over_handlers() { # EVENT ICOUNT
	cat <<-END_OF_GDB
		echo @event $1\n
		monitor handlers over
		monitor goto $(($2 ? $2 - 1 : 0))
		if \$cpl != 3
		  echo outside\n
		else
		  moment here
		  stepi 3
		  must (\$cpl==3) stepi-goes-over
		  moment three
		  reverse-stepi 3
		  moment here
		  reverse-next
		end
		# a task's first line has none before it
		if \$cpl == 3
		  start
		  set \$line = \$icount
		  next
		  must (\$cpl==3&&\$icount>\$line) next-goes-over
		  start
		  moment next
		  reverse-next
		  must (\$cpl==3&&\$icount>=\$line) reverse-next-goes-over
		  start
		  echo stepped back\n
		  next
		  moment next
		end
		monitor handlers into
	END_OF_GDB
}

# One line a mistake: what the script said, digests of one moment that differ, a stop within a line.
judge() { # OUTPUT
	awk '
		/^@/ { place = substr($0, 2); split("", digest); split("", visited); line = ""; if (place != "finished") places++; next }
		/^! / { print place $0 }
		/^outside/ { outside++ }
		/^Line / { if (line == "") line = $2 $4; here = $2 $4; split($0, part, " starts at address "); start = part[2]; sub(" .*", "", start) }
		/^pc / { if ($2 != start) print place ": " $2 " is not the start of a line" }
		/^stepped$/ { visited[here] }
		/^stepped back/ { if (!(here in visited) && here != line) print place ": reverse-step ends at " here ", no step did" }
		/^=/ { name = $0 }
		/^registers / { if (name in digest && digest[name] != $0) print place ": another digest of " name; digest[name] = $0 }
		END {
			if (place != "finished") print "it ended at " place
			if (!places || outside * 2 > places) print outside + 0 " of " places + 0 " places were of no use"
		}
	' "$1"
}
lines() { # GUEST COUNT REGEX SCRIPT
	local guest=$1 trace=$scratch/$1.trace
	[ -e "$trace" ] || "$RINGSIDE" record -o "$trace" --serial none "$BUILD/guests/lines/$guest.elf" >"$scratch/err" 2>&1 </dev/null
	{
		vocabulary
		places "$trace" "$2" "$3" | while read -r event icount; do "$4" "$event" "$icount"; done
		echo 'echo @finished\n'
	} >"$scratch/$guest.gdb"
	timeout 280 "$RINGSIDE" debug --symbols "$BUILD/guests/lines/$guest.elf" --command "$scratch/$guest.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
	judge "$scratch/out" >"$scratch/verdict"
	[ -z "${KEEP-}" ] || cp "$scratch/out" "$KEEP.$guest"
	if [ ! -s "$scratch/verdict" ]; then
		pass
	else
		cat "$scratch/out" >>"$scratch/verdict"
		LINES_OF_FILE=400 fail "lines in $guest, seed $seed: $(head -n 3 "$scratch/verdict" | tr '\n' ';')" "SEED=$seed tests/check/57-gdb-lines.sh"
	fi
}

lines demo 10 'exception|interrupt|sysenter|sysexit|iret' within_lines
lines demo 6 '^3/3 (interrupt|exception (int|mov|push|fld|fild|fxch))' over_handlers
lines tasks 6 'exception|far|iret' around_a_run
if [ -z "${RINGSIDE_QUICK-}" ]; then
	lines exc 6 ' exception ' around_a_run
	lines paging 6 'vector=14|^[123].* exception' around_a_run
	lines gates 6 'exception|far|iret' around_a_run
	lines rep 6 'exception|interrupt|outs|ins' around_a_run
	lines smc 4 'exception' around_a_run
	lines step 4 'exception' around_a_run
	lines timer 4 'exception|interrupt' around_a_run
fi
done_checks
