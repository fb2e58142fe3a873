#!/bin/bash
# passkey.sh - the model that comes with the program retrieves, by greedy decoding and by forced scoring alike; bad input of the task.
. "$(dirname "$0")/lib.sh"
model=$ROOT/results/table3-micro/models/infini_linear-s1-carried_in.safetensors
cd "$ROOT" || exit 2 # the model names its tokenizer by a path from here
value() { awk -F, -v m="$2" -v p="$3" 'NR > 1 && $12 == m && $15 == p { print $17 }' "$1/results.csv" | head -n 1; }
for decoding in greedy forced; do
    right eval passkey --model "$model" --length 4K --samples 8 --seed 3 --decoding $decoding --out "$WORK/$decoding"
    for place in start middle end; do
        checks=$((checks + 1))
        got=$(value "$WORK/$decoding" exact_match $place)
        awk -v x="$got" 'BEGIN { exit !(x >= 0.875) }' || say_failed "exact match at $place, $decoding: '$got', expected at least 7 of 8"
    done
done
wrong "below the prompt's minimum" eval passkey --model "$model" --length 20 --samples 1
wrong "samples = 0" eval passkey --model "$model" --length 4K --samples 0
finish
