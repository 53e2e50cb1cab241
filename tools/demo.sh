#!/bin/bash
# demo.sh - record a guest kernel, replay it, print what each fault cost. `make demo` builds first and calls this.
set -eu
cd "$(dirname "$0")/.."
ringside=${BUILD:-build}/ringside
guest=${BUILD:-build}/guests/demo.elf
out=${BUILD:-build}/demo
mkdir -p "$out"

step() { printf '\n\033[1m== %s\033[0m\n\n' "$1"; }
[ -t 1 ] || step() { printf '\n== %s\n\n' "$1"; }
run() { echo "\$ $*"; "$@"; }

step "1. Record a kernel whose ring 0 really runs in ring 1"
run "$ringside" record -o "$out/demo.trace" --force "$guest" </dev/null

step "2. Replay it: no guest file, no devices, every event verified, the console the same byte for byte"
run "$ringside" replay "$out/demo.trace"
"$ringside" replay --serial stdio "$out/demo.trace" 2>/dev/null | tail -n 3

step "3. What each fault cost"
run "$ringside" profile --by insn,port,vector --limit 12 --symbols "$guest" --plot "$out/cost.png" --plot "$out/cost.svg" "$out/demo.trace"

step "Next"
cat <<END
plots:                      $out/cost.png  $out/cost.svg
where in the kernel:        $ringside profile --by symbol,site --symbols $guest $out/demo.trace
every event:                $ringside trace dump $out/demo.trace | less
ring compression instead:   $ringside record -f -o $out/033.trace --model 0/3/3 $guest
what bare ring 1 would see: $ringside run --sensitive leak $guest
a real kernel:              make guests && $ringside record -o boot.trace --append 'console=ttyS0 nokaslr' \\
                              --initrd build/debian/initramfs.gz build/debian/vmlinuz
all tests:                  make check
END
