# rules.mk - builds $(BUILD)/bench/loops, an i386 program that runs on host and guest alike. Included by the top Makefile.

TEST_PROGRAMS += $(BUILD)/bench/loops

$(BUILD)/bench/loops: tests/bench/loops.c
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -static -nostdlib -Wl,--build-id=none -o $@ $<
