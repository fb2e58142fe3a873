#!/bin/bash
# chronicle.sh - the task chronicle from the command line: trained on in stages, measured at several lengths, reported; bad input.
# shellcheck source=tests/program/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT" || exit 2 # the tokenizer is named by a path from here
cat >"$WORK/x.ini" <<INI
[experiment]
title = a test
[budget]
preset = nano
tokenizer = sentencepiece:tasks/data/chronicle-640.model
warmup = 2
batch = 2
[stage mixed]
source = task:lessons
lessons.segment = 0
lessons.length_min = 64
lessons.length = 90
steps = 2
[stage carried]
source = task:lessons
lessons.carried = 20
segments = 5
steps = 2
[row infini_linear]
architecture = infini
update = linear
[row infini_none]
architecture = infini
update = none
[task lessons]
task = chronicle
after = none
segment = 32
length = 128
events = 2
distractors = 1
[task chronicle]
segment = 32
length = 512
budgets = 128, 256, 512
samples = 3
events = 2
distractors = 1
places = log
knock_out = yes
most = 30
INI
right run "$WORK/x.ini" --out "$WORK/res"
results=$WORK/res/results.csv
for what in 'places=log,overall,F1 x 100,512' 'places=log,ceiling_rouge1,F1 x 100,128' 'places=log,floor_overall,F1 x 100,256' \
    'knockout=zero;places=log,events_named,fraction,512' 'places=log,stopped,fraction,512'; do
    holds "a row $what" grep -q "$what" "$results"
done
holds "everything is within 512 tokens" grep -Eq 'places=log,ceiling_overall,F1 x 100,512,all,-1,(100|99\.9999)' "$results"
lines=$(wc -l <"$results")
right run "$WORK/x.ini" --out "$WORK/res"
holds "nothing is done twice" test "$(wc -l <"$results")" -eq "$lines"
right report "$WORK/res"
holds "what was said is there to read" grep -q "^| infini._linear | L512-0 | 512 |" "$WORK/res/report.md"
holds "with its texts" test "$(zcat "$WORK"/res/texts/*.jsonl.gz | grep -c '"sample":"L512-0"')" -ge 2
holds "the ceiling is in the report" grep -q "lists only what was read: all events within reach" "$WORK/res/report.md"
holds "the table behind the picture" grep -q "^ceiling - 512" "$WORK/res/chronicle-rouge.tsv"
right train "$WORK/x.ini" --row infini_linear --out "$WORK/m.safetensors"
wrong "budget 8192 is more than length = 4096" eval chronicle --model "$WORK/m.safetensors" --budgets 8K
wrong "no multiple of segment = 128" eval chronicle --model "$WORK/m.safetensors" --length 1000
wrong "is too short for 16 events" eval chronicle --model "$WORK/m.safetensors" --length 128 --events 16
wrong "there is no corpus" eval chronicle --model "$WORK/m.safetensors" --haystack book --corpus /nowhere/at/all
right eval chronicle --model "$WORK/m.safetensors" --length 512 --segment 32 --samples 2 --decoding sampled --most 20 --haystack shuffled
finish
