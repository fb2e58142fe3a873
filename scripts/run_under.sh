#!/bin/bash
# run_under.sh valgrind|tsan - the program at preset nano under valgrind (memory, leaks) or as built by clang with ThreadSanitizer (races;
# OpenMP is made known to it by libarcher, which comes with clang's libomp; OpenBLAS is not instrumented and has one thread): training in its
# three ways, an experiment over all architectures with two jobs, streaming, generation, ROUGE, report. One line a command; the report of what
# was found. Exit status 1: a finding; 2: the tool is missing.
set -u
cd "$(dirname "$0")/.." || exit 2
root=$PWD tool=${1:-}
case $tool in
valgrind)
    command -v valgrind >/dev/null 2>&1 || { echo "run_under.sh: there is no valgrind; apt-get install valgrind" >&2; exit 2; }
    export INFINIBENCH=$root/build/release/infinibench
    under=(valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)
    # valgrind knows no AVX-512: the kernels ask the processor that it shows, the core type of OpenBLAS is not to be chosen anew
    export INFINIBENCH_NO_REEXEC=1
    threads=1
    ;;
tsan)
    command -v clang >/dev/null 2>&1 || { echo "run_under.sh: there is no clang; apt-get install clang libomp-dev" >&2; exit 2; }
    clang=clang
    command -v ccache >/dev/null 2>&1 && clang="ccache clang"
    make --no-print-directory -j2 CC="$clang" CXX="${clang}++" CONFIG=tsan B=build/tsan all || exit 2
    archer=$(find "$(clang -print-resource-dir)/../../.." -name 'libarcher.so' 2>/dev/null | head -n 1)
    [ -n "$archer" ] || { echo "run_under.sh: there is no libarcher.so beside clang; apt-get install libomp-dev" >&2; exit 2; }
    export INFINIBENCH=$root/build/tsan/infinibench OMP_TOOL_LIBRARIES=$archer OPENBLAS_NUM_THREADS=1
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=99"
    under=(env)
    threads=4
    ;;
*)
    echo "usage: scripts/run_under.sh valgrind|tsan" >&2
    exit 2
    ;;
esac
# shellcheck source=tests/program/lib.sh
. tests/program/lib.sh
export OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive
# A control: does the tool see a fault that is planted, in the same setting?
cat >control.c <<'C'
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    int *x = malloc(400), sum = 0;
#pragma omp parallel for
    for (int i = 0; i < 100; i++) sum += i, x[i / 2] = i; /* a race */
    if (x[77] == 5) puts("");                             /* never written */
    return sum == 1;
}
C
if [ "$tool" = tsan ]; then clang -g -O1 -fopenmp -fsanitize=thread -o control control.c; else gcc -g -fopenmp -o control control.c; fi || exit 2
if "${under[@]}" ./control >control.txt 2>&1; then
    echo "run_under.sh: $tool does not see a fault that is planted" >&2
    exit 2
fi
make_corpus corpus
make_text corpus/train/a.txt 2000 1
make_text corpus/test/r.txt 700 5
found=0
try() {
    local start=$EPOCHREALTIME status=0
    "${under[@]}" "$BIN" --quiet "$@" >out.txt 2>err.txt || status=$?
    printf '%7.1f s  %s\n' "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')" "infinibench $*"
    if [ $status -ne 0 ] || grep -q 'WARNING: ThreadSanitizer\|^==[0-9]*==' err.txt; then
        found=$((found + 1))
        echo "exit status $status"
        grep -v '^$' err.txt | head -n 60
    fi
}
for mode in layer segment recompute; do
    make_experiment "$mode.ini" 2 "step_mode = $mode"
    try train "$mode.ini" --row infini --out m.safetensors
done
make_experiment all.ini 2
sed -i '/^\[row null\]/,/^update/d' all.ini
for a in null transformer transformer_xl memorizing infini linear_attention delta_rule rnn compressive rmt autocompressor; do
    printf '[row %s]\narchitecture = %s\n' $a $a
done >>all.ini
printf '[task memory]\ncontexts = 64\n[task gates]\nmeasure = none\n' >>all.ini
try run all.ini --out res
printf '[task again]\ntask = language_modeling\ncorpus = %s\nsplit = validation\n' "$WORK/corpus" >>all.ini
try run all.ini --only infini --jobs 2 --out res
try report res
try logits --model m.safetensors --input corpus/test/s.txt --output o.npy
head -c 40 corpus/test/s.txt >prompt.txt
try generate --model m.safetensors --prompt prompt.txt --tokens 5
try eval language_modeling --model m.safetensors --corpus ./corpus --rows 2 --csv e.csv
try rouge --candidate corpus/test/r.txt --reference corpus/test/s.txt
try info m.safetensors
echo "$found findings"
[ $found -eq 0 ]
