#!/bin/bash
# fuzzers.sh - the fuzzers of tests/fuzz fit the program: a compiler accepts them. make fuzz builds (clang) and runs them.
. "$(dirname "$0")/lib.sh"
for f in "$ROOT"/tests/fuzz/fuzz_*.c; do
    holds "$f compiles" cc -std=gnu11 -Wall -Wextra -Wshadow -Werror -Wno-unknown-pragmas -fsyntax-only -I "$ROOT" "$f"
done
# A name that is none would be a run without a finding.
checks=$((checks + 1)) found=0
FUZZ_ONLY=csv bash "$ROOT/scripts/fuzz.sh" >out.txt 2>err.txt || found=$?
[ $found -eq 2 ] || say_failed "fuzz.sh without a fuzzer ends with $found, expected 2"
holds "it says so" grep -q "^fuzz.sh: no fuzzer of tests/fuzz is called 'csv'" err.txt
finish
