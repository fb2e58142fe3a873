#!/bin/bash
# check.sh gate|power|clean|measure BUILD - the accuracy gate and what it is tested and measured with (docs/ci.md).
#   gate     runs tasks/experiments/regression.ini and holds it against results/regression/expected.csv; exit status 0 or 1
#   power    plants faults and shows the cell that catches each; exit status 1 if one is not caught. FAULTS="a b": only these
#   clean    ten other seeds, each of which must pass. RESUME=1 goes on with what is there
#   measure  seeds 1 to 20, then expectations from them (REASON="why" where there are some already). RESUME=1 goes on. SEEDS, ONLY and
#            TASKS name fewer
set -u
[ $# -eq 2 ] && [ -x "$2/infinibench" ] || { echo "usage: scripts/check.sh gate|power|clean|measure BUILD_FOLDER (build it first: make all)" >&2; exit 2; }
bin=$2/infinibench
experiment=${EXPERIMENT:-tasks/experiments/regression.ini}
expected=${EXPECTED:-results/regression/expected.csv}
out=${OUT:-$2/$1}
jobs=2

# What an earlier program left there would hide what this one does.
fresh() { [ -n "${RESUME:-}" ] || rm -rf "$1"; }
run() { # program, folder, arguments
    local program=$1 folder=$2
    shift 2
    "$program" run "$experiment" --jobs $jobs --out "$folder/results" --checkpoints "$folder/checkpoints" "$@"
}

# Said before the minutes of training that would be for nothing.
need_expected() { [ -f "$expected" ] || { echo "there are no expectations yet ($expected); make check-measure makes them" >&2; exit 2; }; }

gate() {
    need_expected
    fresh "$out"
    SECONDS=0
    run "$bin" "$out" || exit 2
    local status=0
    "$bin" check "$out/results" --against "$expected" || status=$?
    echo "$SECONDS s"
    return $status
}

# fault, rows, tasks: what it could touch. `none`: the same program without a fault must pass.
faults() {
    cat <<'LIST'
none              null,transformer_xl,infini_delta        fixed_logits,fixed_rouge,recall
delta_sign        infini_delta,committed_delta            fixed_logits,committed_logits,recall
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

# The first failing line of the table of check: of exact cells, or of statistical ones (those have standard errors).
worst() { # file, exact|statistical
    awk -v kind="$2" '$NF == "FAIL" && ($(NF - 1) == "–") == (kind == "exact") { gsub(/  +/, "  "); sub(/^ +/, ""); print; exit }' "$1"
}

power() {
    local program=$2/faults/infinibench missed=0 fault rows tasks status
    [ -x "$program" ] || { echo "there is no $program; make check-power builds it" >&2; exit 2; }
    need_expected
    SECONDS=0
    while read -r fault rows tasks; do
        case " ${FAULTS:-$fault} " in *" $fault "*) ;; *) continue ;; esac
        local folder=$out/$fault
        fresh "$folder"
        mkdir -p "$folder"
        if INFINIBENCH_FAULT=${fault#none} run "$program" "$folder" --only "$rows" --tasks "$tasks" >"$folder/log.txt" 2>&1; then
            status=0
            "$bin" check "$folder/results" --partial --against "$expected" >"$folder/check.txt" 2>&1 || status=$?
        elif grep -qE 'not finite|no number|the loss is' "$folder/log.txt"; then # numbers that went bad fail the gate too
            status=3
        else # no verdict: nothing about the fault
            status=4
        fi
        case $fault:$status in
        none:0) echo "passes   none ($rows)" ;;
        none:*) echo "FAILS    none ($rows): $folder"; missed=$((missed + 1)) ;;
        *:1)
            echo "caught   $fault: $(grep -E '^(PASS|FAIL): ' "$folder/check.txt" | sed 's/;.*//')"
            worst "$folder/check.txt" exact | sed 's/^/             exact        /'
            worst "$folder/check.txt" statistical | sed 's/^/             statistical  /'
            ;;
        *:3) echo "caught   $fault: the run fails: $(tail -n 1 "$folder/log.txt")" ;;
        *) echo "MISSED   $fault (status $status): $folder"; missed=$((missed + 1)) ;;
        esac
    done < <(faults)
    echo "$missed missed, $SECONDS s"
    [ $missed -eq 0 ]
}

clean() {
    local failed=0 seed
    need_expected
    fresh "$out"
    SECONDS=0
    run "$bin" "$out" --seeds 101-110 || exit 2
    for seed in $(seq 101 110); do
        if "$bin" check "$out/results" --seed "$seed" --against "$expected" --junit "$out/$seed.xml" --json "$out/$seed.json" >"$out/$seed.txt"; then
            echo "seed $seed: $(grep -E '^PASS: ' "$out/$seed.txt")"
        else
            failed=$((failed + 1))
            echo "seed $seed: $(grep -E '^FAIL: ' "$out/$seed.txt")"
            grep -E 'FAIL$|MISSING$|UNEXPECTED$' "$out/$seed.txt"
        fi
    done
    echo "$failed of 10 clean runs fail, $SECONDS s"
    [ $failed -eq 0 ]
}

measure() {
    fresh "$out"
    SECONDS=0
    run "$bin" "$out" --seeds "${SEEDS:-1-20}" ${ONLY:+--only "$ONLY"} ${TASKS:+--tasks "$TASKS"} || exit 2
    mkdir -p "$(dirname "$expected")"
    "$bin" check "$out/results" --against "$expected" --update ${REASON:+--reason "$REASON"} ${ONLY:+--partial} || exit $?
    echo "$SECONDS s"
}

case $1 in
gate | clean | measure) "$1" ;;
power) power "$@" ;;
*) echo "check.sh: '$1' is not gate, power, clean or measure" >&2; exit 2 ;;
esac
