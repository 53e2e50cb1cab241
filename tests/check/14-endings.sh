#!/bin/bash
# The ways a run ends, each with guests of a few bytes: status, the word for it, and a trace that replays.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
tmp=$scratch

le32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24 & 255)))"; }

# guest NAME CODE: a flat Multiboot kernel at 1 MiB whose entry runs CODE (printf escapes).
guest() {
	{
		le32 0x1badb002; le32 0x10000; le32 $((-(0x1badb002 + 0x10000)))
		le32 0x100000; le32 0x100000; le32 0; le32 0; le32 0x100020
		printf "$2"
		head -c 2048 /dev/zero
	} >"$tmp/$1"
}

# ends NAME STATUS TEXT: recording it ends so, and the replay ends the same.
ends() {
	"$RINGSIDE" record -f -o "$tmp/t" --serial none "$tmp/$1" </dev/null 2>"$tmp/err"
	ok "$1: status" equal $? "$2"
	ok "$1: says so" grep -q "$3" "$tmp/err"
	"$RINGSIDE" replay "$tmp/t" >"$tmp/out" 2>&1
	ok "$1: replays" equal $? 0
	ok "$1: the replay says so" grep -q "$3" "$tmp/out"
}

guest exit-7 '\xb0\x03\xe6\xf4'                   # mov al, 3; out 0xf4, al: exit code 3 << 1 | 1
guest exit-1 '\xb0\x00\xe6\xf4'
guest idle '\xfa\xf4\xeb\xfd'                     # cli; hlt; jmp $-1
guest triple '\x0f\x0b'                           # ud2 without an interrupt table
guest reset '\xba\xf9\x0c\x00\x00\xb0\x06\xee'    # mov edx, 0xcf9; mov al, 6; out dx, al
guest spin '\xeb\xfe'                             # jmp $
guest busy '\xe4\x61\xeb\xfc'                     # in al, 0x61; jmp $-2

ends exit-7 7 "debug exit"
ends exit-1 1 "debug exit"
ends idle 1 idle
ends triple 1 "triple fault"
ends reset 0 reset

# A person ends it. The recording is whole, its replay ends at the same instruction.
for signal in INT TERM; do
	for g in spin busy; do
		"$RINGSIDE" record -f -o "$tmp/t" --serial none "$tmp/$g" </dev/null 2>"$tmp/err" &
		sleep 0.4
		kill -$signal $!
		wait $!
		ok "$g SIG$signal: status" equal $? 130
		ok "$g SIG$signal: says so" grep -q "the user ended the run" "$tmp/err"
		ok "$g SIG$signal: the trace is complete" equal "$("$RINGSIDE" trace info --format json "$tmp/t" | jq .complete)" true
		ok "$g SIG$signal: replays" "$RINGSIDE" replay "$tmp/t" >"$tmp/out"
	done
done

# The same from a terminal's keyboard: Ctrl-A x; Ctrl-C is the guest's.
if command -v script >/dev/null; then
	{ sleep 0.3; printf '\003'; sleep 0.2; printf '\001x'; sleep 0.2; } | script -qec "$RINGSIDE run $tmp/spin" /dev/null >"$tmp/out" 2>&1
	ok "Ctrl-A x: status" equal $? 130
	ok "Ctrl-A x: says so" grep -q "the user ended the run" "$tmp/out"
fi

# Killed without warning: what was committed replays, and both commands say that the rest is missing.
"$RINGSIDE" record -f -o "$tmp/t" --serial none "$tmp/busy" </dev/null 2>/dev/null &
sleep 0.7
kill -KILL $!
wait $! 2>/dev/null
ok "killed: the trace is not complete" equal "$("$RINGSIDE" trace info --format json "$tmp/t" | jq .complete)" false
ok "killed: check" "$RINGSIDE" trace check "$tmp/t" >/dev/null
"$RINGSIDE" replay "$tmp/t" >"$tmp/out" 2>&1
ok "killed: replays" equal $? 0
ok "killed: the replay says so" grep -q "recorder was stopped" "$tmp/out"

# No room: a clear error, status 5, and a prefix that replays.
(ulimit -f 400; trap '' XFSZ; exec "$RINGSIDE" record -f -o "$tmp/t" --serial none "$tmp/busy" </dev/null) 2>"$tmp/err"
ok "no room: status" equal $? 5
ok "no room: names the trace or the reason" grep -qE "$tmp/t|File too large|too large" "$tmp/err"

done_checks
