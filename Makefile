# Ringside. `make help` lists what can be asked for.
#
# Every .c under the five source folders is picked up by wildcard; objects go to $(BUILD). Nothing is asked of the machine while this file is
# parsed (no pkg-config, no compiler), so that `make demo` and `make check` work where only git and make are there: they install first.
#
# Variables: CC (gcc; clang works), O (-O2), BUILD (build), SAN (sanitizers, e.g. address,undefined), T (run only tests
# matching this), SECONDS (make fuzz), V=1 (show whole commands).
# Folders of tests with something of their own to build do it in tests/*/rules.mk: add programs to TEST_PROGRAMS.

ifeq ($(origin CC),default)
CC := gcc
endif
O ?= -O2
BUILD ?= build
SAN ?=
T ?=
SECONDS ?= 60
SHELL := /bin/bash
Q := $(if $(V),,@)
say = @printf '%-4s %s\n' $(1) $(2)
.DELETE_ON_ERROR:

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla -Werror
BASE_FLAGS := -std=gnu11 -g -D_GNU_SOURCE -pthread -I. -I$(BUILD)
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_FLAGS = $(BASE_FLAGS) $(O) $(WARNINGS) $(SAN_FLAGS) $(CFLAGS)
LIBS := -lZydis -llmdb -lprotobuf-c -lzstd -lxxhash -lcjson -lpopt -lelf -llzma -lz -lm

SOURCES := $(sort $(foreach d,vmm recorder replayer profiler tools,$(wildcard $(d)/*.c $(d)/*/*.c)))
PROTOS := $(wildcard schemas/*.proto)
PB_SOURCES := $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
PB_HEADERS := $(PB_SOURCES:.c=.h)
LIB := $(BUILD)/libringside.a
LIB_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tools/main.c,$(SOURCES))) $(PB_SOURCES:.c=.o)
UNIT := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
TEST_PROGRAMS :=
GUESTS :=

# Recursive calls use all processors unless the caller said how many.
J = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
AGAIN = $(MAKE) --no-print-directory $(J)
SAN_MAKE = $(AGAIN) BUILD=build-san SAN=address,undefined O=-O1
FUZZ_MAKE = $(AGAIN) BUILD=build-fuzz CC=clang SAN=fuzzer-no-link,address,undefined O=-O1

.PHONY: all setup demo check check-unit check-guests check-san tests run-tests lint format fuzz fuzz-build fuzz-programs bench pages guests clean help FORCE
all: $(BUILD)/ringside

include $(wildcard tests/*/rules.mk)

help:
	@echo 'make             build $(BUILD)/ringside'
	@echo 'make demo        install what is missing, build, record a guest kernel, replay it, print what each fault cost'
	@echo 'make check       install what is missing, build, run every test; T=NAME runs those whose name contains NAME'
	@echo 'make check-unit  the unit tests alone; check-guests: the guest kernels alone'
	@echo 'make check-san   the tests under AddressSanitizer and UndefinedBehaviorSanitizer (build-san/)'
	@echo 'make lint        warnings of two compilers, layering, headers, format, static analysis'
	@echo 'make format      clang-format over the tree'
	@echo 'make fuzz        every fuzz target, and random programs, for SECONDS=60 each'
	@echo 'make bench       the figures of record, replay, profile, trace size, comparisons and single operations, beside QEMU where it is installed'
	@echo 'make pages       record the Debian boot and write profiler/pages: its text report, plots, HTML report'
	@echo 'make guests      fetch the Debian kernel and busybox, build the initramfs (build/guests/)'
	@echo 'make setup       install the packages this needs'
	@echo 'make clean       remove build folders'
	@echo 'CC=clang, O=-O0, CFLAGS=... as usual'

# ---- what a stranger types: installs first, then a make that may look at the machine -------------------------------------------------------

setup:
	@tools/setup.sh

demo: setup
	+@$(AGAIN) all $(BUILD)/guests/demo.elf
	@BUILD=$(BUILD) tools/demo.sh

check: setup
	+@$(AGAIN) run-tests

bench: setup
	+@$(AGAIN) all guests $(BUILD)/guests/storm.elf $(BUILD)/guests/nano.elf $(BUILD)/nano/native $(BUILD)/bench/loops $(BUILD)/guests/count.elf $(BUILD)/planted/ringside
	@rc=0; for b in bench bench-user bench-debug bench-profile bench-compare bench-nano; do BUILD=$(BUILD) tools/$$b.sh || rc=$$?; done; exit $$rc

# Records the boot once and measures it ten times more: some minutes.
pages: setup
	+@$(AGAIN) all guests
	@BUILD=$(BUILD) tools/pages.sh

guests: setup
	@BUILD=$(BUILD) tools/guests.sh

# ---- tests ---------------------------------------------------------------------------------------------------------------------------------

tests: all $(UNIT) $(TEST_PROGRAMS) $(GUESTS)

# The fuzz targets are a build of their own: only where they are going to run.
run-tests: tests $(if $(T),$(if $(findstring fuzz,$(T)),fuzz-build),fuzz-build)
	@BUILD=$(BUILD) tests/run.sh '$(T)'

check-unit: all $(UNIT)
	@BUILD=$(BUILD) tests/run.sh unit/

check-guests: tests
	@BUILD=$(BUILD) tests/run.sh guests

# Sanitizers make everything several times slower: scripts see RINGSIDE_QUICK=1 and leave out repetition, not kinds of tests.
check-san: setup
	+@$(SAN_MAKE) tests
	@BUILD=build-san RINGSIDE_QUICK=1 tests/run.sh '$(T)'

fuzz-build:
	+@$(FUZZ_MAKE) fuzz-programs

fuzz-programs: $(FUZZ)

fuzz: setup
	+@$(AGAIN) tests fuzz-build
	@FUZZ=build-fuzz/fuzz SECONDS_EACH=$(SECONDS) LONG_PROGRAMS=1 tests/fuzz.sh

lint: setup
	+@$(AGAIN) -s $(PB_HEADERS)
	@BUILD=$(BUILD) tools/lint/lint.sh

format:
	@git ls-files -z '*.c' '*.h' | xargs -0 clang-format -i

clean:
	rm -rf build build-san build-fuzz

# ---- how things are made -------------------------------------------------------------------------------------------------------------------

# Changes when the compiler or its flags do, and then everything is made again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_FLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_FLAGS)' > $@
-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

$(BUILD)/%.pb-c.c $(BUILD)/%.pb-c.h &: %.proto
	@mkdir -p $(@D)
	$(call say,PB,$<)
	$(Q)protoc-c --c_out=$(BUILD) -I. $<

$(BUILD)/%.o: %.c $(BUILD)/flags | $(PB_HEADERS)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_FLAGS) -MMD -MP -c -o $@ $<

# loops over a chunk's columns, which only this turns into vector code
$(BUILD)/recorder/codec.o: O := $(if $(filter -O2,$(O)),-O3,$(O))

$(BUILD)/schemas/%.o: $(BUILD)/schemas/%.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_FLAGS) $(O) $(SAN_FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^

$(BUILD)/ringside: $(BUILD)/tools/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_FLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
.SECONDARY:

$(BUILD)/fuzz/%: tests/fuzz/%.c $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(subst fuzzer-no-link,fuzzer,$(ALL_FLAGS)) -Wno-missing-prototypes -MMD -MP -o $@ $< $(LIB) $(LIBS)
