#!/bin/bash
# 51-gdb-debian.sh - Debian's kernel under gdb with the names it carries itself: they are what /proc/kallsyms says; a system call by name, back to the instruction
# in user code that made it; the last writer of a word of a task's kernel stack.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
if [ -n "${RINGSIDE_QUICK-}" ]; then
	echo "a boot of Debian more takes too long under sanitizers"
	exit 77
fi
need gdb
tools/guests.sh >"$scratch/fetch" 2>&1 || { cat "$scratch/fetch"; exit 77; }
kernel=build/debian/vmlinuz

# An init that prints the sum of all names, does a few system calls, and reboots.
cat >"$scratch/init" <<'END'
#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /tmp
$bb mount -t proc proc /proc
$bb mount -t tmpfs tmp /tmp
exec </dev/console >/dev/console 2>&1
echo 0 >/proc/sys/kernel/kptr_restrict
$bb grep -v '\[' /proc/kallsyms >/tmp/k
echo "names: $($bb awk '{ print $1, $3 }' /tmp/k | $bb sort | $bb md5sum)"
echo hello
$bb sleep 1
$bb reboot -f
END
perl tests/initramfs/newc.pl <<END | gzip -1n >"$scratch/initramfs.gz"
dir dev 755
node dev/console 600 5 1
node dev/null 666 1 3
dir bin 755
file bin/busybox 755 $(tools/busybox.sh "$scratch")
link bin/sh busybox
file init 755 $scratch/init
END
trace=$scratch/debian.trace
# Without nokaslr the kernel moves itself: that is what --for is about.
repeat="$RINGSIDE record -o /tmp/debian.trace --memory 128M --initrd INITRAMFS --append 'console=ttyS0 cryptomgr.notests' $kernel"
timeout 800 "$RINGSIDE" record -o "$trace" --memory 128M --initrd "$scratch/initramfs.gz" --append 'console=ttyS0 cryptomgr.notests' "$kernel" \
	>"$scratch/console" 2>"$scratch/err" </dev/null
ok "the boot" grep -aq '^names: ' "$scratch/console"
tail -n 2 "$scratch/err"

# ---- the names are right
ok "symbols of the image" "$RINGSIDE" symbols -o "$scratch/image.sym" "$kernel" >"$scratch/out"
ok "symbols where the kernel moved to" "$RINGSIDE" symbols --for "$trace" -o "$scratch/kernel.sym" "$kernel" >"$scratch/out"
want=$(tr -d '\r' <"$scratch/console" | sed -n 's/^names: \([0-9a-f]*\).*/\1/p')
got=$(readelf -sW "$scratch/kernel.sym" | awk 'NR > 4 && $8 != "" { print $2, $8 }' | LC_ALL=C sort | md5sum | cut -d' ' -f1)
ok "the names and addresses are those of /proc/kallsyms" equal "$got" "$want"
"$RINGSIDE" profile --by symbol --limit 5 --symbols "$scratch/kernel.sym" "$trace" >"$scratch/out" 2>&1
ok "profile reads the symbol file" grep -qE 'delay_tsc|native_|io_serial|text_poke|_raw_spin' "$scratch/out"

# ---- gdb
cat >"$scratch/commands.gdb" <<'END'
set pagination off
set width 0
set $back = 0
goto end
last-exec schedule
break do_sys_openat2
reverse-continue
printf "CPL %d\n", $cpl
bt 3
set $open = $icount
tbreak *entry_SYSENTER_32
tbreak *entry_INT80_32
delete 1
reverse-continue
info symbol $pc
printf "entered %d instructions before\n", $open - $icount
set $space = $cr3
reverse-stepi
printf "CPL %d, same space %d\n", $cpl, $space == $cr3
x/i $pc
stepi
printf "CPL %d\n", $cpl
goto end
break do_sys_openat2
reverse-continue
set $word = *(unsigned int *)($esp + 4)
set $where = $esp + 4
set $then = $icount
last-write *(unsigned int *)($esp + 4)
info symbol $pc
x/i $pc
printf "written %d instructions before\n", $then - $icount
stepi
printf "it is the writer: %d\n", *(unsigned int *)$where == $word
END
timeout 800 "$RINGSIDE" debug --symbols "$scratch/kernel.sym" --command "$scratch/commands.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
rc=$?
check() { # WHAT REGEX
	if grep -qE -- "$2" "$scratch/out"; then pass; else LINES_OF_FILE=60 fail "$1: \"$2\" was not said (status $rc)" "$repeat; tests/check/51-gdb-debian.sh" "$scratch/out"; fi
}
check "when a function last ran" '^#0 .* in schedule \(\)'
check "break in a system call's function" 'Breakpoint.*do_sys_openat2'
check "in the kernel" '^CPL 0$'
check "back to the entry" '^entry_(SYSENTER_32|INT80_32) in section'
check "back in user code" '^CPL 3, same space [01]'
check "the instruction that called" '=> .*(sysenter|int +\$0x80)'
check "the last writer of a stack word" 'written at icount [0-9]+ by the instruction at'
check "the writer's instruction" '=> .*(push|mov|call)'
check "the writer wrote it" 'it is the writer: 1'

# ---- back and forth across checkpoints, with breakpoint and by steps
"$RINGSIDE" trace dump --kind checkpoint "$trace" | awk 'NR % 8 == 3 { print $1 }' >"$scratch/checkpoints"
{
	printf 'set pagination off\nset width 0\n'
	while read -r event; do
		cat <<-END_OF_GDB
			echo @$event\n
			monitor goto event $event
			reverse-stepi 4
			monitor digest
			stepi 7
			reverse-stepi 7
			monitor digest
			break *\$pc
			reverse-continue
			continue
			monitor digest
			delete
		END_OF_GDB
	done <"$scratch/checkpoints"
} >"$scratch/commands.gdb"
timeout 800 "$RINGSIDE" debug --command "$scratch/commands.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
awk '/^@/ { n = 0; places++ } /^registers/ { if (!n++) first = $0; else if ($0 != first) bad++; seen++ } END { exit bad || places < 2 || seen != 3 * places }' "$scratch/out"
ok "registers and memory are the same after crossing checkpoints" equal $? 0
done_checks
