#!/bin/bash
# fuzz.sh - builds every fuzzer of tests/fuzz with clang (address and undefined-behaviour sanitizers) and runs each FUZZ_SECONDS (60) from
# small real inputs; a line each. What was found to be worth keeping stays in build/fuzz/corpus and is where the next run begins.
# FUZZ_ONLY (pattern of names, fuzz_*), FUZZ_JOBS (1 at a time). Exit status 1: a finding, kept in build/fuzz/found; 2: it cannot be built, or
# no fuzzer has the name.
set -u
cd "$(dirname "$0")/.." || exit 2
seconds=${FUZZ_SECONDS:-60} only=${FUZZ_ONLY:-fuzz_*} b=build/fuzz
compgen -G "tests/fuzz/$only.c" >/dev/null || { echo "fuzz.sh: no fuzzer of tests/fuzz is called '$only'" >&2; exit 2; }
command -v clang >/dev/null 2>&1 || { echo "fuzz.sh: there is no clang; apt-get install clang (its libFuzzer comes with it)" >&2; exit 2; }
clang=clang # no trace of ccache in what is built
command -v ccache >/dev/null 2>&1 && clang="ccache clang"
make --no-print-directory -j2 CC="$clang" CXX="${clang}++" CONFIG=fuzz B=$b fuzzers || exit 2
mkdir -p $b/found

# ---- seeds: real files, cut to some KiB
seed() { mkdir -p "$b/seeds/$1" && cat >"$b/seeds/$1/$2"; }
rm -rf $b/seeds
little() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8)))"; }
safetensors() { # header, data
    little ${#1}
    printf '\0\0\0\0\0\0%s%s' "$1" "$2"
}
tensors='"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}'
safetensors "{$tensors}" 0123456789abcdef | seed fuzz_safetensors two
config='architecture=infini;preset=nano;batch=4;d_model=64;heads=2;layers=2;segment=32;vocab=256;option.update=delta'
safetensors "{\"__metadata__\":{\"config\":\"$config\",\"tokenizer\":\"bytes\",\"tokenizer_hash\":\"6279746573323536\"},$tensors}" \
    0123456789abcdef | seed fuzz_safetensors model
for a in infini transformer transformer_xl memorizing compressive rmt autocompressor rnn delta_rule linear_attention null; do
    printf 'architecture=%s;batch=2;segments=3;ffn_kind=relu;tied=yes;rope_base=1e4' $a | seed fuzz_config $a
done
printf '{"batch":2,"cursor":"here","rows":[{"cursor":"here","position":3,"tokens":5},null],"segment":3,"segments":2,"source":"fuzz"}' |
    seed fuzz_config cursor
for shape in '(2,)' '(1, 2)' '()'; do
    header="{'descr': '<f4', 'fortran_order': False, 'shape': $shape, }"
    { printf '\x93NUMPY\x01\x00'; little ${#header}; printf '%s12345678' "$header"; } | seed fuzz_npy "$shape"
done
for i in 0:results 1:samples 2:curves 3:results; do
    { printf '%s' "${i%:*}" | tr 0123 '\000\001\002\003'; sed -n 2,12p "results/quick/${i#*:}.csv"; } | seed fuzz_csv "${i/:/-}"
done
{
    sed -n 2,14p results/quick/results.csv; echo %
    sed -n 2,6p results/quick/samples.csv; echo %
    sed -n 2,6p results/quick/curves.csv; echo %
    echo '4000 900 700 end'; echo %
    sed -n 1,40p results/quick/experiment.ini; grep '^; [0-9a-f]\{16\}' results/quick/experiment.ini | head -n 8; echo %
    printf '%s\n' infini_delta,train,language_modeling,test,,bits_per_byte,0,all,-1,statistical,2.1,0.01,19,20 \
        infini_linear,train,training,train,,parameters,0,all,-1,exact,870000,0,,; echo %
    printf '%s\n' 'language_modeling,*,*,,all,bits_per_byte,statistical,' 'training,*,*,*,*,parameters,exact,0'
} | seed fuzz_folder quick
sed -n 2,5p results/quick/results.csv | seed fuzz_folder results
{ sed -n 2,5p results/quick/results.csv; printf '%%\n%%\n%%\n%%\n%%\n%%\n%%\n'; sed -n 1,5p results/quick/samples.csv | gzip -9n; } | seed fuzz_folder packed
for f in tasks/experiments/*.ini; do head -c 6000 "$f" | seed fuzz_experiment "$(basename "$f")"; done
printf '{"summary": "The cat sat.", "text": ["A cat sat down.", "It ran."]}\n{"summary": "x", "text": "y"}\n' | seed fuzz_jsonl pairs
printf '{"id": "a", "text": "Once upon a time.", "summary": "A time."}\n{"bid": "1", "source": "s", "book": "b", "summaries": ["c", "d"]}\n' |
    seed fuzz_jsonl books
printf '{"bid": "2", "book_path": "split.jsonl", "summary_path": "split.jsonl"}\n' | seed fuzz_jsonl paths
printf 'police killed the gunman\377police kill the gunman.\nthe end\377The gunmen were killed by running policemen' | seed fuzz_rouge three
printf '\011In the beginning caf\303\251 \342\202\254\n\360\235\204\236 end' | seed fuzz_corpus utf8
for m in tasks/data/*.model; do seed fuzz_tokenizer "$(basename "$m")" <"$m"; done

# ---- runs
printf '%-20s %8s %12s %10s %8s\n' fuzzer seconds executions inputs edges
failed=0
one() {
    local name=$1 log=$b/$1.log length=16384
    mkdir -p "$b/corpus/$name"
    [ "$name" = fuzz_tokenizer ] && length=65536
    timeout $((seconds + 120)) "$b/fuzz/$name" -max_total_time="$seconds" -max_len=$length -rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=20 \
        -artifact_prefix="$b/found/$name-" -print_final_stats=1 "$b/corpus/$name" "$b/seeds/$name" >"$log" 2>&1
    local status=$?
    awk -v n="$name" '/stat::number_of_executed_units/ { runs = $2 } / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1)
        if ($i == "corp:") corpus = $(i + 1) } } /^Done/ { s = $5 } END { printf "%-20s %8s %12s %10s %8s\n", n, s, runs, corpus, cov }' "$log"
    [ $status -eq 0 ] && return 0
    echo "$name: a finding (exit status $status); the input is in $b/found, the report in $log:"
    grep -m 3 -A 12 'ERROR: \|runtime error\|broken promise\|SUMMARY' "$log" | head -n 30
    return 1
}
running=0
for f in "$b"/fuzz/fuzz_*; do
    name=$(basename "$f")
    # shellcheck disable=SC2254
    case $name in $only) ;; *) continue ;; esac
    [ -e "tests/fuzz/$name.c" ] || continue
    one "$name" &
    running=$((running + 1))
    if [ $running -ge "${FUZZ_JOBS:-1}" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
done
while [ $running -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
rm -rf /dev/shm/infinibench-fuzz.*
exit $failed
