#!/bin/bash
# setup.sh - install what the build and the tests need, and only what is missing. Quick when nothing is.
#
# Called by make before anything looks for a compiler.
set -eu

# in lines: build, report, tests, lint, guests, bench
packages="gcc make libc6-dev libzydis-dev liblmdb-dev libprotobuf-c-dev protobuf-c-compiler libzstd-dev libxxhash-dev libcjson-dev
	libpopt-dev libelf-dev liblzma-dev zlib1g-dev
	gnuplot-nox
	gdb gcc-multilib libcmocka-dev jq lmdb-utils clang libclang-rt-dev protobuf-compiler
	clang-format clang-tidy cppcheck
	perl-base gzip xz-utils
	time"

fail() { echo "ringside: setup: $*" >&2; exit 5; }

command -v dpkg-query >/dev/null || fail "this is not Debian or a relative; install by hand what these are called here:" $packages
installed=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $packages 2>/dev/null | awk '$2 == "installed" { printf "%s ", $1 }')"
want=
for p in $packages; do
	[[ $installed == *" $p "* ]] || want+=" $p"
done
[ -n "$want" ] || exit 0

root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || fail "not root, and no sudo; ask who administers this machine for:$want"
	root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quiet() { "$@" >"$log" 2>&1 || { tail -n 15 "$log" >&2; fail "failed: $*"; }; }

echo "ringside: setup: installing$want"
quiet $root apt-get update
quiet $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $want
