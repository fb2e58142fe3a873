# make help says what there is. Out of tree: build/CONFIG. `make CC=clang`, `make CONFIG=asan`, `make CUDA=0|1|auto`.
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := $(subst gcc,g++,$(subst clang,clang++,$(CC)))
endif
CONFIG ?= release
CUDA ?= auto
# make V=1 shows the commands.
Q := $(if $(V),,@)
B := build/$(CONFIG)
BIN := $(B)/infinibench
WARN := -Wall -Wextra -Wshadow -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unknown-pragmas
ifneq ($(findstring clang,$(CC)),)
WARN += -Wno-pass-failed # clang gives up vectorising at -O1
endif
OPT := -O3 -g -fno-math-errno -fno-trapping-math
ifeq ($(CONFIG),asan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDOPT := -fsanitize=address,undefined
endif
include harness/kernels/cuda/cuda.mk tests/hardening.mk
CFLAGS_ALL := -std=gnu11 $(OPT) $(WARN) -fopenmp -MMD -MP -I. -DBUILD_FLAGS='"$(CC) $(OPT)"' $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(OPT) $(filter-out -Wstrict-prototypes -Wmissing-prototypes,$(WARN)) -MMD -MP -I. $(CXXFLAGS)
LIBS = -lopenblas -ljansson -lxxhash -linih -lcsv -lz -lsentencepiece -lstdc++ -lm $(CUDA_LIBS)

# What objects are built with: another compiler, flag or CUDA setting builds them again.
FLAGS_NOW := $(CC) $(CXX) $(CFLAGS_ALL) $(CXXFLAGS_ALL) $(LDOPT) cuda $(WITH_CUDA) $(CUDA_ARCH)
export FLAGS_NOW

ISAS := base $(if $(filter x86_64 amd64,$(shell uname -m)),v3 v4)
ISA_FLAGS_base :=
ISA_FLAGS_v3 := -march=x86-64-v3
ISA_FLAGS_v4 := -march=x86-64-v4 -mprefer-vector-width=512
VEC := $(wildcard harness/kernels/cpu/vec/*.c)
ENGINE := $(wildcard harness/*.c baselines/*.c tasks/*.c)
ENGINE_LIB := $(filter-out harness/main.c,$(ENGINE))
CPU := $(wildcard harness/kernels/cpu/*.c)
VEC_O := $(foreach i,$(ISAS),$(VEC:%.c=$(B)/%.$(i).o))
SHIM_O := $(patsubst %.cc,$(B)/%.o,$(wildcard harness/*.cc))
LIB_O := $(ENGINE_LIB:%.c=$(B)/%.o) $(CPU:%.c=$(B)/%.o) $(VEC_O) $(SHIM_O) $(CUDA_O)
REF_O := $(patsubst %.c,$(B)/%.o,$(wildcard tests/ref/*.c))
SUPPORT_O := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c))
# The whole engine once more in double precision on the reference kernels: gradients by finite differences, golden states, oracles.
F64_O := $(patsubst %.c,$(B)/f64/%.o,$(ENGINE_LIB) harness/kernels/cuda_absent.c $(wildcard tests/ref/*.c tests/support/*.c)) $(SHIM_O)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(filter-out $(NO_TESTS),$(wildcard tests/test_*.c tests/f64_*.c)))

.PHONY: help all deps reproduce test bench plots asan clean distclean format
help:
	@echo "make reproduce  install what is missing, build, run tasks/experiments/quick.ini, quick-passkey.ini and quick-chronicle.ini into"
	@echo "                results/local, print tables, draw plots, compare with the committed results (under 20 minutes on two cores)"
	@echo "make test       install what is missing, build, run all tests"
	@echo "make all        build $(BIN)          make deps    install the libraries (Debian, Ubuntu)"
	@echo "make bench      kernels and training steps against this machine's own GEMM roof; streaming at 32K and 1M tokens;"
	@echo "                ROUGE, beside the Python package where it is installed"
	@echo "make plots      draw the pictures of every folder in results/ again"
	@echo "make check      the accuracy gate: trains every architecture for seconds, holds it against results/regression/expected.csv"
	@echo "                (docs/ci.md). Of the gate itself: make check-power plants faults that it must catch; make check-clean: ten"
	@echo "                other seeds must pass; make check-measure: expectations from 20 seeds"
	@echo "make test-cuda  the tests on a GPU; fails where there is none   make gpu-pack  all that a GPU machine needs, in one archive"
	@echo "make asan       all tests under address and undefined-behaviour sanitizers"
	@echo "make fuzz, stress, valgrind, tsan"
	@echo "                every parser of foreign input fuzzed, FUZZ_SECONDS=60 each (clang); 50 kills and a disk that is full at each write;"
	@echo "                the program under valgrind; its threads under ThreadSanitizer (clang): docs/reliability.md"
	@echo "make format     clang-format over the tree          make clean   remove what was built (distclean: models in training, prepared texts, build/gate too)"
	@echo "Variables: CC=gcc|clang  CONFIG=release|asan  CUDA=auto|0|1  CUDA_ARCH=\"80 90\"|native"
all: $(BIN)
deps:
	@scripts/deps.sh
define quick
$(BIN) run tasks/experiments/$(1).ini $(2) --out results/local/$(1)
@$(BIN) report results/local/$(1)
@echo; echo "Against the committed results:"
@$(BIN) compare results/local/$(1) results/$(1)
endef
reproduce: deps
	@$(MAKE) --no-print-directory -j2 all
	@scripts/prepare_kjv.sh build/data/kjv
	$(call quick,quick)
	$(call quick,quick-passkey,--jobs 2)
	$(call quick,quick-chronicle,--jobs 2)
	@echo; echo "A committed model of table3-micro (Infini-attention, linear, carried in), prompts of 32K tokens:"
	$(BIN) eval passkey --model results/table3-micro/models/infini_linear-s1-carried_in.safetensors --length 32K --samples 20
test: deps
	@$(MAKE) --no-print-directory -j2 all tests
	@scripts/prepare_kjv.sh build/data/kjv
	@scripts/run_tests.sh $(B)
.PHONY: tests
tests: $(BIN) $(TESTS)
bench: deps
	@$(MAKE) --no-print-directory -j2 all
	$(BIN) bench kernels
	$(BIN) bench train
	$(BIN) bench stream --only infini --context 32768,1048576
	$(BIN) bench rouge
	@scripts/prepare_kjv.sh build/data/kjv
	@if command -v python3 >/dev/null; then python3 scripts/bench_rouge.py; else echo "no python3: ROUGE is not compared with rouge_score"; fi
plots: all
	@for d in results/*/; do [ ! -f $$d/results.csv ] || $(BIN) report $$d || exit 1; done
asan: deps
	@$(MAKE) --no-print-directory -j2 CONFIG=asan all tests
	@scripts/prepare_kjv.sh build/data/kjv
	@scripts/run_tests.sh build/asan
format:
	@git ls-files '*.c' '*.h' '*.cc' | xargs clang-format -i
# Models in training, prepared texts and what check-measure has measured are work, not build products.
clean:
	rm -rf $(filter-out build/checkpoints build/data build/gate,$(wildcard build/*))
distclean:
	rm -rf build

$(BIN): $(B)/harness/main.o $(LIB_O)
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS)
$(B)/tests/test_%: $(B)/tests/test_%.o $(LIB_O) $(REF_O) $(SUPPORT_O)
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS) -lcmocka
# A suite with a registry of tasks of its own.
$(B)/tests/test_stages: $(B)/tests/test_stages.o $(filter-out %tasks/registry.o,$(LIB_O)) $(REF_O) $(SUPPORT_O)
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS) -lcmocka
$(B)/tests/test_cuda_emulated: $(B)/tests/test_cuda_emulated.o $(filter-out $(CUDA_O),$(LIB_O)) $(EMULATED_O) $(REF_O) $(SUPPORT_O)
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS) -lcmocka
$(B)/tests/f64_%: $(B)/f64/tests/f64_%.o $(F64_O)
	$(Q)$(CC) $(LDOPT) -fopenmp -o $@ $^ $(LIBS) -lcmocka
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(LIB_O)
	@mkdir -p $(@D)
	$(Q)$(CXX) -fsanitize=fuzzer $(LDOPT) -fopenmp -o $@ $< $(filter-out $(if $(findstring tokenizer,$*),%/tokenizer_sentencepiece.o),$(LIB_O)) $(LIBS)
.SECONDARY:
$(B)/flags: FORCE
	@mkdir -p $(@D); printf '%s\n' "$$FLAGS_NOW" | cmp -s - $@ || printf '%s\n' "$$FLAGS_NOW" >$@
.PHONY: FORCE
define VEC_RULE
$(B)/%.$(1).o: %.c $(B)/flags
	@mkdir -p $$(@D)
	$(Q)$$(CC) $$(CFLAGS_ALL) $(ISA_FLAGS_$(1)) -DISA=$(1) -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call VEC_RULE,$(i))))
$(B)/f64/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -DINFINI_REAL=double -c -o $@ $<
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<
$(B)/%.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS_ALL) -c -o $@ $<
include tests/gate.mk
-include $(shell find $(B) -name '*.d' 2>/dev/null)
