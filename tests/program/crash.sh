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
columns() { cut -d, -f3-16,17 "$1/results.csv" | grep -v 'tokens_per_second\|wall_seconds\|roof_share\|peak' | sort; }
make_experiment y.ini 6
right run y.ini --out res
mkdir run && cd run || exit 2
for k in 2 9 21 30 40 50; do killed INFINIBENCH_TEST_KILL_AT=$k "$BIN" --quiet run ../y.ini --out res; done
right run ../y.ini --out res
cd ..
holds "the results are those of an uninterrupted run" cmp <(columns res) <(columns run/res)
holds "the samples too" cmp <(cut -d, -f2-11 res/samples.csv | sort) <(cut -d, -f2-11 run/res/samples.csv | sort)

finish
