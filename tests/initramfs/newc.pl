#!/usr/bin/perl
# newc.pl - writes a cpio archive ("newc") on stdout from a list on stdin: reproducible, and device nodes without being root.
# Lines:  dir PATH MODE   file PATH MODE SOURCE   node PATH MODE MAJOR MINOR   link PATH TARGET
use strict;
use warnings;

my $inode = 1;
binmode STDOUT;

sub pad { return "\0" x (-$_[0] & 3) }

sub entry {
	my ($path, $mode, $data, $major, $minor) = @_;
	my $header = "070701" . sprintf("%08X" x 13, $inode++, $mode, 0, 0, 1, 0, length $data, 0, 0, $major, $minor, length($path) + 1, 0);
	print $header, $path, "\0", pad(length($header) + length($path) + 1), $data, pad(length $data);
}

while (<STDIN>) {
	my ($kind, $path, @rest) = split;
	next unless defined $kind;
	if ($kind eq "dir") {
		entry($path, 0040000 | oct $rest[0], "", 0, 0);
	} elsif ($kind eq "file") {
		open my $in, "<:raw", $rest[1] or die "newc.pl: $rest[1]: $!\n";
		local $/;
		entry($path, 0100000 | oct $rest[0], scalar <$in>, 0, 0);
	} elsif ($kind eq "node") {
		entry($path, 0020000 | oct $rest[0], "", $rest[1], $rest[2]);
	} elsif ($kind eq "link") {
		entry($path, 0120777, $rest[0], 0, 0);
	} else {
		die "newc.pl: what is '$kind'?\n";
	}
}
entry("TRAILER!!!", 0, "", 0, 0);
