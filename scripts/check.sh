#!/bin/bash
# check.sh gate|power|clean|measure BUILD - the accuracy gate and what it is tested and measured with (docs/ci.md).
#   gate     runs tasks/experiments/regression.ini and holds it against results/regression/expected.csv; exit status 0 or 1, 2 where it
#            cannot be judged
#   power    plants faults and shows the cells that catch each; exit status 1 if one is not caught. FAULTS="a b": only these
#   clean    ten other seeds, each of which must pass. RESUME=1 goes on with what is there
#   measure  seeds 1 to 20, then expectations from them (REASON="why" where there are some already), in build/gate/measure; exit status 1
#            where nothing is written without a reason, or the gate's own seed does not pass. RESUME=1 goes on with what is there,
#            FRESH=1 throws it away. ONLY and TASKS: a part of the expectations; SEEDS: a trial, into EXPECTED
# EXPERIMENT, EXPECTED, RULES, OUT: other files and another folder
set -u
[ $# -eq 2 ] && [ -x "$2/infinibench" ] || { echo "usage: scripts/check.sh gate|power|clean|measure BUILD_FOLDER (build it first: make all)" >&2; exit 2; }
bin=$2/infinibench
experiment=${EXPERIMENT:-tasks/experiments/regression.ini}
committed=results/regression/expected.csv
expected=${EXPECTED:-$committed}
rules=${RULES:-results/regression/rules.csv}
out=${OUT:-$2/$1}
jobs=2
# No cell is about speed, and the GEMM rate that a share of it needs is measured around each of a hundred trainings.
export INFINIBENCH_TEST_ROOF=nan

# What an earlier program left there would hide what this one does.
fresh() { [ -n "${RESUME:-}" ] || rm -rf "$1"; }
run() { # program, folder, arguments
    local program=$1 folder=$2
    shift 2
    "$program" run "$experiment" --jobs $jobs --out "$folder/results" --checkpoints "$folder/checkpoints" "$@"
}
check() { "$bin" check "$@" --against "$expected" --rules "$rules"; }

# Said before the minutes of training that would be for nothing.
need_expected() { [ -f "$expected" ] || { echo "there are no expectations yet ($expected); make check-measure makes them" >&2; exit 2; }; }

# A run that fails is judged all the same: what it did not measure is MISSING.
gate() {
    need_expected
    fresh "$out"
    SECONDS=0
    local ran=0 status=0
    run "$bin" "$out" || ran=$?
    check "$out/results" || status=$?
    [ $ran -eq 0 ] || echo "the run failed (exit status $ran): what it did not measure is MISSING"
    [ $ran -eq 0 ] || [ $status -ne 0 ] || status=1
    echo "$SECONDS s"
    return $status
}

# fault, rows, tasks: what it could touch.
faults() {
    cat <<'LIST'
delta_sign        infini_delta,committed_delta            fixed_logits,committed_logits,recall_far
read_after_write  infini_linear,committed_linear          fixed_logits,committed_logits,recall
other_row         infini_linear                           fixed_logits,recall
gate_frozen       infini_linear                           gates,recall
rope_memory       infini_linear,committed_linear          fixed_logits,committed_logits,recall
knn_segment       memorizing                              fixed_logits,language_modeling,recall
relative_shift    transformer_xl                          fixed_logits,language_modeling
skip_last         null,infini_none                        language_modeling
rate_low          infini_none                             language_modeling
rate_high         infini_none                             language_modeling
stale_cache       transformer_xl,infini_linear            fixed_logits,recall
no_stemming       null                                    fixed_rouge
half_tokens       infini_none                             language_modeling
LIST
}

# The cells that pass in the table of the first run and fail in that of the second, the worst first.
caught_by() {
    awk -F '  +' '{ sub(/ +$/, ""); cell = $1 "|" $2 "|" $3 "|" $4 "|" $5 }
        FILENAME == ARGV[1] { if ($NF == "pass") passes[cell] = 1; next }
        $NF == "FAIL" && cell in passes' "$1" "$2"
}
# The first of them that is exact, or statistical (those have standard errors).
worst() { awk -v kind="$1" '($(NF - 1) == "–") == (kind == "exact") { gsub(/  +/, "  "); sub(/^ +/, ""); print; exit }'; }
union() { tr ',' '\n' | sort -u | paste -sd, -; }

# program, folder, fault, rows, tasks: the run into log.txt, the verdict on each cell into check.txt; status 1: the run failed
plant() {
    local program=$1 folder=$2 fault=$3 ran=0
    fresh "$folder"
    mkdir -p "$folder"
    INFINIBENCH_FAULT=$fault run "$program" "$folder" --only "$4" --tasks "$5" >"$folder/log.txt" 2>&1 || ran=1
    check "$folder/results" --partial --all >"$folder/check.txt" 2>&1
    return $ran
}

# The same program without a fault first: all that the faults touch must pass, and only what passes there can catch one.
power() {
    local program=$2/faults/infinibench missed=0 fault rows tasks list ran
    [ -x "$program" ] || { echo "there is no $program; make check-power builds it" >&2; exit 2; }
    need_expected
    for fault in ${FAULTS:-}; do
        faults | grep -q "^$fault " || { echo "check.sh: no fault is called $fault; scripts/check.sh lists them" >&2; exit 2; }
    done
    SECONDS=0
    list=$(faults | while read -r fault rows tasks; do
        case " ${FAULTS:-$fault} " in *" $fault "*) echo "$fault $rows $tasks" ;; esac
    done)
    rows=$(awk '{ print $2 }' <<<"$list" | union) tasks=$(awk '{ print $3 }' <<<"$list" | union)
    if plant "$program" "$out/none" "" "$rows" "$tasks" && grep -q '^PASS: ' "$out/none/check.txt"; then
        echo "passes   without a fault: $(grep '^PASS: ' "$out/none/check.txt" | sed 's/;.*//')"
    else
        missed=1
        echo "FAILS    without a fault: $out/none"
    fi
    while read -r fault rows tasks; do
        local folder=$out/$fault
        ran=0
        plant "$program" "$folder" "$fault" "$rows" "$tasks" || ran=1
        caught_by "$out/none/check.txt" "$folder/check.txt" >"$folder/caught.txt"
        if [ -s "$folder/caught.txt" ]; then
            echo "caught   $fault: by $(wc -l <"$folder/caught.txt") cells that pass without it"
            worst exact <"$folder/caught.txt" | sed 's/^/             exact        /'
            worst statistical <"$folder/caught.txt" | sed 's/^/             statistical  /'
        elif [ $ran -ne 0 ] && grep -qE 'not finite|no number|the loss is' "$folder/log.txt"; then # the gate finds MISSING cells
            echo "caught   $fault: the run fails: $(tail -n 1 "$folder/log.txt")"
        else
            missed=$((missed + 1))
            echo "MISSED   $fault: $folder"
        fi
    done <<<"$list"
    echo "$missed missed, $SECONDS s"
    [ $missed -eq 0 ]
}

