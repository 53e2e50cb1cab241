#!/usr/bin/perl
# kallsyms.pl BZIMAGE - prints a System.map from the symbol table that the kernel carries for itself.
#
# Debian ships the real System.map only with its debug packages, which are many times the size of all else. The kernel's own table (kernel/kallsyms.c, Linux
# 4.6 to 6.1 with CONFIG_KALLSYMS_BASE_RELATIVE, 32 bits) lies in its read-only data, in this order, each part aligned to 4:
#   offsets[n], relative base, n, names, markers[(n+255)/256], (in some versions an index of 3 bytes a symbol,) token table (256 strings), token index (256 times 16 bits)
# It is found from its end: the token table has the ten digits in a row, and the index that follows it must agree.
use strict;
use warnings;

sub slurp { open my $f, "<:raw", $_[0] or die "kallsyms.pl: $_[0]: $!\n"; local $/; return scalar <$f> }

# The compressed ELF inside (Documentation/arch/x86/boot.rst: payload_offset, payload_length).
sub payload {
	my ($image) = @_;
	my $at = (ord(substr $image, 0x1f1, 1) + 1) * 512;
	my ($offset, $length) = unpack "V2", substr $image, 0x248, 8;
	my $data = substr $image, $at + $offset, $length - 4;
	my $tool = $data =~ /^\xfd7zXZ/ ? "xz" : $data =~ /^\x1f\x8b/ ? "gzip" : $data =~ /^\x28\xb5\x2f\xfd/ ? "zstd" : die "kallsyms.pl: unknown compression\n";
	my $file = "$ARGV[0].payload";
	open my $out, ">:raw", $file or die "kallsyms.pl: $file: $!\n";
	print $out $data;
	close $out;
	my $elf = `$tool -dc '$file'`;
	unlink $file;
	return $elf;
}

# Start of the token table and its strings.
sub tokens {
	my ($data) = @_;
	my $digits = join "", map { "$_\0" } 0 .. 9;
	my $from = 0;
	while ((my $hit = index $data, $digits, $from) >= 0) {
		$from = $hit + 1;
		my $start = $hit;
		for (1 .. 0x30) {
			my $end = rindex $data, "\0", $start - 2;
			$start = $end + 1;
		}
		$start++ while substr($data, $start, 1) eq "\0"; # padding before the first
		my @tokens = split /\0/, substr($data, $start, 8192), 257;
		next if @tokens < 257;
		pop @tokens;
		my ($length, @index) = (0);
		for (@tokens) { push @index, $length; $length += 1 + length }
		my $at = ($start + $length + 3) & ~3;
		return ($start, @tokens) if substr($data, $at, 512) eq pack "v256", @index;
	}
	die "kallsyms.pl: no token table\n";
}

my $data = payload(slurp($ARGV[0] // die "usage: kallsyms.pl BZIMAGE\n"));
my ($table, @tokens) = tokens($data);
my $u32 = sub { unpack "V", substr $data, $_[0], 4 };

# Markers: from 0, one for 256 names, so in steps of a few thousand. The longest such run below the token table.
my ($at, @markers) = (0);
my @words = unpack "V*", substr $data, 0, $table & ~3;
for (my $i = 0; $i < @words; $i++) {
	next if $words[$i] != 0 || ($words[$i + 1] // 0) < 256;
	my $end = $i;
	$end++ while defined $words[$end + 1] && $words[$end + 1] > $words[$end] + 255 && $words[$end + 1] < $words[$end] + 256 * 128;
	if ($end - $i >= @markers) {
		($at, @markers) = (4 * $i, @words[$i .. $end]);
	}
	$i = $end;
}
die "kallsyms.pl: no markers\n" if @markers < 16;

# Names: below the markers, after their count.
sub name_length { # position -> length, bytes of the length itself
	my $byte = ord substr $data, $_[0], 1;
	return $byte < 0x80 ? ($byte, 1) : (($byte & 0x7f) | ord(substr $data, $_[0] + 1, 1) << 7, 2);
}
my ($names, $count);
for (my $try = ($at - $markers[-1]) & ~3; $try > 4; $try -= 4) {
	$count = $u32->($try - 4);
	next unless $count > 256 * $#markers && $count <= 256 * @markers;
	my $position = $try;
	for (1 .. 256) { my ($length, $head) = name_length($position); $position += $head + $length }
	if ($position - $try == $markers[1]) { $names = $try; last }
}
die "kallsyms.pl: no names\n" unless defined $names;
my $base = $u32->($names - 8);
my @offsets = unpack "V$count", substr $data, $names - 8 - 4 * $count, 4 * $count;

my $position = $names;
my @lines;
for my $offset (@offsets) {
	my ($length, $head) = name_length($position);
	my $name = join "", @tokens[unpack "C*", substr $data, $position + $head, $length];
	push @lines, sprintf "%08x %s %s\n", ($base + $offset) & 0xffffffff, substr($name, 0, 1), substr($name, 1);
	$position += $head + $length;
}
print sort @lines;
