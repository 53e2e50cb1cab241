#!/bin/busybox sh
# user.sh - the workloads of tools/bench-user.sh, run by the same busybox on the host and in the guest: user.sh NAME..., each between two lines that tell.
# As process 1 it prepares the guest, runs what the kernel's command line says (workloads=NAME,NAME), and resets the machine.
if [ $$ -eq 1 ]; then
	bb=/bin/busybox
	$bb mkdir -p /proc /tmp
	$bb --install -s /bin
	export PATH=/bin
	mount -t proc proc /proc
	mount -t tmpfs tmp /tmp
	exec </dev/null >/dev/console 2>&1
	here=/bench
	cd /tmp
	set -- $(sed 's/.*workloads=\([^ ]*\).*/\1/; s/,/ /g' /proc/cmdline)
else
	bb=$BUSYBOX
	here=$(dirname "$0")
fi
loops=$here/loops

prepare() {
	case $1 in sha256sum | gzip) [ -s numbers ] || $bb seq 1 400000 >numbers ;; esac
}

work() {
	case $1 in
	sha256sum)
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do $bb sha256sum numbers; done >/dev/null
		;;
	gzip)
		for i in 1 2 3; do $bb gzip -c numbers; done >/dev/null
		;;
	shell)
		i=0 s=0
		while [ $i -lt 250000 ]; do
			i=$((i + 1))
			case $i in
			*7) s=$((s + i * 3)) ;;
			*) s=$((s ^ i)) ;;
			esac
		done
		;;
	awk)
		$bb awk 'BEGIN { for (i = 1; i <= 250000; i++) { x = i; for (k = 0; k < 4; k++) x = (x + i / x) / 2; s += x + 1 / (i * i) } printf "%.6f\n", s }' >/dev/null
		;;
	calls) $loops calls 1500000 ;;
	forks) $loops forks 3000 ;;
	faults) $loops faults 300000 ;;
	esac
}

for name in "$@"; do
	prepare "$name"
	echo "bench: begin $name"
	work "$name" || echo "bench: failed $name"
	echo "bench: end $name"
done
[ $$ -ne 1 ] || reboot -f
