#!/bin/bash
# models.sh - model files: damaged ones are refused; logits, eval and generate agree with each other.
. "$(dirname "$0")/lib.sh"
make_corpus corpus
make_experiment x.ini 4
right train x.ini --row infini --out m.safetensors
text=corpus/test/r.txt
try() { wrong "$1" logits --model "$2" --input $text --output o.npy; }

try "none.safetensors" none.safetensors
: >zero.safetensors
try "zero.safetensors.*safetensors" zero.safetensors
size=$(stat -c %s m.safetensors)
for keep in 5 60 $((size / 2)) $((size - 1)); do
    head -c "$keep" m.safetensors >cut.safetensors
    try "cut.safetensors.*(truncated|damaged|no safetensors)" cut.safetensors
done
{ cat m.safetensors; printf 'more'; } >long.safetensors
try "long.safetensors" long.safetensors
for at in $((size - 10)) $((size * 3 / 4)) 400; do
    cp m.safetensors bad.safetensors
    printf '\377\376' | dd of=bad.safetensors bs=1 seek="$at" conv=notrunc status=none
    try "bad.safetensors" bad.safetensors
done
cp $text text.safetensors
try "text.safetensors.*safetensors" text.safetensors
# a foreign file: right format, other contents
header='{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
{ printf "\\$(printf %o ${#header})\\0\\0\\0\\0\\0\\0\\0"; printf '%s\0\0\0\0' "$header"; } >foreign.safetensors
try "foreign.safetensors.*not an infinibench model" foreign.safetensors

# The stage after which a model is saved: the last that the row goes through, or the one that is named; it is in the file.
cat >stages.ini <<INI
[experiment]
seeds = 1, 2
[budget]
preset = nano
warmup = 2
[stage one]
source = $WORK/corpus
steps = 3
[stage two]
source = $WORK/corpus
steps = 2
[stage three]
source = $WORK/corpus
steps = 1
only = other
[row here]
architecture = infini
seeds = 2
[row other]
architecture = infini
INI
stage_of() { "$BIN" info "$1" | sed -n 's/^  stage  *//p'; }
right train stages.ini --row here --out here.safetensors
holds "its last stage, not the file's" test "$(stage_of here.safetensors)" = two
holds "its first seed, not the file's" grep -q "^  seed  *2$" <("$BIN" info here.safetensors)
holds "the stage that it is excluded from was not trained" test ! -e "$(find build/checkpoints/stages -name three)"
right train stages.ini --row here --stage one --out one.safetensors
holds "a stage by name" test "$(stage_of one.safetensors)" = one
right train stages.ini --row here --stage init --out init.safetensors
holds "none" test "$(stage_of init.safetensors)" = init
right train stages.ini --row other --out other.safetensors
holds "the last of another row" test "$(stage_of other.safetensors)" = three
wrong "row here. does not go through .stage three. with seed 2" train stages.ini --row here --stage three --out no.safetensors
wrong "stages.ini has no seed 1 for row here" train stages.ini --row here --seed 1 --out no.safetensors
right train stages.ini --row here --dry-run --stage one
holds "the plan goes as far" test "$(grep -c '^  .stage ' out.txt)" -eq 1
right generate --model here.safetensors --prompt $text --tokens 2 # readers take the file

# --seed of eval is the task's own
right eval passkey --model m.safetensors --length 512 --samples 2 --positions middle --out seeds1
right eval passkey --model m.safetensors --length 512 --samples 2 --positions middle --out seeds2 --seed 7
right eval passkey --model m.safetensors --length 512 --samples 2 --positions middle --out seeds3 --seed 1
values() { awk -F, '$12 == "answer_nll" { print $17 }' "$1/results.csv"; }
holds "another seed, other samples" test "$(values seeds1)" != "$(values seeds2)"
holds "seed 1 is the default" test -n "$(values seeds1)" -a "$(values seeds1)" = "$(values seeds3)"
wrong "task language_modeling draws nothing at random: --seed would change no number" eval language_modeling --model m.safetensors --corpus ./corpus --seed 2

# a row is named by the file, without what would be two words of a picture
cp m.safetensors "a model, mine.safetensors"
right eval passkey --model "a model, mine.safetensors" --length 512 --samples 2 --positions middle --out blanks
holds "the row has a name without blanks" grep -q ',a_model__mine.safetensors,' blanks/results.csv

# info names what is inside
right info m.safetensors
holds "info shows the architecture" grep -q "architecture=infini" out.txt
holds "info shows the gates" grep -q "beta" out.txt

# NumPy arrays: 128 bytes of header, then float32
floats() { tail -c +129 "$1" | od -An -v -w4 -t f4; }
right logits --model m.safetensors --input $text --output nll.npy --nll
n=$(stat -c %s $text)
holds "one NLL a token" test "$(stat -c %s nll.npy)" -eq $((128 + 4 * n))
right logits --model m.safetensors --input $text --output logits.npy
holds "256 logits a token" test "$(stat -c %s logits.npy)" -eq $((128 + 1024 * n))

