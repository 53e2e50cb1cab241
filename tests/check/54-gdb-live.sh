#!/bin/bash
# 54-gdb-live.sh - gdb on a guest while it runs: break, step, watch, interrupt; memory, registers and code changed, a function called; then the recording of all
# that replays, in both engines, and debugged backwards it shows what was changed. How sessions end: quit, detach, the guest's own end, a lost gdb.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
need gdb
demo=$BUILD/guests/demo.elf
trace=$scratch/live.trace
repeat=tests/check/54-gdb-live.sh

# live ARGS...: gdb commands on stdin, on the demo kernel while it runs; output in $scratch/out, status in $rc.
live() {
	{ printf 'set pagination off\nset confirm off\nset width 0\n'; cat; } >"$scratch/commands.gdb"
	timeout 120 "$RINGSIDE" debug --live -f -o "$trace" --symbols "$demo" --command "$scratch/commands.gdb" --batch "$@" "$demo" >"$scratch/out" 2>&1 </dev/null
	rc=$?
}

replays() { # WHAT: the trace, by both engines
	local engine
	for engine in interp translate; do
		ok "$1: replays by $engine" timeout 120 "$RINGSIDE" replay --engine $engine --serial none "$trace" >"$scratch/replayed" 2>&1
	done
	ok "$1: the trace is sound" "$RINGSIDE" trace check "$trace" >"$scratch/replayed" 2>&1
}

# ---- a session with everything, for each engine that may record
for engine in interp translate; do
	live --engine $engine <<'END_OF_GDB'
set var *(int *)0x1ff0000 = 7
break kernel_main
continue
bt
stepi 5
next
printf "first at %d\n", $icount
monitor digest
watch timer_ticks
continue
continue
set var timer_ticks = 1000
printf "second at %d\n", $icount
monitor digest
continue
delete
tbreak sched_tick
continue
set $old = $eax
set $eax = 0x12345678
set $xmm3.v4_int32[1] = 77
print/x $eax
print $xmm3.v4_int32[1]
set $eax = $old
# an instruction of the kernel becomes a jump to itself, until somebody interrupts
set $code = *(unsigned short *)$pc
set $here = $pc
set var *(unsigned short *)$pc = 0xfeeb
shell (sleep 0.5; kill -INT $PPID) &
continue
printf "still there: %d\n", $pc == $here
set var *(unsigned short *)$pc = $code
stepi
printf "went on: %d\n", $pc != $here
printf "third at %d\n", $icount
monitor digest
tbreak sched_exit
continue
printf "exits with %d\n", code
set var code = 99
monitor where
monitor last-write 100000
monitor help
x/i $pc
set $eip = $eip
set $cs = 5
END_OF_GDB
	said "a session ($engine)" 'Breakpoint 1, kernel_main' '^#0 +kernel_main' 'first at' 'Old value = 0' 'New value = 2' 'second at' 'Old value = 1000' 'New value = 1001' \
		'\$[0-9]+ = 0x12345678' '\$[0-9]+ = 77' 'Program received signal SIGINT' 'still there: 1' 'went on: 1' 'third at' 'exits with 142' 'Could not write register "cs"'
	said "what a running guest can be asked ($engine)" '^icount [0-9]+, virtual time' 'a running guest has no past' 'monitor pagewalk'
	ok "the guest's console is shown" grep -q '^demo: a small kernel' "$scratch/out"
	cp "$scratch/out" "$scratch/live.out"
	replays "the session ($engine)"
	ok "changes are events" [ "$("$RINGSIDE" trace dump --kind change "$trace" | grep -c change)" -ge 7 ]

	# ---- the same moments in the recording
	at() { sed -n "s/^$1 at //p" "$scratch/live.out"; }
	{
		printf 'set pagination off\nset width 0\n'
		for moment in third first second; do printf 'echo %s\\n\nmonitor goto %s\nmonitor digest\n' $moment "$(at $moment)"; done
		echo "monitor goto $(at second)"
		cat <<'END_OF_GDB'
last-write timer_ticks
printf "not yet %d\n", timer_ticks
watch timer_ticks
continue
reverse-continue
printf "not yet either %d\n", timer_ticks
delete
goto end
monitor last-write 1ff0000
goto end
watch timer_ticks
reverse-continue
printf "more than a thousand: %d\n", timer_ticks > 1000
delete
break kernel_main
reverse-continue
set var timer_ticks = 5
END_OF_GDB
	} >"$scratch/commands.gdb"
	timeout 120 "$RINGSIDE" debug --symbols "$demo" --command "$scratch/commands.gdb" --batch "$trace" >"$scratch/out" 2>&1 </dev/null
	digests() { grep -o '^registers [0-9a-f]* memory [0-9a-f]*' "$1" | sort; }
	ok "registers and memory are the same in the recording ($engine)" equal "$(digests "$scratch/live.out")" "$(digests "$scratch/out")"
	said "what the debugger wrote has a writer ($engine)" "written by the debugger at icount $(at second), while" 'before, it held 0x00000001' 'not yet 1' \
		"written by the debugger at icount $(at second)" 'Old value = 1' 'New value = 1000' "written by the debugger at icount $(at second)" 'not yet either 1' \
		'written by the debugger before the first instruction'
	said "backwards through changes ($engine)" 'Old value = 10' 'more than a thousand: 1' 'Breakpoint 3, kernel_main' 'cannot be changed|Cannot access memory'
