#!/bin/bash
# layers.sh - check every #include of the tree against layers.txt, and that headers do not include each other in a circle.
set -eu
cd "$(dirname "$0")/../.."

includes() {
	find vmm recorder replayer profiler tools tests -name '*.[chS]' -o -name '*.def' | grep -v '^tests/guests/' | sort |
		xargs grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]'
}

includes | awk '
	# A shell pattern as an anchored regular expression.
	function matches(text, pattern,   re) {
		re = pattern
		gsub(/[.+()]/, "\\\\&", re)
		gsub(/\*/, ".*", re)
		return text ~ "^" re "$"
	}
	function any(text, list,   words, n, i) {
		n = split(list, words, " ")
		for (i = 1; i <= n; i++)
			if (matches(text, words[i]))
				return 1
		return 0
	}
	function longest(table, file,   prefix, best) {
		best = ""
		for (prefix in table)
			if (index(file, prefix) == 1 && length(prefix) > length(best))
				best = prefix
		return best
	}
	function rest(from,   i, s) {
		s = ""
		for (i = from; i <= NF; i++)
			s = s " " $i
		return s
	}
	function bad(why) {
		printf "%s:%s: %s: %s\n", file, line, header, why
		wrong++
	}
	NR == FNR {
		sub(/#.*/, "")
		if ($1 == "may") may[$2] = rest(3)
		else if ($1 == "libs") libs[$2] = rest(3)
		else if ($1 == "libc") libc = libc rest(2)
		else if ($1 == "only") only[$2] = rest(3)
		else if (NF) { print "layers.txt:" FNR ": what is " $1 "?"; wrong++ }
		next
	}
	{
		split($0, at, ":")
		file = at[1]; line = at[2]
		quoted = $0 ~ /include[ \t]*"/
		header = $0
		sub(/^[^<"]*[<"]/, "", header)
		sub(/[>"].*$/, "", header)
		seen++
		if (header in only && !any(file, only[header]) && file !~ /^tests\//)
			bad("only" only[header] " may include it")
		else if (quoted && !any(header, may[longest(may, file)]))
			bad(longest(may, file) " may not include it")
		else if (!quoted && !any(header, libc) && !any(header, libs[longest(libs, file)]))
			bad("neither libc nor a library of " longest(libs, file))
	}
	END {
		if (!seen) { print "no includes found"; wrong++ }
		exit wrong > 0
	}' tools/lint/layers.txt -

circle=$(includes | sed -nE 's/^([^:]*\.h):[0-9]*:[^"]*"([^"]*)".*/\1 \2/p' | tsort 2>&1 >/dev/null) ||
	{ echo "headers include each other in a circle:"; echo "$circle"; exit 1; }
