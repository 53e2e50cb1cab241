# rules.mk - builds $(BUILD)/xlate/programs. Included by the top Makefile.

TEST_PROGRAMS += $(BUILD)/xlate/programs

$(BUILD)/xlate/programs: $(BUILD)/tests/xlate/programs.o $(BUILD)/tests/xlate/gen.o $(BUILD)/libringside.a
	@mkdir -p $(@D)
	$(CC) $(ALL_FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
