#!/bin/bash
# The profile's forms, each read by the program it is for, or by another that knows the format; and the same figures in all of them.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/count.elf
trace=$scratch/count.trace
json() { jq -e "$1" "$2" >/dev/null; }
have() { command -v "$1" >/dev/null || { echo "without $1: not checked"; return 1; }; }
profile() { "$RINGSIDE" profile --symbols "$guest" "$@" "$trace"; }

"$RINGSIDE" record -o "$trace" --mark '^mark' --serial none "$guest" </dev/null 2>"$scratch/err"
ok "record" equal $? 33
profile --format json --limit 0 >"$scratch/json"
events=$(jq .trace.events "$scratch/json")
cost=$(jq '[.phases[] | select(.event).cycles] | add' "$scratch/json")

profile --format folded >"$scratch/folded"
ok "folded: stacks and a number" [ -z "$(grep -vE '^[^;]+(;[^;]+)* [0-9]+$' "$scratch/folded")" ]
ok "folded adds up to the run" equal "$(awk '{ sum += $NF } END { printf "%.0f", sum }' "$scratch/folded")" "$(jq .run_cycles "$scratch/json")"
ok "folded has functions" grep -q '^run;VMM;count_rdtsc_29;rdtsc fault;emulate ' "$scratch/folded"

profile --format callgrind >"$scratch/callgrind"
ok "callgrind: the sum is the summary" equal "$(awk '/^0x/ { c += $2; n += $3 } END { printf "%.0f %.0f", c, n }' "$scratch/callgrind")" "$cost $events"
if have callgrind_annotate; then
	callgrind_annotate --threshold=100 "$scratch/callgrind" >"$scratch/annotated" 2>"$scratch/err"
	ok "callgrind_annotate reads it" equal $? 0
	ok "and finds the counts" grep -qE '61 \([ 0-9.]+%\).*guest:count_marked_61' "$scratch/annotated"
fi

profile --format trace-event >"$scratch/slices"
ok "trace-event: every event" equal "$(jq '[.traceEvents[] | select(.ph == "X" or .ph == "i")] | length' "$scratch/slices")" "$events"
ok "trace-event: the format's own rules" json 'all(.traceEvents[]; (.name | type) == "string" and .pid == 1 and (.ph == "M" or .ts >= 0)) and all(.traceEvents[] | select(.ph == "X"); .dur >= 0)' "$scratch/slices"
ok "trace-event: slices do not overlap" json '[.traceEvents[] | select(.ph == "X")] | [range(1; length) as $i | .[$i].ts + 0.001 >= .[$i - 1].ts + .[$i - 1].dur] | all' "$scratch/slices"
ok "trace-event: markers" json '[.traceEvents[] | select(.ph == "i").name] == ["mark one", "mark two", "mark three"]' "$scratch/slices"
profile --format trace-event --limit 10 >"$scratch/slices" 2>"$scratch/err"
ok "trace-event: a limit" json '[.traceEvents[] | select(.ph == "X")] | length == 10' "$scratch/slices"
ok "trace-event: says what is left out" grep -q "left out" "$scratch/err"

profile --format csv --by insn,pair,marker --limit 0 >"$scratch/csv"
if have python3; then
	python3 -c '
import csv, sys
tables, rows = [], []
for row in csv.reader(open(sys.argv[1])):
    if row: rows.append(row)
    else: tables.append(rows); rows = []
tables.append(rows)
for t in tables:
    assert len(set(map(len, t))) == 1, "ragged"
    at = t[0].index("count")
    assert sum(int(r[at]) for r in t[1:]) == int(sys.argv[2]), t[0]
assert len(tables) == 3' "$scratch/csv" "$events" 2>"$scratch/err"
	ok "csv: three tables that add up" equal $? 0
fi

profile --format html >"$scratch/html" 2>"$scratch/err"
ok "html" equal $? 0
ok "html: a table and a plot a view, and three of all" equal "$(grep -c '<h2>By ' "$scratch/html") $(grep -o '<figure><svg' "$scratch/html" | wc -l)" "12 15"
ok "html fetches nothing" [ -z "$(grep -oE '(src|href)="?(https?:)?//[^"]*|url\(["'\'']?http[^)]*|<script|<link|@import' "$scratch/html" | head -1)" ]
if have xmllint; then
	ok "html is well-formed" xmllint --noout "$scratch/html"
	ok "html has no two ids alike" [ -z "$(grep -oE " id=['\"][^'\"]*" "$scratch/html" | sort | uniq -d | head -1)" ]
	"$RINGSIDE" profile --plot "$scratch/plot.svg" "$trace" >/dev/null
	ok "svg is well-formed" xmllint --noout "$scratch/plot.svg"
fi
if have chromium; then
	# as wide as a phone: nothing but pictures is wider than the screen (they scroll in their own box), and the browser has nothing to complain of
	cat >"$scratch/phone.html" <<-'END'
		<!DOCTYPE html><body><iframe src="report.html" width="412" height="900"></iframe><script>
		onload = () => {
			const d = document.querySelector("iframe").contentDocument, wide = e => e.scrollWidth > e.clientWidth;
			const boxes = [...d.querySelectorAll(".box")].filter(wide).length, pictures = [...d.querySelectorAll("figure")].filter(wide).length;
			document.body.textContent = `page ${d.documentElement.scrollWidth} tables ${boxes} pictures ${pictures}`;
		};
		</script></body>
	END
	cp "$scratch/html" "$scratch/report.html"
	timeout 60 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files --user-data-dir="$scratch/browser" --enable-logging=stderr \
		--dump-dom "file://$scratch/phone.html" >"$scratch/dom" 2>"$scratch/err"
	ok "a browser shows it on a phone" equal "$(grep -o 'page [0-9]* tables [0-9]* pictures [0-9]*' "$scratch/dom")" "page 412 tables 0 pictures 15"
	ok "and has nothing to complain of" [ -z "$(grep CONSOLE "$scratch/err")" ]
fi
ok "no file is left behind" [ -z "$(find /tmp -maxdepth 1 -name 'ringside-plot.*' -newer "$trace" 2>/dev/null)" ]
"$RINGSIDE" profile --format folded --by insn "$trace" >/dev/null 2>&1
ok "folded has no tables to choose" equal $? 2
"$RINGSIDE" profile --format nothing "$trace" >/dev/null 2>&1
ok "no such form" equal $? 2
"$RINGSIDE" profile --format html "$trace" >/dev/full 2>/dev/null
ok "a full disk is a host failure" equal $? 5
done_checks
