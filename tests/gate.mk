# gate.mk - the accuracy gate (docs/ci.md) and the program with planted faults that tests it. Part of the Makefile.
# Faults planted for make check-power (harness/faults.h): what has one is compiled once more, the rest is that of the product.
FAULTY := $(shell grep -rlE 'include ".*faults.h"' --include=*.c harness baselines tasks)
FAULTY_O := $(patsubst %.c,%.o,$(filter-out $(VEC),$(FAULTY))) $(foreach i,$(ISAS),$(patsubst %.c,%.$(i).o,$(filter $(VEC),$(FAULTY))))
FAULTS_BIN := $(B)/faults/infinibench

.PHONY: check check-power check-clean check-measure
check check-clean check-measure: deps
	@$(MAKE) --no-print-directory -j2 all
	@scripts/prepare_kjv.sh build/data/kjv
	@scripts/check.sh $(patsubst check,gate,$(@:check-%=%)) $(B)
check-power: deps
	@$(MAKE) --no-print-directory -j2 all $(FAULTS_BIN)
	@scripts/prepare_kjv.sh build/data/kjv
	@scripts/check.sh power $(B)

$(FAULTS_BIN): $(B)/harness/main.o $(filter-out $(FAULTY_O:%=$(B)/%),$(LIB_O)) $(FAULTY_O:%=$(B)/faults/%) $(B)/tests/faults.o
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS)
define FAULTY_VEC_RULE
$(B)/faults/%.$(1).o: %.c $(B)/flags
	@mkdir -p $$(@D)
	$(Q)$$(CC) $$(CFLAGS_ALL) $(ISA_FLAGS_$(1)) -DISA=$(1) -DINFINIBENCH_FAULTS -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call FAULTY_VEC_RULE,$(i))))
$(B)/faults/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -DINFINIBENCH_FAULTS -c -o $@ $<
