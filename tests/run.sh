#!/bin/bash
# run.sh [PATTERN] - run the tests whose name contains PATTERN, say what happened to each, end with a line of counts.
#
# A test is one of
#   build/tests/unit/test_NAME     a cmocka program; each of its tests counts
#   tests/check/NN-NAME.sh         an executable, run from the repository's root with RINGSIDE and BUILD in the environment:
#                                  exit 0 passed, 77 skipped (its last line says why), anything else failed. When its last line is itself
#                                  a line of counts ("12 passed, 1 failed"), those are added instead.
# The output of each is kept in build/tests/log/. Several run at once (JOBS, default: one a processor).
set -u
cd "$(dirname "$0")/.."
export BUILD=${BUILD:-build}
export RINGSIDE=${RINGSIDE:-$BUILD/ringside}
export LOG=$BUILD/tests/log
export RESULTS=$LOG/results
TIMEOUT=${TIMEOUT:-900}
export TIMEOUT
pattern=${1-}

# The long ones have the high numbers: they start first.
tests=$(find tests/check -name '*.sh' -perm -u+x | sort -r; ls "$BUILD"/tests/unit/test_* 2>/dev/null | grep -v '\.[a-z]*$')
[ -n "$pattern" ] && tests=$(grep -F -- "$pattern" <<<"$tests")
# Programs whose source is gone must not be run.
tests=$(for t in $tests; do
	case $t in */unit/*) [ -e "tests/unit/${t##*/}.c" ] && echo "$t" ;; *) echo "$t" ;; esac
done)
[ -n "$tests" ] || { echo "ringside: tests: nothing matches '$pattern'" >&2; exit 2; }
mkdir -p "$LOG"
: >"$RESULTS"

# count WORD FILE: the number that cmocka prints beside [ WORD ].
count() {
	sed -n "s/.*\[ *$1 *\] \([0-9]*\) test(s).*/\1/p" "$2" | tail -n 1 | grep . || echo 0
}

# One test: its line for the reader, and "passed failed skipped name" for the sum.
one() {
	local test=$1 name log start rc passed=0 failed=0 skipped=0 word tail seconds
	name=${test##*/}
	log=$LOG/${name%.sh}.log
	start=$(date +%s%N)
	timeout --kill-after=10 "$TIMEOUT" "./$test" </dev/null >"$log" 2>&1
	rc=$?
	seconds=$(awk -v ns=$(($(date +%s%N) - start)) 'BEGIN { printf "%.1f", ns / 1e9 }')
	tail=$(tail -n 1 "$log")
	if [[ $test == */unit/* ]]; then
		passed=$(count PASSED "$log") failed=$(count FAILED "$log") skipped=$(count SKIPPED "$log")
		[ $rc -ne 0 ] && [ "$failed" -eq 0 ] && failed=1
	elif [[ $tail =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]} skipped=${BASH_REMATCH[4]:-0}
		[ $rc -ne 0 ] && [ $rc -ne 77 ] && [ "$failed" -eq 0 ] && failed=1
	else
		case $rc in 0) passed=1 ;; 77) skipped=1 ;; *) failed=1 ;; esac
	fi
	# A test that tests nothing has not passed.
	[ $((passed + failed + skipped)) -eq 0 ] && failed=1
	word=ok
	[ "$skipped" -gt 0 ] && word=SKIPPED
	[ "$failed" -gt 0 ] && word=FAILED
	echo "$passed $failed $skipped $name" >>"$RESULTS"
	{
		printf '%-8s %-40s %4d tests  %6s s' "$word" "$name" $((passed + failed + skipped)) "$seconds"
		[ "$word" = SKIPPED ] && printf '  %s' "$(grep -v '^\[' "$log" | tail -n 1)"
		echo
		if [ "$word" = FAILED ]; then
			[ $rc -eq 124 ] || [ $rc -eq 137 ] && echo "    stopped after $TIMEOUT s"
			tail -n "${LINES_SHOWN:-25}" "$log" | sed 's/^/    | /'
			echo "    to repeat: BUILD=$BUILD RINGSIDE=$RINGSIDE${RINGSIDE_QUICK:+ RINGSIDE_QUICK=1} ./$test    (output: $log, status $rc)"
		fi
	} >"$log.line"
	cat "$log.line"
	rm -f "$log.line"
}
export -f one count

xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {}' <<<"$tests"

awk '
	{ passed += $1; failed += $2; skipped += $3 }
	$2 { bad = bad " " $4 }
	$3 { skip = skip " " $4 }
	END {
		if (skip) print "\nSKIPPED (not tested on this machine):" skip
		if (bad) print "\nFAILED:" bad
		printf "\n%d passed, %d failed%s\n", passed, failed, skipped ? sprintf(", %d skipped", skipped) : ""
		exit failed > 0
	}' "$RESULTS"
