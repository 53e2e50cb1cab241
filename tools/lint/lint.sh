#!/bin/bash
# lint.sh - everything about the form of the code, each check by name. `make lint` calls it; LINT=NAME runs one alone.
# Status 1: something to mend.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
sources=$(find vmm recorder replayer profiler tools -name '*.c' | sort)
headers=$(find vmm recorder replayer profiler tools -name '*.h' | sort)
flags="-std=gnu11 -D_GNU_SOURCE -pthread -I. -I$BUILD"
warnings="-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla -Werror"
jobs=$(nproc)
export flags warnings
failed=

lint_layers() { tools/lint/layers.sh; }

# Both compilers, with optimisation: some warnings need its analysis.
lint_warnings() {
	{ printf 'gcc %s\n' $sources; printf 'clang %s\n' $sources; } |
		xargs -P "$jobs" -L1 sh -c '$0 $flags $warnings -O2 -c -o /dev/null "$1"'
}

# A header is complete in itself: the first line of a file may be any of them.
lint_headers() {
	printf '%s\n' $headers | xargs -P "$jobs" -I{} sh -c 'echo "#include \"{}\"" | gcc $flags $warnings -x c -fsyntax-only - || { echo "{} does not compile alone"; exit 1; }'
}

lint_format() {
	git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run 2>&1 | grep -E 'warning: ' | cut -d: -f1 | sort | uniq -c |
		awk '{ print $2 ": " $1 " places are not formatted (make format)"; bad = 1 } END { exit bad }'
}

lint_cppcheck() {
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --suppressions-list=tools/lint/cppcheck.txt \
		--error-exitcode=1 -j "$jobs" -I. -I"$BUILD" $sources
}

lint_tidy() {
	printf '%s\n' $sources | xargs -P "$jobs" -n 8 sh -c 'clang-tidy --quiet "$@" -- $flags 2>/dev/null' sh | grep -E 'warning:|error:' && return 1
	return 0
}

lint_duplicates() { awk -f tools/lint/duplicates.awk $sources; }

# Shell scripts at least parse; nothing of a person's own machine is in the tree.
lint_scripts() {
	local status=0
	for f in $(git ls-files '*.sh') .ci/run; do
		bash -n "$f" || status=1
		[ -x "$f" ] || [ "${f##*/}" = lib.sh ] || { echo "$f is not executable"; status=1; }
	done
	return $status
}

lint_marks() {
	! git grep -nwE 'TODO|FIXME|XXX' -- '*.c' '*.h' '*.sh' '*.proto' ':!tools/lint/lint.sh'
}

for check in layers warnings headers format cppcheck tidy duplicates scripts marks; do
	[ -z "${LINT-}" ] || [ "$LINT" = "$check" ] || continue
	start=$(date +%s)
	if lint_$check; then word=ok; else word=FAILED; failed+=" $check"; fi
	printf '%-7s lint %-12s %3d s\n' $word $check $(($(date +%s) - start))
done
[ -z "$failed" ] || { echo "lint:$failed; one alone: LINT=NAME make lint"; exit 1; }
