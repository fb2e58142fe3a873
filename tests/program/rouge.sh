#!/bin/bash
# rouge.sh - `infinibench rouge`: files, lines, JSONL; bad input is a sentence or a score that the docs define, never a crash.
. "$(dirname "$0")/lib.sh"
cell() { awk -F, -v c="$2" -v n="$3" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) at = i } NR == n + 1 { print $at }' "$1"; }
is() { # file, column, pair, value
    checks=$((checks + 1))
    local got
    got=$(cell "$1" "$2" "$3")
    awk -v a="$got" -v b="$4" 'BEGIN { d = a - b; exit !(a != "" && d <= 1e-12 && d >= -1e-12) }' || say_failed "$2 of pair $3: '$got', expected $4"
}

# two files: one text each, or a text a line
printf 'w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5\n' >c.txt
printf 'w1 w2 w3 w4 w5\n' >r.txt
right rouge --candidate c.txt --reference r.txt --csv o.csv
holds "words stand beside scores" grep -Eq '^rougeLsum +0.4000 +0.8000 +0.5333 +10.0 +5.0$' out.txt
is o.csv rougeLsum_recall 1 0.8
is o.csv rougeLsum_precision 1 0.4
printf 'cats run\n\nhopping mad' >c.txt
printf 'cat runs\nx\nhop mad\n' >r.txt
right rouge --candidate c.txt --reference r.txt --lines --csv o.csv
is o.csv rouge1_f1 1 1
is o.csv rouge2_f1 2 0
is o.csv overall 3 1
holds "a candidate without words is named" grep -q '^1 candidate has no word' out.txt
right rouge --candidate c.txt --reference r.txt --lines --no-stem --csv o.csv
is o.csv rouge1_f1 1 0
is o.csv rouge1_f1 3 0.5
printf 'cats run\nanother\nmad' >r2.txt
right rouge --candidate c.txt --reference r.txt r2.txt --lines --no-stem --csv o.csv
is o.csv rougeL_f1 1 1
is o.csv references 2 2
right rouge --candidate c.txt --reference c.txt --lines --seed 2
cp out.txt first.txt
right rouge --candidate c.txt --reference c.txt --lines --seed 2 --threads 2
holds "equal seeds, any threads: equal output" cmp -s out.txt first.txt
intervals() { # of 40 pairs of different words, with that seed
    right rouge --candidate many.txt --reference same.txt --lines --seed "$1"
    grep '^rouge' out.txt
}
for i in $(seq 40); do echo "the cat sat on mats" | cut -d ' ' -f 1-$((i % 5 + 1)); done >many.txt
yes "the cat sat on mats" | head -40 >same.txt
intervals 1 >one.txt
intervals 1 >again.txt
intervals 2 >two.txt
holds "the seed draws the intervals" test "$(cat one.txt)" = "$(cat again.txt)" -a "$(cat one.txt)" != "$(cat two.txt)"
: >empty.txt
right rouge --candidate empty.txt --reference r.txt
right rouge --candidate c.txt --reference empty.txt --csv o.csv
is o.csv overall 1 0
head -c 200000 /dev/urandom >random.bin
right rouge --candidate random.bin --reference random.bin --csv o.csv
is o.csv rougeLsum_f1 1 1
printf 'caf\xe9 \xff\xc4\n' >latin.txt
printf 'caf\n' >ascii.txt
right rouge --candidate latin.txt --reference ascii.txt --csv o.csv
is o.csv rouge1_f1 1 1
wrong "c.txt has 3 lines, ascii.txt has 1.*--lines" rouge --candidate c.txt --reference ascii.txt --lines
wrong "empty.txt: empty" rouge --candidate empty.txt --reference empty.txt --lines
wrong "cannot open nosuch.txt" rouge --candidate nosuch.txt --reference r.txt
wrong "cannot open nosuch.txt" rouge --candidate c.txt --reference r.txt nosuch.txt

