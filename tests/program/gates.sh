#!/bin/bash
# gates.sh - the task gates from outside: the head of the committed model that retrieves is found, a model without gates stands in an
# experiment, a rerun measures nothing twice, bad input.
. "$(dirname "$0")/lib.sh"
model=$ROOT/results/table3-micro/models/infini_linear-s1-carried_in.safetensors
cd "$ROOT" || exit 2 # the model names its tokenizer by a path from here
value() { awk -F, -v m="$2" -v c="$3" -v p="$4" 'NR > 1 && $12 == m && index($11, c) && $15 == p { print $17 }' "$1/results.csv"; }
right eval gates --model "$model" --measure passkey --knock_out zero --length 1K --samples 4 --heads 0.1,2.2 --out "$WORK/keys"
holds "head 2.2 loses all answers when its memory reads zero" \
    awk -v x="$(value "$WORK/keys" exact_match_change knockout=zero 2.2)" 'BEGIN { exit !(x != "" && x <= -0.75) }'
holds "head 0.1 loses none" \
    awk -v x="$(value "$WORK/keys" exact_match_change knockout=zero 0.1)" 'BEGIN { exit !(x != "" && x >= -0.25) }'
holds "a gate for each of 12 heads" [ "$(awk -F, '$12 == "gate"' "$WORK/keys/results.csv" | wc -l)" -eq 12 ]
wrong "there is no head 3\.0; the model has layers 0 to 2 with heads 0 to 3" eval gates --model "$model" --measure passkey --heads 3.0
wrong "there is no head 0\.4" eval gates --model "$model" --measure none --heads 0.4
wrong "'first' is not layer.head" eval gates --model "$model" --measure none --heads first
wrong "measure: 'passkeys' is unknown; the nearest is passkey" eval gates --model "$model" --measure passkeys
wrong "knock_out: 'on' is unknown" eval gates --model "$model" --measure none --knock_out on
wrong "below the prompt's minimum" eval gates --model "$model" --measure passkey --length 20
wrong "positions: 'begin' is unknown" eval gates --model "$model" --measure passkey --positions begin
wrong "there is no corpus at" eval gates --model "$model" --corpus "$WORK/nowhere"

cd "$WORK" || exit 2
make_corpus corpus
make_experiment x.ini 3
printf '[task gates]\ncorpus = %s\n' "$WORK/corpus" >>x.ini
right run x.ini --out r
holds "a model without gates is skipped with the reason" grep -q ",null,null,train,1,gates,.*,skipped=the architecture has no gates,skipped," r/results.csv
holds "each head and all of them are knocked out in both ways" \
    [ "$(awk -F, '$4 == "infini" && $12 == "bits_per_byte_change"' r/results.csv | wc -l)" -eq 10 ]
cp r/results.csv before.csv
right run x.ini --out r
holds "a rerun measures nothing again" cmp -s before.csv r/results.csv
right report r
holds "the report says what is left out" grep -q "null is left out: the architecture has no gates" r/report.md
holds "the report asks for the paper's two kinds of heads" grep -q "^- infini: .*of 4 heads are specialised" r/report.md
sed -i 's/^\[task gates\]/&\nmeasure = bits/' x.ini
wrong "measure: 'bits' is unknown" run x.ini --out other
finish
