#!/bin/bash
# guests.sh [--refresh] - fetch Debian's i386 kernel and busybox, unpack them without installing, build an initramfs.
#
# Leaves in build/debian: vmlinuz, System.map (addresses as with `nokaslr` on the guest's command line), initramfs.gz, VERSIONS (what it is, with hashes). It uses the host's own apt sources and keys, but an apt
# state of its own: nothing of the host changes, and root is not needed. apt checks every package against the archive's signed index.
# When everything is already there and its hashes are right, nothing is fetched (--refresh looks for newer ones).
# Exit status: 0 done; 77 cannot be fetched here and is not there; 5 something else failed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/debian
cache=$out/cache
state=$out/apt
init=tests/initramfs

say() { echo "ringside: guests: $*"; }
fail() { echo "ringside: guests: $*" >&2; exit 5; }
unavailable() {
	printf 'ringside: guests: %s\n' "$@" "THE DEBIAN GUEST IS NOT AVAILABLE: its packages are not in $cache and could not be fetched" >&2
	exit 77
}

for tool in apt-get dpkg-deb perl gzip xz sha256sum; do
	command -v $tool >/dev/null || unavailable "$tool is missing; this needs Debian or a relative"
done

# What the outputs are made of: the packages, and our own files.
recipe() { cat tools/guests.sh tools/busybox.sh $init/* | sha256sum | cut -d' ' -f1; }
packages_good() { [ -s $cache/SHA256SUMS ] && (cd $cache && sha256sum --quiet -c SHA256SUMS) >/dev/null 2>&1; }
outputs_good() {
	[ -s $out/VERSIONS ] && grep -qx "recipe $(recipe)" $out/VERSIONS &&
		(cd $out && sed -n 's/^sha256 //p' VERSIONS | sha256sum --quiet -c -) >/dev/null 2>&1
}

# An apt that sees the host's sources and keys, for i386 alone, and writes only below $state.
private_apt() {
	mkdir -p $state/lists/partial $state/archives/partial $cache
	: >$state/status
	cat >$state/apt.conf <<-END
		APT::Architecture "i386";
		APT::Architectures { "i386"; };
		APT::Sandbox::User "";
		Dir::State "$PWD/$state";
		Dir::State::status "$PWD/$state/status";
		Dir::State::lists "$PWD/$state/lists";
		Dir::Cache "$PWD/$state";
		Dir::Cache::archives "$PWD/$state/archives";
		Acquire::Languages "none";
		Acquire::Retries "2";
		APT::Update::Post-Invoke { };
		APT::Update::Post-Invoke-Success { };
		DPkg::Post-Invoke { };
	END
	export APT_CONFIG=$PWD/$state/apt.conf
}

# The versioned kernel package that the metapackage stands for.
kernel_package() {
	apt-cache show linux-image-686 2>/dev/null | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*-686\)\>.*/\1/p' | head -n 1
}

fetch() {
	local kernel log=$state/log
	private_apt
	say "reading the package index"
	# A mirror may fail in part: what counts is whether the packages can be had.
	apt-get -q update >$log 2>&1 || true
	kernel=$(kernel_package)
	[ -n "$kernel" ] || { tail -n 5 $log >&2; return 1; }
	say "fetching $kernel and busybox-static"
	rm -rf $cache.new
	mkdir -p $cache.new
	(cd $cache.new && apt-get -q download "$kernel" busybox-static) >$log 2>&1 || { tail -n 5 $log >&2; rm -rf $cache.new; return 1; }
	(cd $cache.new && sha256sum -- *.deb >SHA256SUMS)
	rm -rf $cache
	mv $cache.new $cache
}

unpack() {
	rm -rf $out/root
	mkdir -p $out/root
	for deb in $cache/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C $out/root --wildcards --no-same-owner './boot/*' 2>/dev/null || true
	done
	cp $out/root/boot/vmlinuz-*-686 $out/vmlinuz || fail "no kernel in the package"
	tools/busybox.sh $out/root >/dev/null || fail "no busybox in the package"
}

# Names for profiles and divergences; the package's own System.map is an empty shell.
symbols() {
	perl $init/kallsyms.pl $out/vmlinuz >$out/System.map || fail "no symbol table in $out/vmlinuz"
}

initramfs() {
	perl $init/newc.pl <<-END | gzip -9n >$out/initramfs.gz
		dir dev 755
		node dev/console 600 5 1
		node dev/null 666 1 3
		dir bin 755
		file bin/busybox 755 $out/root/busybox
		link bin/sh busybox
		file init 755 $init/init
	END
}

versions() {
	for deb in $cache/*.deb; do
		echo "package $(dpkg-deb -f "$deb" Package) $(dpkg-deb -f "$deb" Version) $(sha256sum <"$deb" | cut -d' ' -f1)"
	done
	echo "recipe $(recipe)"
	(cd $out && sha256sum vmlinuz System.map initramfs.gz | sed 's/^/sha256 /')
}

main() {
	[ "${1-}" != --refresh ] || rm -rf $out/VERSIONS $cache
	if outputs_good; then
		say "$out is up to date"
		return
	fi
	packages_good || fetch || unavailable "no network, or the archive does not have them"
	packages_good || fail "the packages in $cache changed while they were read"
	unpack
	symbols
	initramfs
	versions >$out/VERSIONS.new
	mv $out/VERSIONS.new $out/VERSIONS
	rm -rf $out/root
	sed -n 's/^package/ringside: guests: have/p' $out/VERSIONS
}
main "$@"
