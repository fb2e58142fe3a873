#!/bin/bash
# results.sh - a rerun does nothing twice; folders in use or of another schema are refused; reports with and without gnuplot.
. "$(dirname "$0")/lib.sh"
make_corpus corpus
make_experiment x.ini 4

right run x.ini --dry-run --out res
holds "a dry run writes nothing" test ! -e res
holds "a dry run states memory" grep -Eq "activations|carried state" out.txt
holds "and that nothing is there" grep -q "^0 of 4 cells are there already in res$" out.txt
said() { # what standard error of a run that is not quiet ends with
    checks=$((checks + 1))
    "$BIN" run x.ini "${@:2}" >out.txt 2>err.txt || say_failed "exit status $?: run x.ini ${*:2}"
    [ "$(tail -n 1 err.txt)" = "$1" ] || say_failed "said '$(tail -n 1 err.txt)', expected '$1'"
}
said "x: 1 model trained, 1 task measured: res (infinibench report res)" --out res --only null
right run x.ini --dry-run --out res
holds "what is there is not planned again" grep -q "^.row null. nothing to do: 2 of 2 cells are there$" out.txt
holds "what is not there is" grep -q "^  .stage train. 4 steps" out.txt
said "x: 1 model trained, 1 task measured: res (infinibench report res); 1 of 2 models were there already" --out res
said "x: 2 of 2 models were there already in res; --out DIR measures them anew" --out res
said "x: 2 models trained, 2 tasks measured: both (infinibench report both)" --out both --jobs 2 --checkpoints both/checkpoints
# A new task on a trained row: measured, not trained; without the model it is trained again, and the plan knows.
cp x.ini kept.ini
printf '[task more]\ntask = language_modeling\nsplit = validation\ncorpus = %s/corpus\n' "$WORK" >>x.ini
right run x.ini --dry-run --out res
holds "the models are there" test "$(grep -c 'stage train. is trained already$' out.txt)" -eq 2
holds "a task is to be measured" test "$(grep -c 'to measure: 1 of 2 task cells' out.txt)" -eq 2
right run x.ini --dry-run --out res --checkpoints elsewhere
holds "without the checkpoints they are trained again" test "$(grep -c 'stage train. 4 steps' out.txt)" -eq 2
right run x.ini --dry-run --out res --tasks language_modeling
holds "--tasks asks for its own cells" grep -q "^2 of 2 cells are there already" out.txt
mv kept.ini x.ini
cp -r res before
holds "the three-gram is beside null" grep -q "null.*ngram3_bits_per_byte" res/results.csv
holds "knock-out of the memory is measured" grep -q "infini.*knockout=off" res/results.csv
before=$(find res -type f ! -name '.lock*' -exec md5sum {} + | sort)
right run x.ini --out res
after=$(find res -type f ! -name '.lock*' -exec md5sum {} + | sort)
holds "a rerun changes nothing" test "$before" = "$after"

# What changed is run again, and only that.
lines=$(wc -l <res/results.csv)
sed -i 's/^update = delta/update = linear/' x.ini
right run x.ini --out res
holds "a changed row is run again" test "$(wc -l <res/results.csv)" -gt "$lines"
holds "the other row is not" test "$(grep -c ',null,null,.*,nll_sum,' res/results.csv)" -eq 1

# Another schema, a folder in use.
cp -r before other
sed -i '2s/^1,/99,/' other/results.csv
wrong "other/results.csv:2: schema 99.*--out" run x.ini --out other
wrong "schema 99" report other
make_experiment long.ini 100000
"$BIN" --quiet run long.ini --out busy >/dev/null 2>&1 &
pid=$!
children="$children $pid"
for _ in $(seq 100); do [ -s busy/.lock.tmp ] && break; sleep 0.1; done
wrong "busy: in use by process $pid.*--out" run x.ini --out busy
# shellcheck disable=SC2086
kill -KILL $children
wait 2>/dev/null
right run x.ini --out busy

# Jobs: the same numbers; what a later job adds to a run leaves what earlier ones said of it.
make_experiment jobs.ini 4
right run jobs.ini --jobs 2 --out jobs
numbers() { grep -v '^#' "$1" | awk -F, '$12 ~ /bits_per_byte|final_loss/ { print $4, $11, $12, $15, $17 }' | sort; }
holds "jobs give the numbers of one process" test "$(numbers jobs/results.csv)" = "$(numbers before/results.csv)"
holds "nothing of the jobs is left" test ! -e jobs/jobs.tmp
printf '[task later]\ntask = language_modeling\ncorpus = ./corpus\nsplit = validation\n' >>jobs.ini
right run jobs.ini --jobs 2 --out jobs
for part in '"tokens_per_second"' '"language_modeling": {' '"later": {'; do
    holds "both runs have $part" test "$(grep -l "$part" jobs/runs/*.json | wc -l)" -eq 2
done

# Reports
right report res
holds "report.md has the table" grep -q "infini" res/report.md
holds "formula, carried and attended stand in it" grep -Eq '^\| infini \| [^|]+ \| ([0-9 ]+) \| \1 \| [0-9 ]+ \|' res/report.md
sed -i 's/^tokenizer = .*/tokenizer = sentencepiece:not-here/' res/experiment.ini
right report res
holds "so they do where the tokenizer is not" grep -Eq '^\| infini \| [^|]+ \| ([0-9 ]+) \| \1 \| [0-9 ]+ \|' res/report.md
sed -i 's/^tokenizer = .*/tokenizer = bytes/' res/experiment.ini
holds "report.html is there" test -s res/report.html
wrong "nowhere" report nowhere
right compare before before
if command -v gnuplot >/dev/null; then
    holds "pictures are there" test -n "$(find res -name '*.svg' -size +0)"
fi
rm -rf res/*.svg res/*.png res/report.*
mkdir empty
checks=$((checks + 1))
PATH=$PWD/empty "$BIN" --quiet report res >out.txt 2>err.txt || say_failed "a report without gnuplot ends with $?: $(cat err.txt)"
holds "without gnuplot the report is written" test -s res/report.md
holds "one notice says that gnuplot is missing" test "$(cat out.txt err.txt | grep -ci gnuplot)" -eq 1

finish
