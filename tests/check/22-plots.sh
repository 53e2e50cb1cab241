#!/bin/bash
# Pictures: each kind as PNG, SVG and with letters; the data and script that stay make the same picture again; the page in a browser.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
guest=$BUILD/guests/count.elf
trace=$scratch/count.trace
have() { command -v "$1" >/dev/null || { echo "without $1: not checked"; return 1; }; }
profile() { "$RINGSIDE" profile --symbols "$guest" --mark '^mark' "$@" "$trace" >"$scratch/out" 2>"$scratch/err"; }
png() { [ "$(head -c 4 "$1" | tail -c 3)" = PNG ]; }

"$RINGSIDE" record -o "$trace" --serial none "$guest" </dev/null 2>"$scratch/err"
ok "record" equal $? 33
for kind in cost spread time heat; do
	profile --plot $kind="$scratch/$kind.png" --plot "$kind=$scratch/$kind.svg"
	ok "$kind" equal $? 0
	ok "$kind: a PNG" png "$scratch/$kind.png"
	ok "$kind: an SVG" grep -q '<svg' "$scratch/$kind.svg"
	! have xmllint || ok "$kind: well-formed" xmllint --noout "$scratch/$kind.svg"
	cp "$scratch/$kind.svg" "$scratch/first.svg"
	gnuplot "$scratch/$kind.svg.gp" 2>"$scratch/err"
	same "$kind: the script that stays makes it again" "gnuplot $kind.svg.gp" "$scratch/first.svg" "$scratch/$kind.svg"
	ok "$kind: the data that stays is a table" [ "$(grep -vc '^#' "$scratch/$kind.svg.dat")" -gt 3 ]
done
ok "time: what the layers are made of adds up" equal \
	"$(awk '!/^#/ { sum += $2 } END { print sum }' "$scratch/time.svg.dat")" "$("$RINGSIDE" trace info --format json "$trace" | jq .events)"
ok "time: markers by name" equal "$(grep -o '>mark [a-z]*<' "$scratch/time.svg" | sort -u | head -1)" '>mark one<'
ok "heat: a site by name" grep -q 'count_after_62+0x0  in' "$scratch/heat.svg"

for kind in cost spread time; do
	profile --by insn --plot $kind=-
	ok "$kind on the terminal" equal $? 0
	ok "$kind on the terminal: has an axis" grep -qE 'share of time, %|cost of one event|million guest' "$scratch/out"
done
profile --plot heat=-
ok "a map on the terminal" equal $? 2
profile --plot nothing=x.png
ok "a kind that is none" equal $? 2
profile --plot x.gif
ok "a format that is none" equal $? 2
profile --plot /nowhere/x.svg
ok "a folder that is not there" equal $? 5
ok "nothing is left in /tmp" [ -z "$(find /tmp -maxdepth 1 -name 'ringside-plot.*' -newer "$trace" 2>/dev/null)" ]

"$RINGSIDE" record -o "$scratch/more.trace" --serial none "$guest" </dev/null 2>"$scratch/err"
"$RINGSIDE" compare --plot "$scratch/compare.svg" "$trace" "$scratch/more.trace" >"$scratch/out" 2>"$scratch/err"
ok "compare" equal $? 0
ok "compare: an SVG" grep -q '<svg' "$scratch/compare.svg"
"$RINGSIDE" compare --plot - "$trace" "$scratch/more.trace" >"$scratch/out" 2>"$scratch/err"
ok "compare on the terminal" grep -q 'change of the median' "$scratch/out"
"$RINGSIDE" compare --plot x.gif "$trace" "$scratch/more.trace" >"$scratch/out" 2>"$scratch/err"
ok "compare: a format that is none" equal $? 2

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
	profile --format html
	cp "$scratch/out" "$scratch/page.html"
	timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/browser" --enable-logging=stderr \
		--dump-dom "file://$scratch/page.html" >"$scratch/dom" 2>"$scratch/log"
	ok "the browser shows the page" grep -q '</figure>' "$scratch/dom"
	ok "all of it" equal "$(grep -o '<table>' "$scratch/dom" | wc -l)" "$(grep -o '<table>' "$scratch/page.html" | wc -l)"
	ok "and has no complaint" [ -z "$(grep -E 'CONSOLE|ERR_' "$scratch/log" | head -1)" ]
else
	echo "without chromium: the page is not checked in a browser"
fi
done_checks
