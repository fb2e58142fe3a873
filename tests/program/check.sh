#!/bin/bash
# check.sh - the accuracy gate from outside: usage, exit statuses, expectations from seeds, --update and its reasons, runs of parts, rows
# that start from a model; and that no planted fault is in the product.
. "$(dirname "$0")/lib.sh"
make_corpus corpus
make_experiment x.ini 4
mkdir gate
cat >gate/rules.csv <<'CSV'
task,stage,row,condition,position,metric,kind,bound
training,*,*,*,*,parameters,exact,0
language_modeling,*,*,,*,tokens,exact,0
language_modeling,*,*,,all,bits_per_byte,statistical,
CSV
status() { # EXPECTED_STATUS ARGUMENTS...: the program ends with it; output in out.txt
    local expected=$1 found=0
    shift
    checks=$((checks + 1))
    "$BIN" --quiet "$@" >out.txt 2>err.txt || found=$?
    [ "$found" -eq "$expected" ] || say_failed "exit status $found, expected $expected: $*: $(tail -n 1 err.txt)"
}

# Seeds of the call, checkpoints of the call; a part of the tasks trains nothing that it does not need.
right run x.ini --seeds 1-3 --jobs 2 --out seeds --checkpoints kept
holds "three seeds" test "$(awk -F, '$12 == "bits_per_byte" && $15 == "all" && $11 == "" { print $7 }' seeds/results.csv | sort -u | wc -l)" -eq 3
holds "checkpoints are where the call says" test -n "$(find kept -name model.safetensors)"
holds "and nowhere else" test ! -e build/checkpoints
wrong "range of seeds '3-1' is empty" run x.ini --seeds 3-1
wrong "seed 'x' is not a whole number" run x.ini --seeds 1,x
wrong "no task 'language_modelling'; the nearest is 'language_modeling'" run x.ini --tasks language_modelling
wrong "no row 'nul'; the nearest is 'null'" run x.ini --only infini,nul

# Without expectations the gate says so before it trains anything.
for mode in gate clean; do
    found=0
    checks=$((checks + 1))
    (cd "$ROOT" && EXPECTED=$WORK/none.csv OUT=$WORK/gate-$mode scripts/check.sh $mode "$(dirname "$BIN")") >out.txt 2>err.txt || found=$?
    [ "$found" -eq 2 ] || say_failed "check.sh $mode without expectations ends with $found, expected 2"
    holds "it says how to make them" grep -q "^there are no expectations yet ($WORK/none.csv); make check-measure makes them" err.txt
    holds "nothing was trained" test ! -e "gate-$mode"
done

holds "docs/ci.md says that there are none as long as there are none" test "$(grep -c '^.*have not been measured yet' "$ROOT/docs/ci.md")" -eq \
    "$([ -f "$ROOT/results/regression/expected.csv" ] && echo 0 || echo 1)"

# Expectations, and the verdict on another seed.
wrong "--against is needed" check seeds
wrong "--reason goes with --update" check seeds --against gate/expected.csv --reason why
wrong "expected.csv.*No such file" check seeds --against gate/expected.csv
right check seeds --against gate/expected.csv --update
right run x.ini --seeds 5 --out fifth --checkpoints kept
status 0 check fifth --against gate/expected.csv
holds "the last line is the verdict" grep -q "^PASS: 6 of 6 cells pass" out.txt
holds "JUnit XML is written" grep -q 'tests="6" failures="0"' fifth/junit.xml
holds "JSON is written" grep -q '"verdict": "pass"' fifth/check.json
status 0 check seeds --seed 2 --against gate/expected.csv --junit two.xml --json two.json
holds "both where the call says" test -s two.xml -a -s two.json
if command -v python3 >/dev/null; then
    holds "the XML is well-formed" python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("fifth/junit.xml")'
    holds "the JSON is JSON" python3 -c 'import json; assert len(json.load(open("fifth/check.json"))["cells"]) == 6'
fi

# A learning rate ten times off is seen.
sed 's/^preset = nano/preset = nano\nlr = 0.03/' x.ini >y.ini
right run y.ini --seeds 5 --only infini --out off --checkpoints kept
status 1 check off --partial --against gate/expected.csv
holds "the table names the cell" grep -Eq "^infini .*bits_per_byte .*FAIL$" out.txt
holds "so does JUnit" grep -q "standard errors off" off/junit.xml
cp gate/expected.csv before.csv
status 1 check off --partial --against gate/expected.csv --update
holds "nothing is written without a reason" cmp -s before.csv gate/expected.csv
right check off --partial --against gate/expected.csv --update --reason "the rate is 0.03 now"
holds "the reason is kept" grep -q "bits_per_byte.*beyond tolerance.*the rate is 0.03 now" gate/history.csv
status 0 check off --partial --against gate/expected.csv

