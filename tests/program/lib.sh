# lib.sh - what the program tests share; sourced. Each suite works in a folder of its own, with a corpus that it makes.
# shellcheck shell=bash
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${INFINIBENCH:-$ROOT/build/release/infinibench}
[ -x "$BIN" ] || { echo "there is no program at $BIN; build it first: make all" >&2; exit 2; }
# Within a hook of git these name the repository that it is of; what the tests commit goes into repositories of their own.
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars 2>/dev/null)
# One thread: these tests are about what the program says and keeps, and other work may be running on the machine.
export OMP_NUM_THREADS=1
# Measuring the machine's roof takes longer than these trainings; what depends on it is no matter of these tests.
export INFINIBENCH_TEST_ROOF=50
WORK=$(mktemp -d "${TMPDIR:-/tmp}/infinibench-test-XXXXXX")
children=""
cleanup() {
    for pid in $children; do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$WORK"
}
trap cleanup EXIT
cd "$WORK" || exit 2
failures=0 checks=0

say_failed() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}
# wrong PATTERN ARGUMENTS...: the program ends with 2 and says one line "infinibench: ..." that holds PATTERN (extended expression).
wrong() {
    local pattern=$1 status=0
    shift
    checks=$((checks + 1))
    timeout 60 "$BIN" --quiet "$@" >"$WORK/out.txt" 2>"$WORK/err.txt" || status=$?
    if [ $status -ne 2 ]; then
        say_failed "exit status $status, expected 2: $*"
    elif [ "$(wc -l <"$WORK/err.txt")" -ne 1 ]; then
        say_failed "$(wc -l <"$WORK/err.txt") lines on standard error, expected 1: $*"
    elif ! grep -Eq "^infinibench: .*($pattern)" "$WORK/err.txt"; then
        say_failed "the sentence lacks '$pattern': $*"
    else
        return 0
    fi
    sed 's/^/    /' "$WORK/err.txt"
}
# right ARGUMENTS...: the program ends with 0.
right() {
    local status=0
    checks=$((checks + 1))
    timeout 120 "$BIN" --quiet "$@" >"$WORK/out.txt" 2>"$WORK/err.txt" || status=$?
    [ $status -eq 0 ] && return 0
    say_failed "exit status $status, expected 0: $*"
    sed 's/^/    /' "$WORK/err.txt"
    return 1
}
# holds DESCRIPTION COMMAND...: the command succeeds.
holds() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" || say_failed "$what"
}
# What a run leaves, without what a clock or the machine has a say in: rows, samples, curves.
rows_of() { cut -d, -f3-21 "$1/results.csv" | grep -v 'tokens_per_second\|wall_seconds\|roof_share\|peak' | sort; }
samples_of() { cut -d, -f2-11 "$1/samples.csv" | sort; }
curves_of() { cut -d, -f2-8 "$1/curves.csv" | sort; }
same_results() { # description, two folders
    holds "$1: the same rows" cmp <(rows_of "$2") <(rows_of "$3")
    holds "$1: the same samples" cmp <(samples_of "$2") <(samples_of "$3")
    holds "$1: the same curves" cmp <(curves_of "$2") <(curves_of "$3")
}
finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" -eq 0 ]
    exit
}

# A small corpus of words by a fixed generator: about SIZE bytes a file.
make_text() { # file, size, seed
    mkdir -p "$(dirname "$1")"
    awk -v size="$2" -v s="$3" 'BEGIN {
        n = split("the and of to in that he shall unto for his a lord they be is him not them it with all thou thy was god which my me but", w, " ")
        while (bytes < size) {
            s = (s * 1103 + 12345) % 2147483
            word = w[s % n + 1]
            printf "%s%s", bytes ? (s % 11 ? " " : ".\n") : "", word
            bytes += length(word) + 1
        }
        printf "\n"
    }' >"$1"
}
make_corpus() { # folder
    make_text "$1/train/a.txt" 12000 1
    make_text "$1/train/b.txt" 5000 2
    make_text "$1/train/tiny.txt" 10 3
    make_text "$1/validation/v.txt" 1500 4
    make_text "$1/test/r.txt" 2500 5
    make_text "$1/test/s.txt" 900 6
    make_text "$1/test/short.txt" 12 7
}
# An experiment at nano over $WORK/corpus. Further lines for [budget] and for [stage train].
make_experiment() { # file, steps, budget lines, stage lines
    cat >"$1" <<INI
[experiment]
title = a test
[budget]
preset = nano
warmup = 2
${3:-}
[stage train]
source = $WORK/corpus
steps = $2
${4:-}
[row null]
architecture = null
[row infini]
architecture = infini
update = delta
[task language_modeling]
corpus = $WORK/corpus
INI
}
