# rules.mk - builds $(BUILD)/nano/native, the host's side of the nanobenchmarks. Included by the top Makefile.

TEST_PROGRAMS += $(BUILD)/nano/native

$(BUILD)/nano/native: tests/nano/native.c
	@mkdir -p $(@D)
	$(CC) $(ALL_FLAGS) -o $@ $<
