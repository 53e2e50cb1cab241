#!/bin/bash
# bench-nano.sh - what one operation costs, in cycles, loop taken off: on the bare host where a program may do it, and in a guest (tests/guests/nano) in
# every engine, trap mode and ring model.
#
# Adams and Agesen's nanobenchmarks (2006) come first, then kvm-unit-tests' vmexit loops, then what is special here. A guest's figure is the vCPU
# thread's processor time, which other work on the machine disturbs least: the least of ROUNDS runs, less that of an empty loop. Called by `make bench`.
# Environment: BUILD (build), ROUNDS (3), TIMES (50000, operations a run; faults a fifth of it), OPS (all), OUT (a file for the table as TSV).
# Exit: 0, or 1 when a guest failed.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build}
rounds=${ROUNDS:-3}
times=${TIMES:-50000}
ringside=$build/ringside
work=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

# name, the loop that is taken off, what it is
table="syscall	empty3	system call: INT 0x80 and IRET; natively SYSCALL
sysenter	empty3	system call: SYSENTER and SYSEXIT
in	empty	IN from port 0x80
cr0write	empty	MOV from and to CR0; stands for CR8, which 32-bit code has not
cr3write	empty	MOV from and to CR3: a TLB flush
callret	empty	CALL and RET
pgfault	empty	page fault, its handler skips the load; natively a SIGSEGV
divzero	empty	divide by zero, its handler skips it; natively a SIGFPE
ptemod	empty	change a PTE, INVLPG, use the page; natively mprotect()
ptewrite	empty	change a PTE
cpuid	empty	CPUID
inl	empty	IN of 4 bytes from a port nobody has (inl_from_qemu)
inpic	empty	IN from the 8259 (inl_from_kernel)
outpic	empty	OUT to the 8259 (outl_to_kernel)
out	empty	OUT to port 0x80
rdmsr	empty	RDMSR
wrmsr	empty	WRMSR
invlpg	empty	INVLPG (tlb_flush of one page)
rdtsc	empty	RDTSC
cr0read	empty	MOV from CR0
clisti	empty	STI and CLI
pushfpopf	empty	PUSHF and POPF
sgdt	empty	SGDT"
ways=("interp" "translate --trap call" "translate --trap fault")
models=(0/1/3 0/3/3)
ops=${OPS:-$(cut -f1 <<<"$table")}

# run OP N FILE OPTIONS...: appends the run's processor time in ns
run() {
	local op=$1 n=$2 file=$3 rc=0
	shift 3
	"$ringside" run --memory 32M --serial none --format json --append "op=$op n=$n" "$@" "$build/guests/nano.elf" </dev/null >/dev/null 2>"$work/err" || rc=$?
	if [ $rc -ne 33 ]; then
		echo "bench-nano: $op failed with status $rc: $ringside run --append 'op=$op n=$n' $* $build/guests/nano.elf" >&2
		exit 1
	fi
	jq -r .cpu_ns "$work/err" >>"$file"
}

least() { sort -n "$1" | head -n 1; }

# figures MODEL WAY TIMES: lines "OP NS" to $work/MODEL.WAY, in the present round's files
figures() {
	local model=$1 way=$2 n=$3 op key="${1//\//}.${2// /_}"
	for op in empty empty3 $ops; do
		case $op in callret | ptewrite) n=$((times * 20)) ;; *) n=$3 ;; esac
		# shellcheck disable=SC2086
		run "$op" "$n" "$work/$key.$op" --model "$model" --engine $way
	done
	# the loops that are taken off run as often as what they are taken off from
	n=$((times * 20))
	# shellcheck disable=SC2086
	run empty "$n" "$work/$key.many" --model "$model" --engine $way
}

for i in $(seq "$rounds"); do
	[ -t 2 ] && printf '\rround %d of %d' "$i" "$rounds" >&2
	for model in "${models[@]}"; do
		for way in "${ways[@]}"; do
			case $way in *fault) figures "$model" "$way" $((times / 5)) ;; *) figures "$model" "$way" "$times" ;; esac
		done
	done
done
[ -t 2 ] && printf '\r\033[K' >&2
"$build/nano/native" >"$work/native"
hz=$("$ringside" record -f -o "$work/t.trace" --serial none "$build/guests/nano.elf" </dev/null >/dev/null 2>&1 || true
	"$ringside" profile --format json "$work/t.trace" | jq .trace.tsc_hz)

# cell MODEL WAY OP: cycles an operation
cell() {
	local key="${1//\//}.${2// /_}" base n=$times
	base=$(awk -F'\t' -v op="$3" '$1 == op { print $2 }' <<<"$table")
	case $2 in *fault) n=$((times / 5)) ;; esac
	case $3 in callret | ptewrite) base=many n=$((times * 20)) ;; esac
	awk "BEGIN { v = ($(least "$work/$key.$3") - $(least "$work/$key.$base")) * $hz / 1e9 / $n; printf \"%.0f\", (v > 0 ? v : 0) }"
}

echo "Nanobenchmarks: cycles an operation, loop taken off ($rounds rounds, least; $times operations a run, a fifth under --trap fault)"
printf '%-10s %8s |%29s |%29s |%8s\n' '' '' 'model 0/1/3          ' 'model 0/3/3          ' 'fault'
printf '%-10s %8s |%9s %9s %9s |%9s %9s %9s |%8s  %s\n' OPERATION native interp call fault interp call fault '/ call' 'what it is'
[ -z "${OUT-}" ] || printf 'op\tnative\tinterp013\tcall013\tfault013\tinterp033\tcall033\tfault033\n' >"$OUT"
for op in $ops; do
	cells=()
	for model in "${models[@]}"; do
		for way in "${ways[@]}"; do cells+=("$(cell "$model" "$way" "$op")"); done
	done
	native=$(awk -v op="$op" '$1 == op { printf "%.0f", $2 }' "$work/native")
	ratio=$(awk -v fault="${cells[2]}" -v call="${cells[1]}" 'BEGIN { if (call > 0) printf "%.1f", fault / call; else printf "-" }')
	printf '%-10s %8s |%9s %9s %9s |%9s %9s %9s |%7sx  %s\n' "$op" "${native:--}" "${cells[@]}" "$ratio" \
		"$(awk -F'\t' -v op="$op" '$1 == op { print $3 }' <<<"$table")"
	[ -z "${OUT-}" ] || (IFS=$'\t'; echo "$op	${native:--}	${cells[*]}") >>"$OUT"
done
cat <<END
native -: needs ring 0, which a program has not; there such an instruction is a fault: $(awk '$1 == "fault" { printf "%.0f", $2 }' "$work/native") cycles to a handler and back.
Not possible on this processor model, which is 32-bit and has no local APIC, so left out: vmcall and hypercall (no virtualization extension is shown),
mov_from_cr8 and mov_to_cr8 (64-bit; cr0write stands for it), wr_kernel_gs_base (64-bit; wrmsr stands for it), inl_from_pmtimer (there is no ACPI timer;
inl), ipi, self_ipi and x2apic loops (one processor, no APIC), rd/wr_tsc_adjust, ibpb, tsx (MSRs it has not), mmio loops of PCI devices (no PCI).
END
