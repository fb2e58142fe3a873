#!/bin/bash
# crash.sh - killed at any moment, training goes on and ends with the same bits; results are whole or absent.
. "$(dirname "$0")/lib.sh"
make_corpus corpus
# 25 steps, a checkpoint at each (a twentieth of the stage, rounded down).
make_experiment x.ini 25 "" "lr = 0.003"

killed() { # runs the program under the environment and arguments given; succeeds if it was killed
    local status=0
    env "$@" >out.txt 2>err.txt || status=$?
    [ $status -eq 137 ]
} 2>/dev/null

train() { echo "$BIN" --quiet train ../x.ini --row infini --out out.safetensors; }

mkdir whole && cd whole || exit 2
right train ../x.ini --row infini --out out.safetensors
want=$(sha256sum <out.safetensors)
cd ..

# Killed at the k-th crash point: between writing, renaming and removing the files of a checkpoint. Below one checkpoint's number of
# points nothing is gained from run to run; beyond it each run goes on from the one before.
mkdir points && cd points || exit 2
kills=0
for k in 1 2 3 4 5 6 7 8 9 10 11 12 15 19 23; do
    # shellcheck disable=SC2046
    killed INFINIBENCH_TEST_KILL_AT=$k $(train) || break
    kills=$((kills + 1))
done
holds "the program died at crash points ($kills times)" test "$kills" -ge 8
right train ../x.ini --row infini --out out.safetensors
holds "killed at $kills crash points, resumed: the same bits" test "$(sha256sum <out.safetensors)" = "$want"
holds "no temporary files are left" test -z "$(find . -name '*.tmp*')"
holds "one checkpoint is left" test "$(find build -name 'optimizer-*' | wc -l)" -eq 1
cd ..

# Killed at arbitrary moments.
mkdir moments && cd moments || exit 2
RANDOM=17
for _ in 1 2 3 4; do
    # shellcheck disable=SC2046
    env $(train) >/dev/null 2>&1 &
    pid=$!
    sleep "0.$((RANDOM % 60 + 10))"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
done
right train ../x.ini --row infini --out out.safetensors
holds "killed at arbitrary moments, resumed: the same bits" test "$(sha256sum <out.safetensors)" = "$want"
cd ..

# A whole run, measurements included: results as those of an uninterrupted run, no line twice.
# A point of the curve is a mean over two steps.
make_experiment y.ini 230
right run y.ini --out res
mkdir run && cd run || exit 2
for k in 2 9 21 30 40 50; do killed INFINIBENCH_TEST_KILL_AT=$k "$BIN" --quiet run ../y.ini --out res; done
right run ../y.ini --out res
cd ..
same_results "killed at crash points" res run/res

# Stopped by its user, it says how it goes on, and ends as it would without that sentence.
make_experiment long.ini 100000
stopped() { # options
    "$BIN" "$@" run long.ini --out stopped >out.txt 2>err.txt &
    pid=$!
    children="$children $pid"
    for _ in $(seq 300); do
        [ -n "$(find build/checkpoints/long -name .lock 2>/dev/null)" ] && break
        sleep 0.1
    done
    kill -TERM $pid
    wait $pid
} 2>/dev/null
stopped
holds "the signal ends it ($?)" test $? -eq 143
holds "it says how to go on" grep -q "^stopped: the same command goes on" err.txt
rm -rf build/checkpoints/long
stopped --quiet
holds "with --quiet it says nothing" test ! -s err.txt

finish
