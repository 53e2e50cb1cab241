# rules.mk - builds every folder here except lib into $(BUILD)/guests/FOLDER.elf, a Multiboot kernel. Included by the top Makefile.
# Guests other than the demo share the small runtime in lib/. Freestanding 32-bit code: no FPU or SSE instruction comes from the compiler.

GUEST_DIR := tests/guests
BUILD ?= build
GUEST_OUT = $(BUILD)/guests
GUEST_CC ?= gcc
GUEST_LD ?= ld
GUEST_CFLAGS := -m32 -march=i686 -mno-mmx -mno-sse -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing -fno-common --param=min-pagesize=0 \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror -Itests/guests/lib
GUEST_NAMES := $(filter-out lib,$(notdir $(patsubst %/,%,$(wildcard $(GUEST_DIR)/*/))))
GUESTS += $(GUEST_NAMES:%=$(GUEST_OUT)/%.elf)

guest_objects = $(patsubst $(GUEST_DIR)/%,$(GUEST_OUT)/obj/%.o,$(wildcard $(GUEST_DIR)/$(1)/*.[cS] $(GUEST_DIR)/$(1)/*/*.[cS]))
GUEST_LIB_OBJECTS := $(call guest_objects,lib)

$(GUEST_OUT)/obj/%.c.o: $(GUEST_DIR)/%.c
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(GUEST_OUT)/obj/%.S.o: $(GUEST_DIR)/%.S
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(GUEST_OUT)/demo.elf: $(call guest_objects,demo) $(GUEST_DIR)/demo/demo.ld
	$(GUEST_LD) -m elf_i386 --no-warn-rwx-segments -T $(GUEST_DIR)/demo/demo.ld -o $@ $(call guest_objects,demo)

define guest_rule
$(GUEST_OUT)/$(1).elf: $(call guest_objects,$(1)) $(GUEST_LIB_OBJECTS) $(GUEST_DIR)/lib/guest.ld
	$(GUEST_LD) -m elf_i386 --no-warn-rwx-segments -T $(GUEST_DIR)/lib/guest.ld -o $$@ $(GUEST_LIB_OBJECTS) $(call guest_objects,$(1))
endef
$(foreach g,$(filter-out demo,$(GUEST_NAMES)),$(eval $(call guest_rule,$(g))))

# Some of them once more into lines/, for debuggers: every line of C is one piece of code, and a call is a call.
LINE_GUESTS := demo exc gates paging rep smc step tasks timer
GUESTS += $(LINE_GUESTS:%=$(GUEST_OUT)/lines/%.elf)
line_objects = $(patsubst $(GUEST_OUT)/obj/%,$(GUEST_OUT)/lines/obj/%,$(call guest_objects,$(1)))

$(GUEST_OUT)/lines/obj/%.c.o: $(GUEST_DIR)/%.c
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -O0 -MMD -MP -c $< -o $@

$(GUEST_OUT)/lines/obj/%.S.o: $(GUEST_DIR)/%.S
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(GUEST_OUT)/lines/demo.elf: $(call line_objects,demo) $(GUEST_DIR)/demo/demo.ld
	$(GUEST_LD) -m elf_i386 --no-warn-rwx-segments -T $(GUEST_DIR)/demo/demo.ld -o $@ $(call line_objects,demo)

define line_guest_rule
$(GUEST_OUT)/lines/$(1).elf: $(call line_objects,$(1)) $(call line_objects,lib) $(GUEST_DIR)/lib/guest.ld
	$(GUEST_LD) -m elf_i386 --no-warn-rwx-segments -T $(GUEST_DIR)/lib/guest.ld -o $$@ $(call line_objects,lib) $(call line_objects,$(1))
endef
$(foreach g,$(filter-out demo,$(LINE_GUESTS)),$(eval $(call line_guest_rule,$(g))))

.PHONY: guest-elfs
guest-elfs: $(GUESTS)

-include $(patsubst %.o,%.d,$(foreach g,lib $(GUEST_NAMES),$(call guest_objects,$(g)) $(call line_objects,$(g))))