clean() {
    local failed=0 seed ran=0 status worst=0
    need_expected
    fresh "$out"
    SECONDS=0
    run "$bin" "$out" --seeds 101-110 || ran=$?
    for seed in $(seq 101 110); do
        status=0
        check "$out/results" --seed "$seed" --junit "$out/$seed.xml" --json "$out/$seed.json" >"$out/$seed.txt" || status=$?
        [ $status -le $worst ] || worst=$status
        [ $status -eq 0 ] || failed=$((failed + 1))
        echo "seed $seed: $(grep -E '^(PASS|FAIL): ' "$out/$seed.txt" || echo "cannot be judged")"
        [ $status -eq 0 ] || grep -E 'FAIL$|MISSING$|UNEXPECTED$' "$out/$seed.txt"
    done
    [ $ran -eq 0 ] || echo "the run failed (exit status $ran): what it did not measure is MISSING"
    [ $ran -eq 0 ] || [ $worst -ne 0 ] || worst=1
    echo "$failed of 10 clean runs fail, $SECONDS s"
    return $worst
}

# Hours of work are not thrown away, nor expectations of all written from a part, unasked.
may_measure() {
    if [ "$expected" = "$committed" ] && [ -n "${SEEDS:-}" ]; then
        echo "SEEDS is for trials, and they do not write $committed: EXPECTED=/tmp/expected.csv" >&2
        exit 2
    fi
    if [ "$expected" = "$committed" ] && [ -n "${ONLY:-}${TASKS:-}" ] && { [ ! -f "$expected" ] || [ -z "${REASON:-}" ]; }; then
        echo "ONLY and TASKS measure a part of $committed again and want REASON=\"why\"; for a trial EXPECTED=/tmp/expected.csv" >&2
        exit 2
    fi
    [ -n "${RESUME:-}" ] || [ ! -e "$out" ] || [ -n "${FRESH:-}" ] || {
        echo "$out holds a measurement; RESUME=1 goes on with it, FRESH=1 throws it away, OUT names another folder" >&2
        exit 2
    }
}

# Expectations from the seeds; then what is exact for one seed only, from that of the gate. That run has to pass: make check repeats it.
measure() {
    local part=(${ONLY:+--only "$ONLY"} ${TASKS:+--tasks "$TASKS"}) seeds=${SEEDS:-1-20} status=0 commit
    local update=(--update ${REASON:+--reason "$REASON"})
    [ -n "${OUT:-}" ] || out=build/gate/${EXPECTED:+trial}
    [ -n "${OUT:-}${EXPECTED:-}" ] || out=build/gate/measure
    may_measure
    fresh "$out"
    SECONDS=0
    # Before the expectations that are written are a change of the tree themselves.
    commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)$([ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || echo ", with changes")
    run "$bin" "$out" --seeds "$seeds" "${part[@]}" || exit 2
    run "$bin" "$out/gate" "${part[@]}" || exit 2
    mkdir -p "$(dirname "$expected")"
    check "$out/results" "${update[@]}" ${ONLY:+--partial} ${TASKS:+--partial} || exit $?
    check "$out/gate/results" "${update[@]}" --seed-cells || exit $?
    {
        date -u +%Y-%m-%dT%H:%M:%SZ
        echo "    commit $commit"
        echo "    infinibench run $experiment --seeds $seeds ${part[*]}"
        echo "    infinibench run $experiment ${part[*]}    # the gate's seed: only what is exact for it"
        echo "    ${REASON:-first measurement}; $SECONDS s"
    } >>"$(dirname "$expected")/measured.txt"
    check "$out/gate/results" ${ONLY:+--partial} ${TASKS:+--partial} || status=$?
    [ $status -eq 0 ] || echo "the gate's own seed does not pass: make check will fail until these cells scatter less (docs/ci.md)"
    echo "$SECONDS s"
    return $status
}

case $1 in
gate | clean | measure) "$1" ;;
power) power "$@" ;;
*) echo "check.sh: '$1' is not gate, power, clean or measure" >&2; exit 2 ;;
esac
