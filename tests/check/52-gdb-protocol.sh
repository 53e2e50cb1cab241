#!/bin/bash
# 52-gdb-protocol.sh - the debugger's socket without gdb: a second client, dropped connections, nonsense, an interrupt, what may listen where.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
trace=$scratch/demo.trace
socket=$scratch/gdb.sock
"$RINGSIDE" record -o "$trace" --serial none "$BUILD/guests/demo.elf" >"$scratch/err" 2>&1 </dev/null

# expect STATUS TEXT ARGS...: ringside debug ARGS.
expect() {
	local want=$1 text=$2 rc
	shift 2
	timeout 60 "$RINGSIDE" debug "$@" >"$scratch/said" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq "$want" ] && grep -qF -- "$text" "$scratch/said"; then pass; else fail "status $rc, wanted $want and \"$text\"" "$RINGSIDE debug $*" "$scratch/said"; fi
}
expect 0 "reverse-stepi" -h
expect 0 "hookpost-monitor" --print-commands
expect 2 "missing"
expect 2 "one of them" --socket x --port 1 "$trace"
expect 2 "--port 99999" --port 99999 "$trace"
expect 2 "--listen" --listen 0.0.0.0 "$trace"
expect 2 "--no-gdb" --no-gdb --batch "$trace"
expect 3 "absent" --symbols "$scratch/absent" "$trace"
expect 3 "absent" --command "$scratch/absent" "$trace"
expect 3 "absent" "$scratch/absent"
expect 5 "numeric" --no-gdb --port 0 --listen localhost "$trace"
expect 5 "No such file" --no-gdb --socket "$scratch/absent/x" "$trace"
expect 5 "a socket's path" --no-gdb --socket "/$(printf 'x%.0s' {1..200})" "$trace"
echo text >"$scratch/file"
expect 5 "in use" --no-gdb --socket "$scratch/file" "$trace"
ok "an existing file is not touched" equal "$(cat "$scratch/file")" text

serve() { # ARGS...: starts a server and waits until it listens.
	rm -f "$scratch/server"
	"$RINGSIDE" debug --no-gdb "$@" "$trace" >"$scratch/server" 2>"$scratch/server.err" </dev/null &
	server=$!
	for _ in $(seq 200); do
		grep -qs 'target remote' "$scratch/server" && return
		sleep 0.05
	done
	fail "the server does not start" "$RINGSIDE debug --no-gdb $*" "$scratch/server.err"
}

serve --socket "$socket"
ok "nobody else may use the socket" equal "$(stat -c %a "$socket")" 700
cat >"$scratch/client.pl" <<'END'
use strict;
use warnings;
use IO::Socket::UNIX;
my ($path, $address) = @ARGV;
my $failed = 0;
$SIG{ALRM} = sub { print "timeout\n"; exit 1 };
alarm 100;
my %kept; # of a connection, what came behind the last packet
sub dial { my $s = IO::Socket::UNIX->new(Peer => $path) or die "connect: $!\n"; $s->autoflush(1); $kept{$s} = ""; return $s }
sub frame { my $sum = 0; $sum += ord for split //, $_[0]; return sprintf '$%s#%02x', $_[0], $sum & 255 }
# The next packet's body.
sub packet {
	my ($s) = @_;
	while (1) {
		return $1 if $kept{$s} =~ s/^[^\$]*\$([^#]*)#[0-9a-f]{2}//;
		sysread($s, $kept{$s}, 65536, length $kept{$s}) or return "gone";
	}
}
sub ask { my ($s, $body) = @_; print $s frame($body); return packet($s) }
sub is { my ($what, $got, $want) = @_; return if $got =~ $want; print "$what: got '$got'\n"; $failed++ }

my $s = dial();
is("supported", ask($s, "qSupported:swbreak+"), qr/ReverseStep\+/);
is("stop", ask($s, "?"), qr/^T05.*thread:1;/);
my $second = dial();
is("a second client", packet($second), qr/^E\.another debugger/);
is("and then", sysread($second, my $rest, 100) ? "more" : "closed", qr/closed/);
is("the first goes on", ask($s, "qC"), qr/^QC1$/);
print $s "\x00\xff\$\$\$##\$zz#00+-\x03garbage" x 50;
print $s frame("m" x 100000);
is("garbage and an oversized packet", ask($s, "qC"), qr/./);
close $s; # with answers unread
for my $i (1 .. 20) { # dropped in the middle of anything
	my $t = dial();
	print $t substr(frame("qSupported") . frame("c"), 0, 3 * $i);
	close $t;
}
$s = dial();
is("a new client", ask($s, "qSupported"), qr/PacketSize/);
is("without breakpoints of the old: back to the begin", ask($s, "bc"), qr/replaylog:begin/);
is("a breakpoint", ask($s, "Z0,$address,1"), qr/^OK$/);
is("runs to it", ask($s, "vCont;c"), qr/swbreak/);
is("detaches", ask($s, "D"), qr/^OK$/);
is("and is disconnected", sysread($s, $rest, 100) ? "more" : "closed", qr/closed/);
$s = dial();
print $s frame("QStartNoAckMode");
is("no acknowledgements", packet($s), qr/^OK$/);
is("the place is kept, the breakpoint is not", ask($s, "vCont;c"), qr/replaylog:end|swbreak/);
for (1 .. 200) { print $s frame("bs") } # faster than answered
is("many steps back", packet($s), qr/^T05/) for 1 .. 200;
print $s frame("bc"), "\x03";
is("an interrupt", packet($s), qr/^T0[25]/);
print $s frame("k");
is("killed", sysread($s, $rest, 100) ? "more" : "closed", qr/closed/);
exit($failed ? 1 : 0);
END
address=$(nm "$BUILD/guests/demo.elf" | sed -n 's/^0*\([0-9a-f]*\) T kernel_main$/\1/p')
perl "$scratch/client.pl" "$socket" "$address" >"$scratch/out" 2>&1
rc=$?
[ $rc -eq 0 ] && pass || fail "protocol over a socket, status $rc" "tests/check/52-gdb-protocol.sh" "$scratch/out"
wait $server
ok "a client's kill ends the server" equal $? 0
ok "its socket is gone" [ ! -e "$socket" ]

serve --port 0
ok "TCP is on the loopback address" grep -q 'target remote 127.0.0.1:[0-9]*$' "$scratch/server"
kill -INT $server
wait $server
ok "an interrupt ends the server" equal $? 0
serve --socket "$socket"
kill -KILL $server
wait $server 2>/dev/null
serve --socket "$socket"
kill -TERM $server
wait $server
ok "a leftover socket is replaced" equal $? 0
done_checks
