#!/bin/bash
# fuzzers.sh - the fuzzers of tests/fuzz fit the program: clang accepts them. make fuzz builds and runs them.
. "$(dirname "$0")/lib.sh"
if command -v clang >/dev/null; then
    for f in "$ROOT"/tests/fuzz/fuzz_*.c; do
        holds "$f compiles" clang -std=gnu11 -Wall -Wextra -Wshadow -Werror -fsyntax-only -I "$ROOT" "$f"
    done
else
    echo "there is no clang: the fuzzers were not compiled"
fi
finish