# A run that fails is judged: what it did not measure is missing; there are a table, XML and JSON.
gate() { # MODE, status, variables: scripts/check.sh as make calls it
    local mode=$1 expected=$2 found=0
    shift 2
    checks=$((checks + 1))
    (cd "$ROOT" && env RULES="$WORK/gate/rules.csv" "$@" bash scripts/check.sh "$mode" "${build:-$(dirname "$BIN")}") >out.txt 2>err.txt || found=$?
    [ "$found" -eq "$expected" ] || say_failed "check.sh $mode $* ends with $found, expected $expected: $(tail -n 1 err.txt)"
}
cp before.csv gate/expected.csv
sed 's/^\[row infini\]/&\nlr = 1000\nclip = 0/' x.ini >nan.ini
gate gate 1 EXPERIMENT="$WORK/nan.ini" EXPECTED="$WORK/gate/expected.csv" OUT="$WORK/nan"
holds "the cells of the failed row are missing" grep -Eq "^infini .*bits_per_byte .*MISSING$" out.txt
holds "the other row passes" grep -q "^FAIL: 4 of 6 cells pass" out.txt
holds "it says that the run failed" grep -q "^the run failed (exit status 2)" out.txt
holds "JUnit XML and JSON are written" test -s nan/results/junit.xml -a -s nan/results/check.json
gate gate 0 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/gate/expected.csv" OUT="$WORK/passes"
gate gate 2 EXPERIMENT="$WORK/none.ini" EXPECTED="$WORK/gate/expected.csv" OUT="$WORK/nan2"

# Ten other seeds, each with a verdict of its own.
gate clean 0 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/gate/expected.csv" OUT="$WORK/clean"
holds "every seed has a verdict" test "$(grep -c '^seed 1[01][0-9]: PASS: 6 of 6 cells pass' out.txt)" -eq 10
holds "none fails" grep -q "^0 of 10 clean runs fail" out.txt
awk -F, -v OFS=, '$4 == "infini" && $7 == 105 && $12 == "bits_per_byte" { $17 += 99 } 1' clean/results/results.csv >off.csv && mv off.csv clean/results/results.csv
gate clean 1 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/gate/expected.csv" OUT="$WORK/clean" RESUME=1
holds "one of ten fails" grep -q "^1 of 10 clean runs fail" out.txt
holds "the seed is named" grep -q "^seed 105: FAIL: 5 of 6 cells pass" out.txt
holds "with its cell" grep -q "^infini .*bits_per_byte.*FAIL$" out.txt

# A measurement is not thrown away unasked, and a trial does not write the committed expectations.
mkdir precious
gate measure 2 EXPERIMENT="$WORK/x.ini" RULES="$WORK/gate/rules.csv" OUT="$WORK/precious"
holds "it says how to go on" grep -q "precious holds a measurement; RESUME=1 goes on with it, FRESH=1 throws it away" err.txt
holds "it is there still" test -d precious
gate measure 2 EXPERIMENT="$WORK/x.ini" RULES="$WORK/gate/rules.csv" OUT="$WORK/trial" SEEDS=1-3
holds "a trial names its file" grep -q "^SEEDS is for trials" err.txt
gate measure 2 EXPERIMENT="$WORK/x.ini" RULES="$WORK/gate/rules.csv" OUT="$WORK/trial" TASKS=recall
holds "a part wants a reason" grep -q "^ONLY and TASKS measure a part" err.txt
holds "none of them ran" test ! -e trial
mkdir trial-gate
gate measure 0 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/trial-gate/expected.csv" OUT="$WORK/trial" SEEDS=1-3 ONLY=infini
holds "a trial writes its file" grep -q "^infini,.*statistical" trial-gate/expected.csv
holds "date, commit and commands lie beside it" grep -q "infinibench run $WORK/x.ini --seeds 1-3 --only infini" trial-gate/measured.txt
cp trial-gate/expected.csv three.csv
gate measure 0 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/trial-gate/expected.csv" OUT="$WORK/trial" SEEDS=1-3 TASKS=language_modeling RESUME=1 REASON=again
# The expectations are a file of the tree: that measuring changes them does not make the program that measures another.
awk -F, -v OFS=, '$10 == "statistical" { $11 += 1e-6 } 1' trial-gate/expected.csv >moved.csv && mv moved.csv trial-gate/expected.csv
rm trial-gate/measured.txt
git init -q trial-gate && git -C trial-gate add expected.csv && git -C trial-gate -c user.name=a -c user.email=a@b commit -qm a
checks=$((checks + 1))
(cd trial-gate && EXPERIMENT=$WORK/x.ini RULES=$WORK/gate/rules.csv EXPECTED=expected.csv OUT=$WORK/trial SEEDS=1-3 ONLY=infini RESUME=1 \
    REASON=moved bash "$ROOT/scripts/check.sh" measure "$(dirname "$BIN")") >out.txt 2>err.txt || say_failed "measuring in a tree ends with $?"
