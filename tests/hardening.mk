# hardening.mk - what looks for faults from outside (docs/reliability.md): its two kinds of build and its targets. Part of the Makefile.
.DEFAULT_GOAL := help
ifeq ($(CONFIG),fuzz)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LDOPT := -fsanitize=address,undefined
endif
ifeq ($(CONFIG),tsan)
OPT := -O1 -g -fsanitize=thread
LDOPT := -fsanitize=thread
endif
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz fuzzers stress valgrind tsan
fuzz:
	@scripts/fuzz.sh
fuzzers: $(FUZZERS)
stress: all
	@status=0; export INFINIBENCH=$(CURDIR)/$(BIN); KILLS=50 bash tests/program/kills.sh || status=1; \
	FULL=40 bash tests/program/faults.sh || status=1; exit $$status
valgrind: all
	@scripts/run_under.sh valgrind
tsan:
	@scripts/run_under.sh tsan
