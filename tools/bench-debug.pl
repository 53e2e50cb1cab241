# bench-debug.pl SOCKET END WORD BACK_MIN - what the debugger's motions cost, measured at its socket: gdb's own time is not in it.
#
# Prints lines "name seconds": seek (random icounts), step (reverse-stepi at random places, after the first at each), watch (reverse-continue from the end to the
# last writer of a kernel string that contains WORD) and the distance of that in instructions, which must be BACK_MIN at least.
use strict;
use warnings;
use IO::Socket::UNIX;
use Time::HiRes 'time';

my ($path, $end, $word, $back_min) = @ARGV;
my $socket = IO::Socket::UNIX->new(Peer => $path) or die "connect: $!\n";
my $kept = "";
srand(4);

sub packet {
	while (1) {
		return $1 if $kept =~ s/^[^\$]*\$([^#]*)#[0-9a-f]{2}//;
		sysread($socket, $kept, 65536, length $kept) or die "the debugger is gone\n";
	}
}

sub ask {
	my ($body) = @_;
	my $sum = 0;
	$sum += ord for split //, $body;
	syswrite $socket, sprintf '$%s#%02x', $body, $sum & 255;
	my ($text, $reply) = "";
	$text .= pack 'H*', substr $reply, 1 while ($reply = packet()) =~ /^O[^K]/;
	return ($reply, $text);
}

# Seconds that it takes, and what it says.
sub timed {
	my $begin = time;
	my ($reply, $text) = ask(@_);
	return (time - $begin, $reply, $text);
}

sub monitor { return timed('qRcmd,' . unpack 'H*', $_[0]) }

sub go {
	my ($seconds, undef, $text) = monitor("goto $_[0]");
	$text =~ /^icount (\d+)/ or die "goto $_[0]: $text\n";
	return $seconds;
}

sub somewhere { return int rand $end }

ask('QStartNoAckMode');
printf "seek %.4f\n", go(somewhere()) for 1 .. 16;
for (1 .. 6) {
	go(somewhere());
	ask('bs');
	printf "step %.6f\n", (timed('bs'))[0] for 1 .. 8;
}

# The string, in the kernel's direct map.
go($end);
my $found;
for (my $at = 0xc0000000; !$found && $at < 0xc4000000; $at += 8000) {
	my ($reply) = ask(sprintf 'm%x,%x', $at, 8064);
	next if $reply !~ /^[0-9a-f]+$/;
	my $i = index pack('H*', $reply), "Linux" . "\0" x 60 . $word;
	$found = $at + $i + 65 if $i >= 0;
}
die "there is no $word in the guest's memory\n" unless $found;
ask(sprintf 'Z2,%x,4', $found);
my ($seconds, $reply) = timed('bc');
die "no writer of $word: $reply\n" unless $reply =~ /watch:/;
my (undef, undef, $where) = monitor('where');
my ($at) = $where =~ /^icount (\d+)/;
die "the writer of $word is only " . ($end - $at) . " instructions back\n" if $end - $at < $back_min;
printf "watch %.4f\ndistance %d\n", $seconds, $end - $at;
