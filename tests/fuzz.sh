#!/bin/bash
# fuzz.sh - run every fuzz target for SECONDS_EACH seconds, from its corpus if it has one. A crash keeps its input in build-fuzz/crashes.
# FUZZ_SEED=N makes the same guesses again; 0 or none: others each time.
# Called by `make fuzz` (long) and by tests/check/90-fuzz.sh (briefly).
set -u
cd "$(dirname "$0")/.."
FUZZ=${FUZZ:-build-fuzz/fuzz}
seconds=${SECONDS_EACH:-60}
crashes=build-fuzz/crashes/
mkdir -p "$crashes"
passed=0 failed=0

# The project's own seeds are read, what is found goes to the build folder.
one() {
	local target=$1 name=${1##*/} found=build-fuzz/corpus/${1##*/} seeds=tests/fuzz/corpus/${1##*/}
	mkdir -p "$found"
	[ -d "$seeds" ] || seeds=
	"$target" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$crashes$name-" \
		"$found" $seeds >"build-fuzz/$name.log" 2>&1
}

for target in "$FUZZ"/*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	[ -e "tests/fuzz/${target##*/}.c" ] || continue
	if one "$target"; then
		passed=$((passed + 1))
		echo "ok      ${target##*/}: $(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/${target##*/}.log") inputs"
	else
		failed=$((failed + 1))
		echo "FAILED  ${target##*/}"
		tail -n 30 "build-fuzz/${target##*/}.log" | sed 's/^/    | /'
		echo "    to repeat: $target $crashes${target##*/}-..."
	fi
done
# Not fuzzers, but as long: other random programs each time, translator against interpreter, and both against the host's processor.
seed=$(date +%s)
long() { # WHAT COMMAND...: with seeds until the time is over
	local what=$1 end=$((SECONDS + seconds)) runs=0 rc
	shift
	while [ $SECONDS -lt $end ]; do
		"$@" $((seed += 1000000)) >"build-fuzz/$what.log" 2>&1
		rc=$?
		if [ $rc -eq 77 ]; then
			echo "skipped $what: $(tail -n 1 "build-fuzz/$what.log")"
			return
		elif [ $rc -ne 0 ]; then
			failed=$((failed + 1))
			echo "FAILED  $what: $* $seed"
			tail -n 30 "build-fuzz/$what.log" | sed 's/^/    | /'
			return
		fi
		runs=$((runs + 1))
	done
	passed=$((passed + 1))
	echo "ok      $what: $runs times 50000 programs"
}
if [ -n "${LONG_PROGRAMS-}" ]; then
	long programs build/xlate/programs --count 50000 --seed
	long judge build/hostjudge/judge -p -n 50000 -s
	long judge-translator build/hostjudge/judge -e translate -p -n 50000 -s
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
