#!/bin/bash
# busybox.sh DIR - unpack busybox from the packages of the Debian guest (tools/guests.sh fetches them) to DIR/busybox, and print its path. Exit: 0 done, 77 no such
# package is there.
set -euo pipefail
cd "$(dirname "$0")/.."

for deb in build/debian/cache/busybox-static_*.deb; do
	[ -e "$deb" ] || { echo "busybox: there is no package of it in build/debian/cache (make guests fetches it)" >&2; exit 77; }
	# it is in one of two places, by release
	dpkg-deb --fsys-tarfile "$deb" | tar -x -O --wildcards './bin/busybox' './usr/bin/busybox' >"$1/busybox" 2>/dev/null || true
done
[ -s "$1/busybox" ] || { echo "busybox: it is not in $deb" >&2; exit 77; }
chmod 755 "$1/busybox"
echo "$1/busybox"
