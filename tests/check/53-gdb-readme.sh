#!/bin/bash
# 53-gdb-readme.sh - the README's debugging session does what it shows. Lines with (gdb) are given to gdb, the others must come out in this order; "..." is anything.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
need gdb
demo=$BUILD/guests/demo.elf
trace=$scratch/demo.trace
"$RINGSIDE" record -o "$trace" --serial none "$demo" >"$scratch/err" 2>&1 </dev/null

# Of the section alone, what is between fences.
awk '/^## / { on = /^## Debug a recording backwards/ } on && /^```/ { code = !code; next } on && code' README.md >"$scratch/session"
{
	printf 'set pagination off\nset width 0\n'
	# each command says which it is, and its output cannot get between others'
	awk '/^\(gdb\) / { n++; print "echo @" n "\\n"; sub(/^\(gdb\) /, ""); print }' "$scratch/session"
} >"$scratch/commands.gdb"
ok "the README has a session" [ "$(grep -c '^(gdb)' "$scratch/session")" -ge 15 ]
timeout 300 "$RINGSIDE" debug --symbols "$demo" --command "$scratch/commands.gdb" --batch "$trace" >"$scratch/out" 2>"$scratch/err" </dev/null
ok "the session ends well" equal $? 0
# What monitor says goes to gdb's stderr: there the same lines are looked for without their order.
regex() { sed -e 's/[][\.*^$+?(){}|/]/\\&/g' -e 's/\\\.\\\.\\\./.*/g' <<<"$1"; }
at=1
while IFS= read -r line; do
	case $line in '(gdb) '* | '' | build/*) continue ;; esac
	found=$(tail -n +$at "$scratch/out" | grep -nE -m1 -- "$(regex "$line")" | cut -d: -f1)
	if [ -n "$found" ]; then
		at=$((at + found))
		pass
	elif grep -qE -- "$(regex "$line")" "$scratch/err"; then
		pass
	else
		cat "$scratch/err" >>"$scratch/out"
		LINES_OF_FILE=60 fail "README's \"$line\" was not said" "tests/check/53-gdb-readme.sh" "$scratch/out"
	fi
done <"$scratch/session"
done_checks
