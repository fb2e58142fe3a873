#!/bin/bash
# run_tests.sh BUILD - runs every suite: BUILD/tests/test_*, BUILD/tests/f64_*, tests/program/*.sh. One line a suite; the whole output of
# one that fails; exit status 1 if any failed. TEST_TIMEOUT (seconds a suite, 240), TEST_ONLY (pattern of suite names).
set -u
[ $# -eq 1 ] && [ -d "$1" ] || { echo "usage: scripts/run_tests.sh BUILD_FOLDER (build it first: make all tests)" >&2; exit 2; }
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
export INFINIBENCH="$build/infinibench"
# Measuring the machine's roof takes longer than most trainings of the tests.
export INFINIBENCH_TEST_ROOF=50
limit=${TEST_TIMEOUT:-240}
case "$build" in */asan) limit=${TEST_TIMEOUT:-900} ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 names=""

one() { # name, command: output and status go to files of that name
    local name=$1 start=$EPOCHREALTIME status=0
    shift
    timeout --kill-after=5 "$limit" "$@" >"$work/$name.out" 2>&1 </dev/null || status=$?
    echo "$status" >"$work/$name.status"
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }' >"$work/$name.time"
}
report() {
    local name=$1 status seconds tests
    status=$(cat "$work/$name.status")
    seconds=$(cat "$work/$name.time")
    tests=$(sed -n -e 's/.*\[  PASSED  \] \([0-9]*\) test.*/\1 tests/p' -e 's/^\([0-9]* checks\), 0 failed$/\1/p' "$work/$name.out" | tail -n 1)
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %-32s %7s s  %s\n' "$name" "$seconds" "$tests"
    else
        failed=$((failed + 1))
        names="$names $name"
        printf 'FAILED  %-32s %7s s  %s\n' "$name" "$seconds" \
            "$([ "$status" -eq 124 ] || [ "$status" -eq 137 ] && echo "stopped after $limit s" || echo "exit status $status")"
        sed 's/^/    /' "$work/$name.out"
    fi
}

suites=()
shopt -s nullglob
for f in "$build"/tests/test_* "$build"/tests/f64_* tests/program/*.sh; do
    case "$f" in *.o | *.d | */tests/program/lib.sh | tests/program/lib.sh) continue ;; esac
    [ -x "$f" ] || [ "${f##*.}" = sh ] || continue
    name=$(basename "$f" .sh)
    # Binaries of suites that are gone from the tree are not run.
    case "$f" in "$build"/*) [ -e "tests/$name.c" ] || continue ;; esac
    # shellcheck disable=SC2254
    case "$name" in ${TEST_ONLY:-*}) suites+=("$f") ;; esac
done
[ ${#suites[@]} -gt 0 ] || { echo "run_tests.sh: no suite matches '${TEST_ONLY:-*}' in $build/tests and tests/program" >&2; exit 2; }

for f in "${suites[@]}"; do
    name=$(basename "$f" .sh)
    if [ "${f##*.}" = sh ]; then one "$name" bash "$f"; else one "$name" "$f"; fi
    report "$name"
done
echo "$passed passed, $failed failed${names:+:$names}"
[ "$failed" -eq 0 ]