holds "the expectations are new" test -n "$(git -C trial-gate status --porcelain --untracked-files=no)"
holds "the program was what is committed" grep -qE '^    commit [0-9a-f]{40}$' trial-gate/measured.txt
# A run of the gate's seed that leaves the new expectations is no success.
awk -F, -v OFS=, '$4 == "infini" && $12 == "bits_per_byte" { $17 += 99 } 1' trial/gate/results/results.csv >off.csv && mv off.csv trial/gate/results/results.csv
gate measure 1 EXPERIMENT="$WORK/x.ini" EXPECTED="$WORK/trial-gate/expected.csv" OUT="$WORK/trial" SEEDS=1-3 ONLY=infini RESUME=1 REASON=again
holds "it is said" grep -q "^the gate's own seed does not pass" out.txt

# Which faults are caught: by a cell that passes without the fault, not by cells that nobody expects. A wrapper plays the faulty program:
# it trains what rate_high.ini, skip_last.ini ... say, if there is such a file.
sed 's/^\[row infini\]/[row infini_none]/; s/^update = delta/update = none/' x.ini >faults.ini
sed 's/^preset = nano/&\nlr = 0.03/' faults.ini >rate_high.ini
sed 's/^\[stage train\]/[stage other]/' faults.ini >rate_low.ini
mkdir -p fake/faults
ln -s "$BIN" fake/infinibench
cat >fake/faults/infinibench <<SH
#!/bin/bash
shift 2
experiment=$WORK/\$INFINIBENCH_FAULT.ini
[ -f "\$experiment" ] || experiment=$WORK/faults.ini
exec "$BIN" --quiet run "\$experiment" "\$@"
SH
chmod +x fake/faults/infinibench
gate measure 0 EXPERIMENT="$WORK/faults.ini" EXPECTED="$WORK/fault-gate/expected.csv" OUT="$WORK/fault-trial" SEEDS=1-3
build=$WORK/fake gate power 1 EXPERIMENT="$WORK/faults.ini" EXPECTED="$WORK/fault-gate/expected.csv" OUT="$WORK/power" FAULTS="rate_high rate_low half_tokens"
holds "the control passes" grep -q "^passes   without a fault: PASS: 3 of 3 cells pass" out.txt
holds "a learning rate ten times off is caught" grep -q "^caught   rate_high: by [12] cells that pass without it" out.txt
holds "with its cell" grep -q "statistical  infini_none  train  language_modeling  bits_per_byte.*FAIL" out.txt
holds "what is only unexpected catches nothing" grep -q "^MISSED   rate_low" out.txt
holds "what changes nothing is missed" grep -q "^MISSED   half_tokens" out.txt
holds "unexpected it was" grep -q "UNEXPECTED" power/rate_low/check.txt
build=$WORK/fake gate power 2 EXPERIMENT="$WORK/faults.ini" EXPECTED="$WORK/fault-gate/expected.csv" OUT="$WORK/power2" FAULTS="rate_high rate_hihg"
holds "of two faults the one that is none is named" grep -q "^check.sh: no fault is called rate_hihg" err.txt

# A part of the run: what it lacks is missing, unless the call says that it is a part.
sed 's/^null,/later,/' before.csv | grep '^later,' | cat before.csv - >gate/expected.csv
status 1 check fifth --against gate/expected.csv
holds "what was not run is missing" grep -Eq "^later .*MISSING$" out.txt
status 0 check fifth --against gate/expected.csv --partial

