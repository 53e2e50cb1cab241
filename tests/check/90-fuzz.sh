#!/bin/bash
# Every fuzz target for five seconds: long enough to find what is easy to find. `make fuzz` is the real thing.
[ -d build-fuzz/fuzz ] || { echo "the fuzz targets are not built (make fuzz-build)"; exit 77; }
# The same inputs first each time; SEED=N or SEED=random for others.
SECONDS_EACH=${RINGSIDE_QUICK:+2}
SEED=${SEED:-1}
FUZZ_SEED=${SEED/random/0} SECONDS_EACH=${SECONDS_EACH:-5} exec tests/fuzz.sh
