#!/bin/bash
# pages.sh - the pages that the README shows: what a boot of Debian costs, each question with the command that answers it. `make pages`.
#
# Records the boot (or takes the trace named), and writes profiler/pages: README.md, and pictures of the plots and, where chromium is installed, of the HTML
# report. The report itself stays in build/pages with the trace. Exit: 0 done, 77 no Debian guest.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build}
ringside=$build/ringside
debian=build/debian
work=$build/pages
pages=profiler/pages
mark='^Linux version|Memory: |smp: Bringing|Unpacking init|Run /init|^workload'

if [ ! -e $debian/vmlinuz ] || [ ! -e $debian/initramfs.gz ]; then
	echo "pages: skipped: no Debian guest in $debian (make guests fetches it)"
	exit 77
fi
mkdir -p "$work" $pages
cp $debian/System.map "$work/System.map"
[ $# = 0 ] || cp "$1" "$work/boot.trace"
[ $# = 1 ] || "$ringside" record -f -o "$work/boot.trace" --serial none --initrd $debian/initramfs.gz --append 'console=ttyS0 nokaslr' $debian/vmlinuz </dev/null
"$ringside" replay --measure "${MEASURE:-10}" "$work/boot.trace"

# answer WORD...: a command as a person types it, and what it prints from the first table on
answer() {
	echo '```'
	echo "\$ ringside $*"
	(cd "$work" && "../../$ringside" "$@") | awk 'on || /^WHERE/ { on = 1; print }'
	echo '```'
	echo
}

# tables WORD...: the same, tables alone
tables() {
	echo '```'
	echo "\$ ringside $*"
	(cd "$work" && "../../$ringside" "$@") | awk '/^Measuring costs:/ { on = 1; next } /^  SELECTED/ { sub(/^  /, ""); print; next } on && NF'
	echo '```'
	echo
}

{
	cat <<-END
		# What a boot of Debian costs

		Debian's i386 kernel and busybox boot, do their work and reboot: $("$ringside" trace info --format json "$work/boot.trace" | jq -r '"\(.icount) instructions, \(.events) events"') on
		$("$ringside" trace info --format json "$work/boot.trace" | jq -r .host), $(date +%Y-%m-%d). \`make pages\` records it anew and writes this page.

		\`\`\`
		ringside record -o boot.trace --initrd initramfs.gz --append 'console=ttyS0 nokaslr' vmlinuz
		ringside replay --measure ${MEASURE:-10} boot.trace
		\`\`\`

		## Where does the time go, and which ten instructions cost most?

	END
	answer profile --limit 10 boot.trace
	printf '![cost of each event by instruction](cost.png)\n\n'
	printf '## Which five functions cause them?\n\n'
	tables profile --by symbol --limit 5 --symbols System.map boot.trace
	printf '## What does the serial console cost?\n\n'
	tables profile --filter port=3f8-3ff --by port boot.trace
	printf '## What would it save to handle neighbours in one exit?\n\n'
	tables profile --by pair --sort saved --limit 5 boot.trace
	printf '## When, and where?\n\n```\n$ ringside profile --mark %s --symbols System.map --plot time=when.png --plot heat=where.png boot.trace\n```\n\n' "'$mark'"
	printf '![events over the run](when.png)\n\n![sites over the run](where.png)\n\n'
	printf '## All of it on one page\n\n```\n$ ringside profile --format html --mark %s --symbols System.map boot.trace >boot.html\n```\n\n' "'$mark'"
	printf 'One file, without script, that fetches nothing: for a browser, a phone, a printer. Its beginning:\n\n![the HTML report](report.png)\n'
} >"$work/README.md"
cp "$work/README.md" $pages/README.md

"$ringside" profile --mark "$mark" --symbols "$work/System.map" --plot "$work/cost.png" --plot time="$work/when.png" --plot heat="$work/where.png" \
	"$work/boot.trace" >/dev/null
"$ringside" profile --format html --mark "$mark" --symbols "$work/System.map" "$work/boot.trace" >"$work/boot.html"
cp "$work/cost.png" "$work/when.png" "$work/where.png" $pages/
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
	"$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/browser" --window-size=1280,2000 \
		--screenshot="$work/report.png" "file://$PWD/$work/boot.html" 2>/dev/null
	rm -rf "$work/browser"
	cp "$work/report.png" $pages/
else
	echo "pages: without chromium: the picture of the HTML report stays as it was"
fi
echo "pages: $pages/README.md; the report: $work/boot.html"
