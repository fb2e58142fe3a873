#!/bin/bash
# kills.sh - SIGKILL at random moments of an experiment and of training: after a resume the rows are those of a run that nobody killed, none
# lost, none doubled. Kills at chosen points are in crash.sh. make stress runs it with KILLS=50.
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-6}
make_corpus corpus
# A point of the curve is a mean over two steps, a checkpoint comes after ten.
make_experiment x.ini 230 "" "lr = 0.003"
make_experiment train.ini 100 "" "lr = 0.003"
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'; }

mkdir whole && cd whole || exit 2
start=$EPOCHREALTIME
right run ../x.ini --out res
took=$(since "$start")
cd ..
holds "there are rows to lose" test "$(wc -l <whole/res/results.csv)" -gt 50

# killed SECONDS COMMAND...: is the command killed after so long? If it ends before that, $took is how long it took.
killed() {
    local start=$EPOCHREALTIME status
    "${@:2}" >/dev/null 2>&1 &
    local pid=$!
    { sleep "$1" && kill -KILL $pid; } 2>/dev/null &
    local killer=$!
    wait $pid 2>/dev/null
    status=$?
    kill $killer 2>/dev/null
    wait $killer 2>/dev/null
    [ $status -eq 137 ] && return 0
    took=$(since "$start")
    return 1
}
# moments WHAT FOLDER-CHECK COMMAND...: kills at random moments, each in a folder of its own, and resumes. A run that ended too early says how
# fast the machine is now, and its moment is tried again.
moments() {
    local what=$1 check=$2 i=1 tries=0 died=0
    shift 2
    while [ "$i" -le "$kills" ] && [ "$tries" -lt $((3 * kills)) ]; do
        tries=$((tries + 1))
        mkdir moment && cd moment || exit 2
        if killed "$(awk -v t="$took" -v r=$RANDOM 'BEGIN { printf "%.3f", t * (0.02 + 0.95 * r / 32768) }')" "$BIN" --quiet "$@"; then
            died=$((died + 1))
            if [ $((i % 2)) -eq 0 ]; then
                local all=$took
                killed "$(awk -v t="$took" -v r=$RANDOM 'BEGIN { printf "%.3f", t * r / 65536 }')" "$BIN" --quiet "$@" && died=$((died + 1))
                took=$all
            fi
            right "$@"
            $check "$what, killed at moment $i of $kills"
            i=$((i + 1))
        fi
        cd .. && rm -rf moment
    done
    echo "$what: killed $died times at $((i - 1)) random moments"
    holds "$what: killed at $kills moments" test "$((i - 1))" -eq "$kills"
}
same_rows() { same_results "$1" ../whole/res res; }
same_model() { holds "$1: the same model" cmp model.safetensors ../whole/model.safetensors; }
RANDOM=41
moments "an experiment" same_rows run ../x.ini --out res

# A folder whose trainings are recorded and whose models are gone (a fresh clone, say), and a checkpoint from the middle of a stage that another
# run was killed in: it is gone on with, not taken for the model.
mkdir half && cd half || exit 2
cp -r ../whole/res res
awk -F, 'NR == 1 || $8 == "training"' ../whole/res/results.csv >res/results.csv
for share in 0.3 0.5 0.2 0.7 0.1; do
    killed "$(awk -v t="$took" -v s=$share 'BEGIN { print t * s }')" "$BIN" --quiet run ../x.ini --only infini --out other
    set -- build/checkpoints/*/*/*/model.safetensors
    [ -f "$1" ] && "$BIN" info "$1" | awk '$1 == "step" && $2 < 230 { found = 1 } END { exit !found }' && break
    rm -rf build other
done
holds "a checkpoint of the middle is there" test -f "$1"
right run ../x.ini --out res
same_results "tasks after a checkpoint of the middle" ../whole/res res
cd ..

cd whole || exit 2
start=$EPOCHREALTIME
right train ../train.ini --row infini --out model.safetensors
took=$(since "$start")
cd ..
moments "training" same_model train ../train.ini --row infini --out model.safetensors

finish
