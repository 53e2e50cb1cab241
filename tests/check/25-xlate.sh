#!/bin/bash
# 25-xlate.sh - the translator against the interpreter: random programs at one go and in stretches, and in stretches of every length; with
# code that goes again and again for want of room; with accesses through the window; code memory is never writable and executable. Guests: 20-guests.sh.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
COUNT=${RINGSIDE_QUICK:+20000}
BUDGETS=${RINGSIDE_QUICK:+50}

programs() { # WHAT ARGS...
	local what=$1 rc
	shift
	"$BUILD/xlate/programs" "$@" >"$scratch/programs" 2>&1
	rc=$?
	if [ $rc -eq 77 ]; then
		cat "$scratch/programs"
		exit 77
	elif [ $rc -eq 0 ]; then
		pass
		tail -n 2 "$scratch/programs"
	else
		LINES_OF_FILE=60 fail "$what, status $rc" "$BUILD/xlate/programs $*" "$scratch/programs"
	fi
}

programs "random programs" --count "${COUNT:-200000}"
programs "budgets of every length" --seed 500000 --count "${BUDGETS:-1000}" --budgets 100
programs "little room for code" --seed 900000 --count "${COUNT:-50000}" --room 24576
programs "through the window" --windows --seed 2000000 --count "${COUNT:-100000}"
programs "through the window, budgets of every length" --windows --seed 500000 --count "${BUDGETS:-500}" --budgets 100
done_checks
