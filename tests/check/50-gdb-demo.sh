#!/bin/bash
# 50-gdb-demo.sh - gdb itself on the demo kernel's trace: forward and backward by instructions, lines, functions; breakpoints and watchpoints both ways; begin and
# end of history; interrupts, exceptions, ring changes; monitor commands. And on every guest: n steps and n reverse steps are the identity.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
need gdb
demo=$BUILD/guests/demo.elf
trace=$scratch/demo.trace
repeat="$RINGSIDE record -o d.trace $demo; $RINGSIDE debug --symbols $demo d.trace"
"$RINGSIDE" record -o "$trace" --serial none "$demo" >"$scratch/err" 2>&1 </dev/null || { fail "recording the demo" "$RINGSIDE record $demo" "$scratch/err"; done_checks; exit 1; }

# debug TRACE ELF: runs the gdb commands on stdin; output in $scratch/out.
debug() {
	{ printf 'set pagination off\nset confirm off\nset width 0\n'; cat; } >"$scratch/commands.gdb"
	timeout 300 "$RINGSIDE" debug --symbols "$2" --command "$scratch/commands.gdb" --batch "$1" >"$scratch/out" 2>&1 </dev/null
}

# ---- forward, lines, backtrace, registers
debug "$trace" "$demo" <<'END'
break kernel_main
continue
info registers
info registers system
x/2i $pc
next
next
step
bt
finish
END
said "forward" 'Breakpoint 1, kernel_main' '^eip +0x[0-9a-f]+ .*<kernel_main' '^cs +0x10' '^icount ' '^real_cpl +0x1 ' '^gdtr_base ' \
	'=> 0x[0-9a-f]+ <kernel_main>:' 'serial_init\(\);' 'pic_init\(\);' '^pic_init' '^#0 +pic_init' '^#1 .*kernel_main' '^#2 .*_start' 'paging_init\(\);'

# ---- backward in all forms
debug "$trace" "$demo" <<'END'
break kernel_main
continue
set $first = $icount
next
next
reverse-next
reverse-step
info symbol $pc
reverse-finish
reverse-continue
printf "first again: %d\n", $first == $icount
stepi 5
reverse-stepi 5
printf "identity: %d\n", $first == $icount
reverse-continue
printf "begin: %d\n", $icount
reverse-stepi
stepi
printf "one: %d\n", $icount
END
said "backward" 'pic_init\(\);' 'serial_init\(\);' 'desc_init .*in section' 'desc_init\(\);' 'Breakpoint 1, kernel_main' 'first again: 1' 'identity: 1' 'No more reverse-execution history' \
	'begin: 0' 'No more reverse-execution history' 'one: 1'

# ---- the end of history
debug "$trace" "$demo" <<'END'
continue
set $end = $icount
continue
reverse-stepi
printf "back: %d\n", $end - $icount
stepi
printf "end again: %d\n", $end == $icount
END
said "end" 'No more reverse-execution history' 'No more reverse-execution history' 'back: [01]$' 'end again: 1'

# ---- watchpoints and breakpoints, both ways
debug "$trace" "$demo" <<'END'
watch timer_ticks
continue
continue
continue
set $third = $icount
reverse-continue
printf "before the third write: %d\n", timer_ticks
reverse-continue
printf "before the second: %d\n", timer_ticks
continue
continue
printf "third again: %d\n", $icount == $third
delete
break sched_tick
continue
set $a = $icount
continue
set $b = $icount
reverse-continue
printf "a again: %d\n", $icount == $a
continue
printf "b again: %d\n", $icount == $b
delete
hbreak sched_exit
continue
delete
rwatch sched_switches
continue
delete
awatch sched_switches
reverse-continue
bt 1
END
said "watchpoints" 'Old value = 0' 'New value = 1' 'New value = 2' 'New value = 3' 'Old value = 3' 'New value = 2' 'before the third write: 2' \
	'before the second: 1' 'third again: 1' 'Breakpoint.*sched_tick' 'a again: 1' 'b again: 1' 'Breakpoint.*sched_exit' 'read watchpoint' 'access .read/write. watchpoint' 'reschedule|sched'

# ---- the last writer, as a question
debug "$trace" "$demo" <<'END'
goto end
last-write timer_ticks
became timer_ticks 5
printf "ticks: %d\n", timer_ticks
stepi
printf "ticks then: %d\n", timer_ticks
first-value timer_ticks 7
printf "seven: %d\n", timer_ticks
goto end
last-exec sched_exit
when
END
said "questions" 'written at icount .* by the instruction at' 'timer_ticks\+\+' 'ticks: 4' 'ticks then: 5' 'first held after icount' 'seven: 7' 'sched_exit'

# ---- ring changes, page faults, interrupts
interrupt=$("$RINGSIDE" trace dump --kind interrupt "$trace" | awk '{ print $1; exit }')
debug "$trace" "$demo" <<END
break syscall
continue
printf "in the kernel: %d %d\n", \$cpl, \$real_cpl
while \$cpl == 0
  reverse-stepi
end
printf "in user code: %d %d\n", \$cpl, \$real_cpl
x/i \$pc
stepi
printf "in the kernel again: %d\n", \$cpl
delete
break paging_demand
continue
delete
while \$cpl == 0
  reverse-stepi
