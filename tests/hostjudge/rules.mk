# rules.mk - builds $(BUILD)/hostjudge/judge and its 32-bit helper. Included by the top Makefile.

HOSTJUDGE_HELPER_CFLAGS := -m32 -march=i686 -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-stack-protector -mgeneral-regs-only \
	-fcf-protection=none -fno-strict-aliasing -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror -I.
HOSTJUDGE_HELPER_LDFLAGS := -no-pie -static -nostdlib -Wl,-Ttext-segment=0x70000000,--build-id=none,-z,noexecstack
TEST_PROGRAMS += $(BUILD)/hostjudge/judge $(BUILD)/hostjudge/helper

$(BUILD)/hostjudge/helper: tests/hostjudge/helper.c tests/hostjudge/case.h
	@mkdir -p $(@D)
	gcc $(HOSTJUDGE_HELPER_CFLAGS) $(HOSTJUDGE_HELPER_LDFLAGS) -o $@ $<

$(BUILD)/hostjudge/judge: $(BUILD)/tests/hostjudge/judge.o $(BUILD)/tests/hostjudge/gen.o $(BUILD)/libringside.a
	@mkdir -p $(@D)
	$(CC) $(ALL_FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
