#!/bin/bash
# bench.sh - the project's figures, each a ratio or a rate measured in this one run, beside the bound that DESIGN sets.
#
# The workload is the Debian boot: kernel, initramfs and its script, ended by its own reboot. Runs are taken in turn (run, record, replay, run, ...)
# so that a machine whose speed drifts disturbs a round's three alike; a ratio is the median of the rounds' own, other figures are medians. QEMU runs the
# same three files when it is installed.
#
# Environment: BUILD (build), ROUNDS (11), QEMU (1; 0 leaves it out). Exit: 0 all bounds hold, 1 one does not, 77 no Debian guest.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/bench/lib.sh

build=${BUILD:-build}
rounds=${ROUNDS:-11}
ringside=$build/ringside
debian=build/debian
append='console=ttyS0'
work=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ ! -e $debian/vmlinuz ] || [ ! -e $debian/initramfs.gz ]; then
	echo "bench: skipped: no Debian guest in $debian (make guests fetches it)"
	exit 77
fi

machine=(--memory 256M --initrd $debian/initramfs.gz --append "$append")

# seconds LABEL COMMAND...: wall time of a command, appended to $work/LABEL; anything but success ends the bench
seconds() {
	local label=$1 begin end
	shift
	begin=$(date +%s.%N)
	if ! "$@" </dev/null >"$work/out" 2>&1; then
		echo "bench: $label failed: $*" >&2
		tail -5 "$work/out" >&2
		exit 1
	fi
	end=$(date +%s.%N)
	awk "BEGIN { printf \"%.3f\n\", $end - $begin }" >>"$work/$label"
}

median() { middle <"$work/$1"; }
# over LABEL BASE: how much longer, round by round
over() { paste "$work/$1" "$work/$2" | awk '{ printf "%.3f\n", $1 / $2 }' | middle; }
divide() { awk "BEGIN { printf \"%.$3f\", $1 / $2 }"; }

note() { printf '%-44s %10s %-14s\n' "$1" "$2" "$3"; }

echo "Debian boot and workload, $rounds rounds, medians"
for i in $(seq "$rounds"); do
	[ -t 2 ] && printf '\rround %d of %d' "$i" "$rounds" >&2
	rm -f "$work/t"
	seconds run "$ringside" run --engine translate --serial none "${machine[@]}" $debian/vmlinuz
	seconds record "$ringside" record --engine translate -o "$work/t" --serial none "${machine[@]}" $debian/vmlinuz
	seconds replay "$ringside" replay --engine translate "$work/t"
done
seconds interp "$ringside" run --engine interp --serial none "${machine[@]}" $debian/vmlinuz
[ -t 2 ] && printf '\r' >&2

info=$("$ringside" trace info --format json "$work/t")
field() { jq -r ".$1" <<<"$info"; }
icount=$(field icount)
run=$(median run) record=$(median record) replay=$(median replay)

row 'interpreter speed' "$(awk "BEGIN { printf \"%.1f\", $icount / $(median interp) / 1e6 }")" 'M insn/s' '>=' 60
note 'translator speed' "$(awk "BEGIN { printf \"%.1f\", $icount / $run / 1e6 }")" 'M insn/s'
row 'recording over running' "$(over record run)" 'times' '<=' 1.10
row 'trace, deterministic columns' "$(awk "BEGIN { printf \"%.2f\", $(field event_bytes) / $(field events) }")" 'bytes/event' '<=' 8
row 'replay over recording' "$(over replay record)" 'times' '<=' 1.0
note 'instructions' "$icount" ''
note 'events' "$(field events)" ''
note 'run' "$run" s
note 'record' "$record" s
note 'replay' "$replay" s

# ---- the peer: the same kernel, initramfs and command line ------------------------------------------------------------------------------------

qemu=$(command -v qemu-system-i386 || true)
if [ -z "$qemu" ] || [ "${QEMU:-1}" = 0 ]; then
	echo 'QEMU is not installed (or QEMU=0): no comparison (apt-get install qemu-system-x86)'
	exit $failed
fi
guest=(-accel tcg -cpu pentium3 -m 256 -kernel $debian/vmlinuz -initrd $debian/initramfs.gz -append "$append" -no-reboot -display none
	-serial null -monitor none -net none)
rr=(-icount "shift=auto,rr=record,rrfile=$work/rr")
rp=(-icount "shift=auto,rr=replay,rrfile=$work/rr")
seconds qemu "$qemu" "${guest[@]}"
note 'QEMU TCG' "$(median qemu)" s
row '  over ringside run' "$(divide "$(median qemu)" "$run" 2)" times '>' 1
seconds qemu_record timeout 900 "$qemu" "${guest[@]}" "${rr[@]}"
note 'QEMU -icount shift=auto,rr=record' "$(median qemu_record)" s
row '  over ringside record' "$(divide "$(median qemu_record)" "$record" 2)" times '>=' 3
seconds qemu_replay timeout 900 "$qemu" "${guest[@]}" "${rp[@]}"
note 'QEMU -icount shift=auto,rr=replay' "$(median qemu_replay)" s
row '  over ringside replay' "$(divide "$(median qemu_replay)" "$replay" 2)" times '>=' 5
exit $failed
