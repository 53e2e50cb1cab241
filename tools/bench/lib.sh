# lib.sh - shared by the bench scripts: a row of their table, whether a bound did not hold, a median.
# Source it from the repository's root; a script ends with `exit $failed`.
failed=0

# the median of the numbers on standard input
middle() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# row WHAT VALUE UNIT OP BOUND: one line of the table, and whether the bound holds
row() {
	local verdict=ok
	if ! awk "BEGIN { exit !($2 $4 $5) }"; then
		verdict='NOT HELD'
		failed=1
	fi
	printf '%-44s %10s %-14s %2s %-8s %s\n' "$1" "$2" "$3" "$4" "$5" "$verdict"
}