# JSONL
cat >p.jsonl <<'J'
{"prediction": "the cat", "summary": "the cat sat", "n": 1}

{"prediction": "a b", "summary": ["x", "a b", ""]}
{"prediction": "caf\u00e9 \u212aelvin\u0000x", "summary": "caf kelvin x"}
{"prediction": "", "summary": ""}
J
right rouge --jsonl p.jsonl --csv o.csv
is o.csv rouge1_precision 1 1
is o.csv line 2 3
is o.csv references 2 3
is o.csv reference_words 2 1
is o.csv rougeL_f1 3 1
is o.csv overall 4 0
holds "empty texts are named" grep -q '^1 pair has no word in any reference' out.txt
sed 's/prediction/ours/; s/summary/gold/' p.jsonl >q.jsonl
right rouge --jsonl q.jsonl --candidate-key ours --reference-key gold
bad_line() { # line, pattern
    printf '{"prediction": "a", "summary": "a"}\n%s\n' "$1" >b.jsonl
    wrong "b.jsonl:2: .*$2" rouge --jsonl b.jsonl
}
bad_line '{"summary": "a", "predicted": "b"}' "no key 'prediction'.*--candidate-key.*summary, predicted"
bad_line '{"prediction": "a"}' "no key 'summary'.*--reference-key"
bad_line '{}' "no key 'prediction'.*empty"
bad_line '{"prediction": 3, "summary": "a"}' "'prediction' is a number, expected a string"
bad_line '{"prediction": "a", "summary": null}' "'summary' is null, expected a string or a list"
bad_line '{"prediction": "a", "summary": []}' "'summary' is an empty list"
bad_line '{"prediction": "a", "summary": ["a", {}]}' "'summary'\[1\] is an object"
bad_line '{"prediction": "a", "summary": "a", "summary": "b"}' "duplicate object key" # which of them is meant nobody knows
bad_line '["a", "b"]' "a list, expected an object"
bad_line '{"prediction": "a"' "not JSON"
bad_line "$(printf '{"prediction": "\xff", "summary": "a"}')" "not JSON.*(UTF-8|decode)"
bad_line '{"prediction": "\ud800", "summary": "a"}' "not JSON"
: >b.jsonl
wrong "b.jsonl: no pairs" rouge --jsonl b.jsonl
wrong "--candidate FILE and --reference FILE, or --jsonl" rouge --candidate c.txt
wrong "--jsonl.*does not go with" rouge --jsonl p.jsonl --lines
wrong "go with --jsonl" rouge --candidate c.txt --reference r.txt --reference-key x
wrong "'--refrence'.*'--reference'" rouge --candidate c.txt --refrence r.txt
wrong "--seed 'x'" rouge --jsonl p.jsonl --seed x
wrong "nosuch/o.csv" rouge --jsonl p.jsonl --csv nosuch/o.csv
wrong "--jsonl names the pairs of bench rouge" bench train --jsonl p.jsonl
right bench rouge --jsonl p.jsonl --csv bench.csv
holds "bench rouge writes rates" grep -q '^rouge,p.jsonl,1 threads,' bench.csv

# a line of 100 MB: one word, then many words against few, then both too long for a common subsequence
{ printf '{"summary": "a word", "prediction": "'; head -c 100000000 /dev/zero | tr '\0' 'a'; printf '"}\n'; } >big.jsonl
right rouge --jsonl big.jsonl --csv o.csv
is o.csv candidate_words 1 1
{ printf '{"summary": "a word", "prediction": "'; yes 'a b' | head -c 100000000 | tr '\n' ' '; printf '"}\n'; } >big.jsonl
right rouge --jsonl big.jsonl --csv o.csv
is o.csv candidate_words 1 50000000
is o.csv rougeL_recall 1 0.5
yes 'a b' | head -c 100000000 >big.txt
wrong "big.txt:1: a candidate of 50000000 words and a reference of 50000000 in [0-9]+ lines are too long" rouge --candidate big.txt --reference big.txt

finish
