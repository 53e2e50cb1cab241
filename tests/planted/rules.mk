# rules.mk - what tests/check/23-planted.sh and 24-maker.sh need, with something planted in it: $(BUILD)/planted/ringside, whose RDTSC handler can be slowed
# down; $(BUILD)/planted/extra.elf, the guest `count` with one CLI more; $(BUILD)/planted/foreign, which makes a trace one of another maker's processor.
# Included by the top Makefile.

TEST_PROGRAMS += $(BUILD)/planted/ringside $(BUILD)/planted/foreign
GUESTS += $(BUILD)/planted/extra.elf

$(BUILD)/planted/ringside: $(BUILD)/tests/planted/slow.o $(BUILD)/tools/main.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_FLAGS) $(LDFLAGS) -Wl,--wrap=emul_rdtsc -o $@ $^ $(LIBS)

$(BUILD)/planted/foreign: $(BUILD)/tests/planted/foreign.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/planted/extra.o: tests/guests/count/main.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) -DPLANTED='"cli"' -MMD -MP -c $< -o $@

$(BUILD)/planted/extra.elf: $(BUILD)/planted/extra.o $(GUEST_LIB_OBJECTS) $(GUEST_DIR)/lib/guest.ld
	$(call say,LD,$@)
	$(Q)$(GUEST_LD) -m elf_i386 --no-warn-rwx-segments -T $(GUEST_DIR)/lib/guest.ld -o $@ $(GUEST_LIB_OBJECTS) $<
