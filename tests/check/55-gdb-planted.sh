#!/bin/bash
# 55-gdb-planted.sh - a bug in Debian's kernel, found backwards from its symptom.
#
# What is planted: no kernel is built here, so the bug is put into the running one by `ringside debug --live`, before anybody has used what it breaks. In
# sethostname(2) the kernel clears what is left of the 65 bytes of the host's name; the constant becomes 66, one too many. The byte behind it is the first of the
# kernel's release. Nothing happens then; later, in another process, `uname -r` prints an empty line. Between them others set the host's name too, which changes
# nothing any more: the innocent last writers of that byte.
#
# The search (find.gdb) is told the symptom alone: the line of the console that says "release: " and no more. It knows no address, no process, no time, and neither
# sethostname nor what was planted; it answers with function, instruction, process and moment.
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

cat >"$scratch/init" <<'END_OF_INIT'
#!/bin/busybox sh
bb=/bin/busybox
exec </dev/console >/dev/console 2>&1
echo "release at first: $($bb uname -r)"
for name in a b c; do $bb true; done
/opt/night-shift/hostname first
for name in d e f; do $bb true; done
/opt/day-shift/hostname second
/opt/late-shift/hostname third
$bb true
echo "release: $($bb uname -r)"
$bb sync
$bb reboot -f
END_OF_INIT
{
	cat <<-END_OF_LIST
		dir dev 755
		node dev/console 600 5 1
		node dev/null 666 1 3
		dir bin 755
		file bin/busybox 755 $(tools/busybox.sh "$scratch")
		link bin/sh busybox
		dir opt 755
		file init 755 $scratch/init
	END_OF_LIST
	for shift in night day late; do printf 'dir opt/%s-shift 755\nlink opt/%s-shift/hostname /bin/busybox\n' $shift $shift; done
} | perl tests/initramfs/newc.pl | gzip -1n >"$scratch/initramfs.gz"
"$RINGSIDE" symbols -o "$scratch/kernel.sym" "$kernel" >"$scratch/out"

# ---- plant it and record
cat >"$scratch/plant.gdb" <<'END_OF_GDB'
set pagination off
set width 0
tbreak __ia32_sys_sethostname
continue
# mov $0x41,%eax: what is subtracted from it is the name's length
find $pc, +512, (unsigned char)0xb8, (int)0x41
set $bug = $_
set var *(unsigned char *)($bug + 1) = 0x42
x/2i $bug
detach
END_OF_GDB
trace=$scratch/planted.trace
machine=(--memory 128M --initrd "$scratch/initramfs.gz" --append 'console=ttyS0 nokaslr quiet cryptomgr.notests')
timeout 300 "$RINGSIDE" debug --live -o "$trace" --symbols "$scratch/kernel.sym" --command "$scratch/plant.gdb" --batch --engine translate "${machine[@]}" "$kernel" \
	>"$scratch/console" 2>&1 </dev/null
if ! grep -q '0x42,%eax' "$scratch/console"; then
	echo "this kernel's sethostname has no place for the bug"
	exit 77
fi
tr -d '\r' <"$scratch/console" >"$scratch/lines"
ok "at first all was well" grep -qx 'release at first: [0-9].*' "$scratch/lines"
ok "the symptom" grep -qx 'release: ' "$scratch/lines"
ok "the recording replays" timeout 120 "$RINGSIDE" replay --engine translate --serial file:"$scratch/replayed" "$trace" >"$scratch/out" 2>&1

# ---- from the symptom alone
tr -d '\r' <"$scratch/replayed" >"$scratch/lines"
line=$(grep -nx 'release: ' "$scratch/lines" | cut -d: -f1)
cat >"$scratch/find.gdb" <<END_OF_GDB
set pagination off
set width 0
goto console-line $line
# whoever asked for the release last got the empty one: what the kernel gives out is a copy
break __do_sys_newuname
reverse-continue
delete
tbreak _copy_to_user
continue
set \$copy = (char *)(\$edx + 2 * 65)
printf "given out: '%s'\n", \$copy
# of what? Of what the instruction that wrote it had as its source
last-write *\$copy
x/i \$pc
set \$byte = (char *)(\$esi + ((unsigned int)\$copy - \$edi))
printf "a copy of '%s'\n", \$byte
END_OF_GDB
cat >>"$scratch/find.gdb" <<'END_OF_GDB'
# which once was more than that
became *$byte 0
printf "it was still '%s'\n", $byte
printf "the culprit: "
info symbol $pc
x/i $pc
# who is it? Back to where the process called the kernel; what its stack ends with is what it was started as
while $cpl == 0
  reverse-stepi
end
printf "in the process\n"
x/i $pc
x/30000s $esp
END_OF_GDB
timeout 300 "$RINGSIDE" debug --symbols "$scratch/kernel.sym" --command "$scratch/find.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
check() { # WHAT REGEX
	if grep -aqE -- "$2" "$scratch/out"; then pass; else LINES_OF_FILE=60 fail "$1: \"$2\" was not said" "tests/check/55-gdb-planted.sh" "$scratch/out"; fi
}
check "what was given out" "^given out: ''"
check "the copy" '=> .*movs'
check "the original" "^a copy of ''"
check "before" "^it was still '[0-9]+\.[0-9]+"
check "the function" '^the culprit: __ia32_sys_sethostname \+ [0-9]+ in section'
check "the instruction" '=> .*(rep stos|movb?|movl) '
check "back in user code" '=> .*(int +\$0x80|sysenter)'
culprit=$(grep -aoE '"/opt/[a-z]*-shift/hostname"' "$scratch/out" | tail -n 1)
ok "the process is the first that set the name, not the last" equal "$culprit" '"/opt/night-shift/hostname"'
done_checks
