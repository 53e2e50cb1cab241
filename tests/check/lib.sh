# lib.sh - shared by the scripts here: counts checks, keeps their files, prints the command that repeats a failure.
# Source it from the repository's root. A script ends with `done_checks`.
RINGSIDE=${RINGSIDE:-build/ringside}
BUILD=${BUILD:-build}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ringside-check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
MODELS="0/1/3 0/3/3"

# need PROGRAM: without it the script is skipped.
need() { command -v "$1" >/dev/null || { echo "$1 is not installed"; exit 77; }; }

# run_length FILE: how long the run was whose last words are in FILE.
run_length() { grep -o '[0-9]* instructions, [0-9]* faults' "$1" || echo "unknown: $1"; }

pass() { passed=$((passed + 1)); }

# fail WHAT COMMAND [FILE]: FILE's last lines are shown.
fail() {
	failed=$((failed + 1))
	echo "FAILED: $1"
	[ -z "${3-}" ] || tail -n "${LINES_OF_FILE:-8}" "$3" | cut -c1-240 | sed 's/^/    | /'
	echo "    to repeat: $2"
}

# same WHAT COMMAND A B: the files are equal.
same() {
	if cmp -s "$3" "$4"; then
		pass
	else
		diff <(cut -c1-200 "$3") <(cut -c1-200 "$4") | head -n 6 >"$scratch/difference"
		fail "$1" "$2" "$scratch/difference"
	fi
}

# ok WHAT COMMAND...: the command succeeds.
ok() {
	local what=$1
	shift
	if "$@"; then pass; else fail "$what" "$(cut -c1-240 <<<"$*")"; fi
}

equal() { [ "$1" = "$2" ] || { echo "    '${1:0:200}' is not '${2:0:200}'"; return 1; }; }

# said WHAT REGEX...: $scratch/out has lines that match, in this order. $repeat is the command that a failure shows.
said() {
	local what=$1 at=1 line
	shift
	for regex; do
		line=$(tail -n +$at "$scratch/out" | grep -nE -m1 -- "$regex" | cut -d: -f1)
		if [ -z "$line" ]; then
			LINES_OF_FILE=40 fail "$what: \"$regex\" was not said" "$repeat" "$scratch/out"
			return
		fi
		at=$((at + line))
	done
	pass
}

# choose_seed: sets $seed for a script that looks at places by chance: the same ones each time, SEED=N others, SEED=random others each time.
choose_seed() {
	seed=${SEED:-1}
	[ "$seed" != random ] || seed=$RANDOM
	[[ $seed =~ ^[0-9]+$ ]] || { echo "SEED=$seed: must be a number or 'random'"; exit 1; }
	[ -z "${SEED-}" ] || echo "seed $seed"
}

done_checks() {
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}
