#!/bin/bash
# 24-maker.sh - a trace says who made the processor that it was recorded on, outside its digest; whatever runs it again on another maker's warns, once, and names
# that as the likely cause when it diverges. On the same maker's, or where the trace names none, nobody says anything.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
demo=$BUILD/guests/demo.elf
foreign=$BUILD/planted/foreign
trace=$scratch/demo.trace
"$RINGSIDE" record -o "$trace" --serial none "$demo" >"$scratch/err" 2>&1 </dev/null || fail "recording the demo" "$RINGSIDE record $demo" "$scratch/err"
"$RINGSIDE" trace info --format json "$trace" >"$scratch/info"
here=$(jq -r .host_maker "$scratch/info")
host=$(jq -r .host "$scratch/info")
end=$(jq .icount "$scratch/info")
ok "the maker is the host's" equal "$here" "$(sed -n 's/^vendor_id[[:space:]]*: //p;T;q' /proc/cpuinfo)"
ok "info tells it in words" equal "$("$RINGSIDE" trace info "$trace" | grep '^host ')" "host           $host ($here)"

# variant NAME MAKER [EVENT]: a copy of the trace, by that maker, and with that event changed
variant() { cp "$trace" "$scratch/$1.trace" && "$foreign" "$scratch/$1.trace" "${@:2}" || fail "making $1" "$foreign $1.trace ${*:2}"; }
variant foreign Foreign
variant silent ""
variant foreign-wrong Foreign 1000
variant wrong "$here" 1000
variant silent-wrong "" 1000
for name in foreign silent; do ok "$name: the trace is sound" "$RINGSIDE" trace check "$scratch/$name.trace" >/dev/null; done
ok "the maker is in no digest" equal "$("$RINGSIDE" trace info --format json "$scratch/foreign.trace" | jq -c '[.digest, .host_maker]')" "$(jq -c '[.digest, "Foreign"]' "$scratch/info")"
ok "info where none is named" equal "$("$RINGSIDE" trace info "$scratch/silent.trace" | grep '^host ')" "host           $host"
ok "the same in JSON" equal "$("$RINGSIDE" trace info --format json "$scratch/silent.trace" | jq .host_maker)" '""'

why="recorded on Foreign, this host is $here: flags that the manuals leave undefined are the host's; a host of Foreign replays it exactly"
# expect STATUS WARNINGS CAUSES NAME COMMAND...: how often each is said, on stdout or stderr; the command gets NAME's trace where it has a %.
expect() {
	local want=$1 warnings=$2 causes=$3 file=$scratch/$4.trace rc
	shift 4
	repeat="$RINGSIDE ${*//%/$file}"
	timeout 120 "$RINGSIDE" "${@//%/$file}" >"$scratch/out" 2>&1 </dev/null
	rc=$?
	if [ "$rc $(grep -cxF "ringside: $file: may diverge here: $why" "$scratch/out") $(grep -cF "likely cause: $why" "$scratch/out")" = "$want $warnings $causes" ] &&
		[ "$(grep -cE 'may diverge|likely cause|recorded on' "$scratch/out")" -eq $((warnings + causes)) ]; then
		pass
	else
		fail "status $rc, wanted $want with $warnings warnings, $causes causes" "$repeat" "$scratch/out"
	fi
}
expect 0 0 0 demo replay %
expect 0 1 0 foreign replay %
expect 0 0 0 silent replay %
expect 4 1 1 foreign-wrong replay %
expect 4 1 1 foreign-wrong replay --format json %
expect 4 0 0 wrong replay %
expect 4 0 0 silent-wrong replay %
"$RINGSIDE" replay "$scratch/foreign.trace" >"$scratch/out" 2>/dev/null
ok "the warning is not in the result" equal "$(grep -c Foreign "$scratch/out")" 0

expect 0 1 0 foreign replay --measure 1 %
expect 4 1 1 foreign-wrong replay --measure 1 %
expect 4 0 0 wrong replay --measure 1 %

expect 0 0 0 demo record -f -o "$scratch/live.trace" --serial none --from "%@$((end / 2))"
expect 0 1 0 foreign record -f -o "$scratch/live.trace" --serial none --from "%@$((end / 2))"
ok "what was recorded here says so" equal "$("$RINGSIDE" trace info --format json "$scratch/live.trace" | jq -r .host_maker)" "$here"
expect 3 1 1 foreign-wrong record -f -o "$scratch/live.trace" --serial none --from "%@$((end / 2))"
expect 3 0 0 wrong record -f -o "$scratch/live.trace" --serial none --from "%@$((end / 2))"

# Nothing is run again here, so there is nothing to warn of.
expect 0 0 0 foreign profile %
expect 0 0 0 foreign trace dump --to 1000 %

if command -v gdb >/dev/null; then
	printf 'set pagination off\nset confirm off\nset width 0\ncontinue\n' >"$scratch/on.gdb"
	printf 'set pagination off\nset confirm off\nset width 0\nmonitor first-value 0x100000 4 1\n' >"$scratch/ask.gdb"
	printf 'set pagination off\nset confirm off\nset width 0\nmonitor goto end\n' >"$scratch/go.gdb"
	expect 0 0 0 demo debug --command "$scratch/on.gdb" --batch %
	expect 0 1 0 foreign debug --command "$scratch/on.gdb" --batch %
	while read -r status how; do
		expect "$status" 1 1 foreign-wrong debug --command "$scratch/$how.gdb" --batch %
		expect "$status" 0 0 wrong debug --command "$scratch/$how.gdb" --batch %
		ok "$how: it diverged" grep -q 'diverge' "$scratch/out"
	done <<<$'4 on\n4 ask\n4 go'
fi
done_checks
