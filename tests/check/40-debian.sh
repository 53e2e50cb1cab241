#!/bin/bash
# 40-debian.sh - the unmodified Debian kernel: boots, runs its workload, resets; recorded and replayed with the guest's files absent, in both ring models;
# recordings by two engines have one digest, and both engines in lockstep agree; stock LMDB tools read the trace.
set -u
cd "$(dirname "$0")/../.."
. tests/check/lib.sh
tools/guests.sh >"$scratch/fetch" 2>&1
rc=$?
if [ $rc -eq 77 ]; then
	cat "$scratch/fetch"
	exit 77
elif [ $rc -ne 0 ]; then
	fail "tools/guests.sh, status $rc" "tools/guests.sh" "$scratch/fetch"
	done_checks
	exit 1
fi
APPEND="console=ttyS0"
# Sanitizers: the crypto layer tests itself for 3.7 of the boot's 8 billion instructions.
[ -z "${RINGSIDE_QUICK-}" ] || APPEND+=" cryptomgr.notests"
guest_dir=$scratch/guest
trace=$scratch/debian.trace

# record NAME MODEL [ENGINE]: leaves $scratch/NAME.trace, .console; the guest's files are copies that are gone afterwards.
record() {
	local rc
	mkdir -p "$guest_dir"
	cp build/debian/vmlinuz build/debian/initramfs.gz "$guest_dir"
	repeat="$RINGSIDE record -o /tmp/debian.trace --engine ${3-translate} --model $2 --initrd build/debian/initramfs.gz --append '$APPEND' build/debian/vmlinuz"
	timeout 600 "$RINGSIDE" record -o "$scratch/$1.trace" --engine "${3-translate}" --model "$2" --initrd "$guest_dir/initramfs.gz" --append "$APPEND" "$guest_dir/vmlinuz" \
		>"$scratch/$1.console" 2>"$scratch/$1.err" </dev/null
	rc=$?
	rm -rf "$guest_dir"
	if [ $rc -eq 0 ] && tr -d '\r' <"$scratch/$1.console" | grep -aqx 'WORKLOAD PASSED'; then
		pass
	else
		cat "$scratch/$1.console" "$scratch/$1.err" >"$scratch/shown"
		LINES_OF_FILE=25 fail "Debian in model $2, status $rc" "$repeat" "$scratch/shown"
		return 1
	fi
	tail -n 2 "$scratch/$1.err"
}

replay() { # NAME MODEL
	local rc
	timeout 600 "$RINGSIDE" replay --serial "file:$scratch/$1.replayed" "$scratch/$1.trace" >"$scratch/result" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq 0 ]; then
		pass
	else
		fail "replay of Debian in model $2, status $rc" "$repeat; $RINGSIDE replay /tmp/debian.trace" "$scratch/result"
	fi
	same "console of Debian in model $2: recording and replay differ" "$repeat; $RINGSIDE replay --serial stdio /tmp/debian.trace" \
		"$scratch/$1.console" "$scratch/$1.replayed"
}

digest() { "$RINGSIDE" trace info --format json "$1" 2>"$scratch/err" | jq -r .digest; }

# Where nobody observes, the translator emulates some instructions by itself: the run is as long as the recording all the same.
unobserved() { # NAME MODEL
	local again="$RINGSIDE run --model $2 --initrd build/debian/initramfs.gz --append '$APPEND' build/debian/vmlinuz"
	timeout 600 "$RINGSIDE" run --model "$2" --serial none --initrd build/debian/initramfs.gz --append "$APPEND" build/debian/vmlinuz >"$scratch/result" 2>&1 </dev/null
	if equal "$(run_length "$scratch/result")" "$(run_length "$scratch/$1.err")"; then
		pass
	else
		fail "a run of Debian in model $2 is not as long as its recording" "$again" "$scratch/result"
	fi
}

check_trace() { # TRACE
	local stock="mdb_stat -n -a" copy=$scratch/copy.trace
	if "$RINGSIDE" trace check "$1" >"$scratch/result" 2>&1; then
		pass
	else
		fail "ringside trace check" "$repeat; $RINGSIDE trace check /tmp/debian.trace" "$scratch/result"
	fi
	if $stock "$1" >"$scratch/result" 2>&1 && grep -q 'Status of events' "$scratch/result"; then
		pass
	else
		fail "mdb_stat does not read the trace" "$repeat; $stock /tmp/debian.trace" "$scratch/result"
	fi
	if mdb_copy -n -c "$1" "$copy" >"$scratch/result" 2>&1 && [ "$(digest "$copy")" = "$(digest "$1")" ]; then
		pass
	else
		fail "mdb_copy does not copy the trace" "$repeat; mdb_copy -n -c /tmp/debian.trace /tmp/copy.trace" "$scratch/result"
	fi
	rm -f "$copy"*
}

# Both engines side by side through all of it.
lockstep() {
	local again="$RINGSIDE run --engine lockstep --compare-every 100K --initrd build/debian/initramfs.gz --append '$APPEND' build/debian/vmlinuz"
	timeout 900 "$RINGSIDE" run --engine lockstep --compare-every 100K --serial none --initrd build/debian/initramfs.gz --append "$APPEND" \
		build/debian/vmlinuz >"$scratch/result" 2>&1 </dev/null
	if [ $? -eq 0 ] && grep -q "the engines agreed in" "$scratch/result"; then
		pass
		tail -n 2 "$scratch/result"
	else
		LINES_OF_FILE=25 fail "Debian in lockstep" "$again" "$scratch/result"
	fi
}

for model in $MODELS; do
	name=debian-${model//\//}
	record "$name" "$model" || continue
	[ -n "${RINGSIDE_QUICK-}" ] && [ "$model" != 0/1/3 ] && continue
	replay "$name" "$model"
	unobserved "$name" "$model"
done
[ -n "${RINGSIDE_QUICK-}" ] || lockstep
trace=$scratch/debian-013.trace
if [ -s "$trace" ]; then
	check_trace "$trace"
	if [ -z "${RINGSIDE_QUICK-}" ] && record again 0/1/3 interp; then
		first=$(digest "$trace") second=$(digest "$scratch/again.trace")
		if [ -n "$first" ] && [ "$first" != null ] && [ "$first" = "$second" ]; then
			pass
		else
			fail "recordings by two engines have digests '$first' and '$second'" "$repeat; $RINGSIDE trace info /tmp/debian.trace"
		fi
	fi
fi
done_checks