end
set \$fault = \$icount
stepi
printf "the fault retired %d\n", \$icount - \$fault
info symbol \$pc
reverse-stepi
printf "before the fault: %d %d\n", \$icount - \$fault, \$cpl
goto event $interrupt
info symbol \$pc
set \$there = \$icount
reverse-stepi
printf "before the interrupt: %d\n", \$there - \$icount
info symbol \$pc
stepi
printf "there again: %d\n", \$there - \$icount
info symbol \$pc
monitor why-interrupt
END
said "rings" 'in the kernel: 0 1' 'in user code: 3 3' '=>.*(int +\$0x80|sysenter)' 'in the kernel again: 0' 'Breakpoint.*paging_demand' 'the fault retired 0' 'stub_14' \
	'before the fault: 0 3' 'stub_(32|36)' 'before the interrupt: [01]$' 'there again: 0' 'stub_(32|36)' 'is IRQ [04]'

# ---- monitor commands
debug "$trace" "$demo" <<'END'
monitor help
monitor help goto
goto 1000
monitor where
monitor bookmark here
goto console-line 3
goto bookmark here
printf "at %d\n", $icount
monitor bookmarks
monitor delete here
monitor goto bookmark here
goto 100000
monitor events 4
monitor pagewalk 100000
monitor gdt
monitor idt
monitor ldt
monitor pic
monitor xp 100000 16
monitor space this
monitor space any
monitor digest
monitor last-write 100000 4 phys
monitor goto nowhere
monitor goto 99999999999
monitor nonsense
monitor last-write
monitor last-write zzz
END
said "monitor" 'monitor why-interrupt' '^monitor goto ICOUNT' 'icount 1000 of' 'bookmark here at icount 1000' 'at 1000' '1000  here' 'there is none of that name' '=>' \
	'linear 00100000 is physical 00100000' '32-bit code' 'IDT at' 'no LDT' 'controller 1: vectors 0x20' '^00100000:' 'while CR3 is' 'any address space' '^registers [0-9a-f]{16}' \
	'is now mapped at' 'icount .nowhere.' 'must be a number' 'no command is called' 'usage: monitor last-write' 'must be hexadecimal'

# ---- an address space for one breakpoint
debug "$trace" "$demo" <<'END'
goto end
tbreak *sched_tick
reverse-continue
set $space = $cr3
goto begin
tbreak *sched_tick
continue
printf "the first tick is in that space: %d\n", $cr3 == $space
break *sched_tick
eval "monitor space %x %x", $space, (unsigned)&sched_tick
continue
printf "this one is: %d\n", $cr3 == $space
set $there = $icount
reverse-continue
eval "monitor goto %d", $there
monitor space any
reverse-continue
printf "and without it: %d\n", $cr3 == $space
monitor space this zz
END
said "an address space for one breakpoint" 'first tick is in that space: 0' 'count in any address space' 'those at [0-9a-f]{8} while CR3 is' 'Breakpoint 3, sched_tick' \
	'this one is: 1' 'No more reverse-execution history' 'count in any address space' 'and without it: 0' "address 'zz': must be hex"

# ---- a recording cannot be changed, and says so
debug "$trace" "$demo" <<'END'
set var timer_ticks = 3
END
said "memory writes are refused" 'cannot be changed|Cannot access memory'
debug "$trace" "$demo" <<'END'
set $eax = 3
END
said "register writes are refused" 'cannot be changed'
debug "$trace" "$demo" <<'END'
x/x 0xdead0000
END
said "unmapped memory" 'Cannot access memory at address 0xdead0000'

# ---- the statuses
echo 'no-such-command' >"$scratch/bad.gdb"
TMPDIR=$scratch timeout 60 "$RINGSIDE" debug --symbols "$demo" --command "$scratch/bad.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
ok "a script that fails: status 1" equal $? 1
TMPDIR=$scratch timeout 60 "$RINGSIDE" debug --gdb /nonexistent/gdb "$trace" >"$scratch/out" 2>&1 </dev/null
ok "no such gdb: status 5" equal $? 5
left=$(find "$scratch" -mindepth 1 -maxdepth 1 -name 'ringside-*' | wc -l)
ok "nothing is left behind" equal "$left" 0

# ---- n steps and n steps back, anywhere, in every guest
identity() { # ELF TRACE
	local end i n at
	end=$("$RINGSIDE" trace info --format json "$2" | jq .icount)
	for i in 1 2 3 4 5 6; do
		at=$(awk -v s="$seed" -v i=$i -v e="$end" 'BEGIN { srand(s * 7 + i); print int(rand() * e) }')
		n=$((i * 3))
		printf 'monitor goto %s\nmonitor digest\nstepi %d\nreverse-stepi %d\nmonitor digest\necho --\\n\n' "$at" $n $n
		# what is reached by going, and what is reached by going back, are the same
		printf 'monitor goto %s\nreverse-stepi %d\nmonitor digest\nstepi %d\nreverse-stepi %d\nmonitor digest\necho --\\n\n' "$at" $n $n $n
	done | debug "$2" "$1"
	awk '/^registers/ { a[++n] = $0 } /^--/ { if (n != 2 || a[1] != a[2]) bad++; n = 0; seen++ } END { exit bad || seen != 12 }' "$scratch/out"
}
choose_seed
guests="demo exc paging tasks"
[ -n "${RINGSIDE_QUICK-}" ] || guests=$(cd tests/guests && ls -d */ | tr -d / | grep -vxE 'lib|broken|hostile-.*')
for name in $guests; do
	"$RINGSIDE" record -f -o "$scratch/$name.trace" --serial none "$BUILD/guests/$name.elf" >"$scratch/err" 2>&1 </dev/null
	if identity "$BUILD/guests/$name.elf" "$scratch/$name.trace"; then
		pass
	else
		LINES_OF_FILE=30 fail "steps forward and back in $name, seed $seed" "SEED=$seed tests/check/50-gdb-demo.sh" "$scratch/out"
	fi
	rm -f "$scratch/$name.trace"
done
done_checks