done

# ---- other machines
for options in '--model 0/3/3' '--engine translate --trap fault' '--sensitive leak --engine translate' '--clock host'; do
	# shellcheck disable=SC2086 # they are words
	live $options <<'END_OF_GDB'
break sched_tick
continue
set var timer_ticks = 500
set $edx = 7
watch timer_ticks
continue
delete
stepi 20
detach
END_OF_GDB
	said "with $options" 'New value = 501' '^ringside: power off'
	replays "with $options"
done

# ---- how sessions end
live <<'END_OF_GDB'
tbreak sched_tick
continue
detach
END_OF_GDB
ok "detached: the guest runs on to its end" grep -q '^ringside: power off' "$scratch/out"
ok "and its status is ours" equal "$rc" "$(timeout 60 "$RINGSIDE" run --serial none "$demo" >"$scratch/run" 2>&1 </dev/null; echo $?)"
replays "detached"
ok "nothing was changed: the recording is that of an undisturbed guest" equal "$("$RINGSIDE" trace info --format json "$trace" | jq -r .digest)" \
	"$("$RINGSIDE" record -f -o "$scratch/plain.trace" --serial none "$demo" >"$scratch/run" 2>&1 </dev/null; "$RINGSIDE" trace info --format json "$scratch/plain.trace" | jq -r .digest)"
live <<'END_OF_GDB'
continue
print timer_ticks > 5
print $_siginfo
END_OF_GDB
said "the guest's end" 'the guest has ended: power off' '\$1 = 1'
replays "ended"
live <<'END_OF_GDB'
continue
set var timer_ticks = 5
END_OF_GDB
said "nothing is changed after the end" 'the guest has ended, it cannot be changed|Cannot access memory'
live <<'END_OF_GDB'
continue
continue
print 5
END_OF_GDB
said "going on after the end" 'the guest has ended' 'exited normally'
live --serial none <<'END_OF_GDB'
stepi 3
kill
END_OF_GDB
ok "killed at once" equal "$rc" 0
replays "killed"

