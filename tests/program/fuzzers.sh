#!/bin/bash
# fuzzers.sh - the fuzzers of tests/fuzz fit the program: a compiler accepts them. make fuzz builds (clang) and runs them.
. "$(dirname "$0")/lib.sh"
for f in "$ROOT"/tests/fuzz/fuzz_*.c; do
    holds "$f compiles" cc -std=gnu11 -Wall -Wextra -Wshadow -Werror -Wno-unknown-pragmas -fsyntax-only -I "$ROOT" "$f"
done
finish