# logits equals eval: the sums of all documents
sum=$(for f in corpus/test/*.txt; do
    "$BIN" --quiet logits --model m.safetensors --input "$f" --output d.npy --nll 2>/dev/null
    floats d.npy
done | awk '{ s += $1 } END { printf "%.6f", s }')
right eval language_modeling --model m.safetensors --corpus ./corpus --csv eval.csv
score=$(awk -F, '$11 == "" && $12 == "nll_sum" { print $17 }' eval.csv)
holds "sum of logits --nll ($sum) is nll_sum of eval ($score)" \
    awk -v a="$sum" -v b="$score" 'BEGIN { d = a - b; exit !(b > 0 && d * d < 1e-8 * b * b) }'
holds "perplexities and bits per byte follow from the sums" awk -F, '
    $11 == "" && $15 == "all" { v[$12] = $17 }
    function near(a, b) { d = a - b; return b > 0 && d * d < 1e-10 * b * b }
    END { exit !(near(v["token_perplexity"], exp(v["nll_sum"] / v["tokens"])) && near(v["word_perplexity"], exp(v["nll_sum"] / v["words"])) &&
                 near(v["bits_per_byte"], v["nll_sum"] / log(2) / v["bytes"])) }' eval.csv
holds "words and bytes are those of the files" awk -F, -v w="$(cat corpus/test/*.txt | wc -w)" -v b="$(cat corpus/test/*.txt | wc -c)" '
    $11 == "" && $12 == "words" { words = $17 } $11 == "" && $12 == "bytes" { bytes = $17 } END { exit !(words == w && bytes == b) }' eval.csv
right eval language_modeling --model m.safetensors --corpus ./corpus --out kept
# samples.csv: metric 7, sample 8, position 9, value 10, weight 11, condition 6
holds "positions of a document add up to the document" awk -F, '
    $6 != "" || $7 != "bits_per_byte" { next }
    $9 == "all" { all[$8] = $10; size[$8] = $11; next } { sum[$8] += $10; part[$8] += $11 }
    END { for (d in all) { n++; e = all[d] - sum[d]; if (!(e * e < 1e-10 * all[d] * all[d] && part[d] == size[d])) exit 1 } exit n != 3 }' kept/samples.csv
# rows and segments of a call do not matter
wrong "row .a b. may hold" eval language_modeling --model m.safetensors --corpus ./corpus --row "a b"
right eval language_modeling --model m.safetensors --corpus ./corpus --rows 3 --segments 2 --csv rows.csv
rows=$(awk -F, '$11 == "" && $12 == "nll_sum" { print $17 }' rows.csv)
holds "three rows ($rows) score what one row scores ($score)" \
    awk -v a="$rows" -v b="$score" 'BEGIN { d = a - b; exit !(b > 0 && d * d < 1e-8 * b * b) }'

# NLL from the logits: -log softmax at the byte that follows
tail -c +129 logits.npy | od -An -v -w1024 -t f4 | head -n 300 >rows.txt
od -An -v -w1 -t u1 $text | head -n 300 >bytes.txt
floats nll.npy | head -n 300 >nll.txt
holds "NLL is -log softmax of the logits" awk '
    FILENAME == "bytes.txt" { byte[++b] = $1; next }
    FILENAME == "nll.txt" { nll[++k] = $1; next }
    { m = $1; for (i = 2; i <= NF; i++) if ($i > m) m = $i
      s = 0; for (i = 1; i <= NF; i++) s += exp($i - m)
      d = m + log(s) - $(byte[++r] + 1) - nll[r]; if (!(d * d < 1e-8)) { print "row", r, "differs by", d; bad = 1 } }
    END { exit bad || r != 300 }' bytes.txt nll.txt rows.txt
# --last K is the tail; cutting a call elsewhere changes nothing but rounding
right logits --model m.safetensors --input $text --output last.npy --nll --last 77
holds "--last K is the tail" cmp <(tail -c $((4 * 77)) nll.npy) <(tail -c +129 last.npy)
right logits --model m.safetensors --input $text --output one.npy --nll --segments 1
holds "one segment a call gives the same" awk '{ d = $1 - $2; if (!(d * d < 1e-8)) { print NR, $0; exit 1 } }' <(paste <(floats nll.npy) <(floats one.npy))

# generate: the same bytes for the same seed; temperature 0 takes the largest logit (token by token equals prefill)
head -c 100 $text >prompt.txt
right generate --model m.safetensors --prompt prompt.txt --tokens 60 --seed 5
cp out.txt first.txt
right generate --model m.safetensors --prompt prompt.txt --tokens 60 --seed 5
holds "the same seed generates the same" cmp -s out.txt first.txt
right generate --model m.safetensors --prompt prompt.txt --tokens 60 --temperature 0
head -c -1 out.txt >greedy.txt
cat prompt.txt greedy.txt >both.txt
right logits --model m.safetensors --input both.txt --output both.npy --last "$(stat -c %s greedy.txt)"
tail -c +129 both.npy | od -An -v -w1024 -t f4 >rows.txt
od -An -v -w1 -t u1 greedy.txt >bytes.txt
holds "temperature 0 takes the largest logit" awk '
    FILENAME == "bytes.txt" { byte[++b] = $1; next }
    { best = 1; for (i = 2; i <= NF; i++) if ($i > $best + 1e-6) best = i
      if (best != byte[++r] + 1 && $best - $(byte[r] + 1) > 1e-4) { print "row", r; bad = 1 } }
    END { exit bad || !r }' bytes.txt rows.txt
wrong "temperature" generate --model m.safetensors --prompt prompt.txt --temperature -1
wrong "top-p" generate --model m.safetensors --prompt prompt.txt --top-p 2

finish