# ---- without gdb: a client that is lost, the next one, one that detaches
cat >"$scratch/client.pl" <<'END_OF_PERL'
use strict;
use warnings;
use IO::Socket::UNIX;
my ($path, $last) = @ARGV;
alarm 60;
my $s = IO::Socket::UNIX->new(Peer => $path) or die "connect: $!\n";
sub ask {
	my ($body) = @_;
	my ($sum, $got) = (0, "");
	$sum += ord for split //, $body;
	syswrite $s, sprintf '$%s#%02x', $body, $sum & 255;
	while (1) {
		return $1 if $got =~ /\$([^#O][^#]*|OK|)#../;
		sysread($s, $got, 4096, length $got) or die "gone\n";
	}
}
my @want = (["qSupported", qr/PacketSize/], ["bs", qr/^$/], ["M100000,1:00", qr/^OK$/], ["X100000,2:}]}\x03", qr/^OK$/], ["m100000,2", qr/^7d23$/],
	["P0=01020304", qr/^OK$/], ["p0", qr/^01020304$/], ["G", qr/./], ["Pffff=00", qr/^E/], ["M100000,ffffffffffff:00", qr/^E/], ["Ma0000,1:00", qr/^E/], ["s100000000", qr/^E/],
	["s", qr/^T05/], ["vCont;s", qr/^T05/]);
for (@want) { my $got = ask($_->[0]); print("$_->[0]: '$got'\n"), exit 1 if $got !~ $_->[1] }
ask("D") if $last;
END_OF_PERL
"$RINGSIDE" debug --live -f -o "$trace" --no-gdb --socket "$scratch/gdb.sock" --serial none "$demo" >"$scratch/server" 2>&1 </dev/null &
server=$!
for _ in $(seq 200); do grep -q 'target remote' "$scratch/server" && break; sleep 0.05; done
ok "a client that is lost" perl "$scratch/client.pl" "$scratch/gdb.sock" 0
ok "the next one, which detaches" perl "$scratch/client.pl" "$scratch/gdb.sock" 1
wait $server
replays "a session without gdb"

# ---- a guest that waits for nothing but a key hears an interrupt at once, and what is changed while it waits replays
cat >"$scratch/waits.pl" <<'END_OF_PERL'
use strict;
use warnings;
use IO::Socket::UNIX;
use Time::HiRes qw(time sleep);
alarm 60;
my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!\n";
sub ask {
	my ($raw) = @_;
	my $got = "";
	syswrite $s, $raw;
	while (1) {
		return $1 if $got =~ /\$([^#O][^#]*|OK|)#../;
		sysread($s, $got, 4096, length $got) or die "gone\n";
	}
}
sub packet {
	my ($body) = @_;
	my $sum = 0;
	$sum += ord for split //, $body;
	return sprintf '$%s#%02x', $body, $sum & 255;
}
sub hear {
	syswrite $s, packet("c");
	sleep 0.3;
	my $begin = time;
	my $got = ask("\x03");
	die "not an interrupt: $got\n" if $got !~ /^T02/;
	die sprintf("heard after %.1f s\n", time - $begin) if time - $begin > 2;
}
# IER: input interrupts; MCR; the 8259 with IRQ 4 alone; sti; hlt; jmp to the hlt
my $code = "66baf903b001ee" . "66bafc03b00bee" . "b011e620b020e621b004e621b001e621b0efe621" . "fbf4ebfd";
ask(packet(sprintf "M200000,%x:%s", length($code) / 2, $code)) eq "OK" or die "code\n";
ask(packet("P8=00002000")) eq "OK" or die "eip\n";
hear();
ask(packet("P0=01020304")) eq "OK" or die "eax\n";
ask(packet("M300000,1:55")) eq "OK" or die "memory\n";
hear();
ask(packet("D"));
END_OF_PERL
mkfifo "$scratch/keys"
exec 9<>"$scratch/keys"
for clock in icount host; do
	: >"$scratch/server"
	"$RINGSIDE" debug --live -f -o "$trace" --no-gdb --socket "$scratch/gdb.sock" --serial stdio --clock $clock "$demo" >"$scratch/server" 2>&1 <&9 &
	server=$!
	for _ in $(seq 200); do grep -q 'target remote' "$scratch/server" && break; sleep 0.05; done
	ok "waiting for a key with --clock $clock" perl "$scratch/waits.pl" "$scratch/gdb.sock"
	printf x >&9
	wait $server
	replays "waiting for a key with --clock $clock"
done
exec 9>&-

# ---- what does not go together
"$RINGSIDE" debug --memory 64M "$trace" >"$scratch/out" 2>&1 </dev/null
ok "a machine's options with a recording" equal $? 2
"$RINGSIDE" debug --live -o "$trace" "$demo" >"$scratch/out" 2>&1 </dev/null
ok "a trace that exists" equal $? 2
"$RINGSIDE" debug --live >"$scratch/out" 2>&1 </dev/null
ok "no guest" equal $? 2
done_checks