# A row that starts from a model is that model.
right train x.ini --row infini --out m.safetensors
cat >start.ini <<INI
[experiment]
title = a test
[budget]
preset = nano
[row here]
architecture = infini
update = delta
start = $WORK/m.safetensors
[task language_modeling]
corpus = $WORK/corpus
after = init
INI
right run start.ini --out start
bits() { awk -F, -v row="$2" -v seed="$3" '$4 == row && $7 == seed && $12 == "bits_per_byte" && $15 == "all" && $11 == "" { print $17 }' "$1/results.csv"; }
holds "it measures what the model measured" test "$(bits start here 1)" = "$(bits seeds infini 1)"
sed -i 's/^update = delta/update = delta\nffn = 64/' start.ini
status 2 run start.ini --out start2
holds "a model of other shapes is refused" grep -q "m.safetensors: tensor 'layers.0.w_gate' has 8192 elements" err.txt
sed -i 's/^start = .*/start = nowhere.safetensors/' start.ini
wrong "start.ini:[0-9]*: start = nowhere.safetensors: there is no such file" run start.ini --out start2

# What the gate of the project expects can be run: rows, tasks and rules fit together.
right run "$ROOT/tasks/experiments/regression.ini" --tasks fixed_rouge,fixed_logits --only null,infini_delta --out fixed
printf 'task,stage,row,condition,position,metric,kind,bound\nfixed_rouge,*,*,*,*,*,exact,1e-9\n' >rouge.csv
right check fixed --against rouge-expected.csv --rules rouge.csv --update
# Google's rouge_score 0.1.2 of the same texts
for line in inflected,rouge1,58.3333333 references,rouge2,48 lines,rougeL,36.3636364 lines,rougeLsum,60.6060606 letters,rouge1,57.1428571 empty,rouge1,0; do
    IFS=, read -r place metric value <<<"$line"
    holds "$metric of $place is $value" grep -q ",$metric,0,$place,-1,exact,$value,1e-09," rouge-expected.csv
done

# Every architecture is measured on chronicles: the one with a window is not skipped.
sed 's/^steps = .*/steps = 2/; s/^warmup = .*/warmup = 1/; s/^samples = .*/samples = 2/' "$ROOT/tasks/experiments/regression.ini" >short.ini
right run short.ini --tasks chronicle,passkey --only transformer --out short --checkpoints short/c
holds "no task of the gate is skipped" test "$(grep -c ',skipped,' short/results.csv)" -eq 0
holds "chronicles are measured" grep -q ',chronicle,.*,words_named,' short/results.csv

# Every architecture has a row, and what is trained with the delta rule is not what is trained without.
"$BIN" list architectures | sed -n 's/^  \([a-z_]*\): .*/\1/p' >architectures.txt
holds "there are architectures" test "$(wc -l <architectures.txt)" -ge 10
holds "every architecture has a row in the gate" test -z "$(grep '^architecture = ' short.ini | cut -d' ' -f3 | sort -u | comm -13 - <(sort architectures.txt))"
right run short.ini --dry-run --out dry
for stage in text pairs keys events; do
    holds "every architecture is trained in stage $stage" test -z "$(awk -v stage="$stage]" '$1 == "[row" { a = $3; sub(/,/, "", a) }
        $1 == "[stage" && $2 == stage { print a }' out.txt | sort -u | comm -13 - <(sort architectures.txt))"
done
right run short.ini --tasks recall_far --only infini_linear,infini_delta --out far --checkpoints far/c
holds "linear and delta answer differently" test "$(awk -F, '$12 == "answer_nll" && $15 == "all" && $11 !~ /knockout/ { print $17 }' far/results.csv | sort -u | wc -l)" -eq 2

# The product has no fault in it, and the variable that plants one means nothing to it.
if command -v nm >/dev/null; then
    holds "no fault is in the product" test "$(nm "$BIN" | grep -c fault_planted)" -eq 0
fi
holds "the variable is unknown to it" test "$(grep -c INFINIBENCH_FAULT "$BIN")" -eq 0
planted=$(grep -rhoE 'FAULT\([a-z_]+\)' --include='*.c' "$ROOT/harness" "$ROOT/baselines" "$ROOT/tasks" | sed 's/FAULT(\(.*\))/\1/' | sort -u)
tried=$(sed -n "/^faults() {/,/^LIST/p" "$ROOT/scripts/check.sh" | awk 'NF == 3 && $1 != "none" { print $1 }' | sort -u)
holds "make check-power tries every fault that is in the code" test "$planted" = "$tried"
while read -r fault rows tasks; do
    holds "$fault: its rows and tasks are those of the gate" right run short.ini --dry-run --only "$rows" --tasks "$tasks" --out dry
done < <(sed -n "/^faults() {/,/^LIST/p" "$ROOT/scripts/check.sh" | awk 'NF == 3 && $1 != "none"')

finish
