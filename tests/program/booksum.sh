#!/bin/bash
# booksum.sh - fetching BookSum from a made-up release, and a model trained, measured and refused on summaries, from the command line.
# shellcheck source=tests/program/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir tmp
export TMPDIR=$WORK/tmp

# ---- the release ----
fetches() { # status, pattern in what it says, arguments
    local expected=$1 pattern=$2 status=0
    shift 2
    checks=$((checks + 1))
    timeout 60 "$ROOT/scripts/download_booksum.sh" "$@" >out.txt 2>err.txt || status=$?
    [ "$status" -eq "$expected" ] && grep -Eq "$pattern" out.txt err.txt && return 0
    say_failed "exit status $status, expected $expected with '$pattern': download_booksum.sh $*"
    sed 's/^/    /' out.txt err.txt
}
mkdir -p release finished_summaries/s/"A Title" finished_summaries/s/Emptied finished_summaries/g/B
for id in 1 2 3; do
    mkdir -p all_chapterized_books/$id-chapters
    make_text all_chapterized_books/$id-chapters/book_clean.txt 3000 $id
    echo chapter >all_chapterized_books/$id-chapters/1.txt
done
zip -qr release/books.zip all_chapterized_books
echo '{"name": "n", "summary": ["The lord was in the land.", "It was so."], "analysis": []}' >finished_summaries/s/"A Title"/overview.txt
echo '{"name": "n", "summary": ["They that hear shall be."]}' >finished_summaries/g/B/overview.json
line() { # bid, source, title, file
    echo "{\"bid\": \"$1\", \"source\": \"$2\", \"title\": \"$3\", \"summary_path\": \"/export/longsum/booksumm/finished_summaries/$2/$3/$4\", \"book_path\": \"/export/longsum/booksumm/all_chapterized_books/$1-chapters/book_clean.txt\"}"
}
echo '{"name": "n", "summary": [], "analysis": ["It was all taken for analysis."]}' >finished_summaries/s/Emptied/overview.txt
{ line 1 s "A Title" overview.txt; line 1 s "Not There" overview.txt; line 2 s Emptied overview.txt; } >release/book_summaries_aligned_train.jsonl
line 2 g B overview.json >release/book_summaries_aligned_val.jsonl
printf %s "$(line 3 g B overview.json | sed s,/export/longsum/booksumm/,,g)" >release/book_summaries_aligned_test.jsonl # paths as in the release of today; no line end
export INFINIBENCH_BOOKSUM_URL=file://$WORK/release INFINIBENCH_BOOKSUM_BOOKS=file://$WORK/release/books.zip
fetches 2 "no folder is named"
fetches 2 "no option '--summary'" --summary x y
fetches 2 "no folder nowhere" --summaries nowhere y
fetches 0 "3 books; no pairs" booksum
holds "no pairs yet" test ! -e booksum/train.jsonl
holds "whole books only" test -s booksum/all_chapterized_books/2-chapters/book_clean.txt -a ! -e booksum/all_chapterized_books/2-chapters/1.txt
INFINIBENCH_BOOKSUM_URL=file://$WORK/none INFINIBENCH_BOOKSUM_BOOKS=file://$WORK/none/b.zip \
    fetches 0 "train.jsonl: 1 pairs; of 2 the summary .* is not there or empty" --summaries finished_summaries booksum # nothing is asked for again
fetches 0 "test.jsonl: 1 pairs" --summaries finished_summaries booksum
holds "nothing temporary is left" test -z "$(ls -A tmp)" -a -z "$(find booksum -name '.*.part')"
echo x >>booksum/.release/book_summaries_aligned_val.jsonl
fetches 1 "at first download it was" booksum
INFINIBENCH_BOOKSUM_URL=http://127.0.0.1:9/x fetches 2 "was not reached .*INFINIBENCH_DATA" away
holds "no folder is left" test ! -e away
echo '<html>' >release/page.zip
INFINIBENCH_BOOKSUM_BOOKS=file://$WORK/release/page.zip fetches 1 "is no archive" gateway
make_corpus corpus

# ---- the task ----
cat >x.ini <<INI
[experiment]
title = a test
[budget]
preset = nano
warmup = 2
segments = 4
batch = 2
[stage train]
source = task:books
steps = 3
[row infini]
architecture = infini
[task books]
task = summarize
after = none
corpus = $WORK/booksum
length = 64
summary_tokens = 40
[task summarize]
corpus = $WORK/booksum
budgets = 64, 128
most = 30
temperature = 5
INI
right run x.ini --out res
# Of a step of 2 x 4 segments the summary alone has a loss; the rate counts all that is read.
number() { awk -F, -v m="$1" '$8 == "training" && $12 == m { print $17 }' res/results.csv; }
holds "read and scored: $(number tokens_read), $(number tokens_seen)" \
    test "$(number tokens_seen)" -gt 0 -a "$(number tokens_read)" -gt "$((2 * $(number tokens_seen)))"
holds "tokens/s are of what is read" \
    test "$(awk "BEGIN { print int($(number tokens_read) / $(number wall_seconds) / $(number tokens_per_second) * 1000 + 0.5) }")" = 1000
for what in '"",overall,F1' 'baseline=lead,rougeLsum' 'baseline=frequent,rouge1' 'baseline=random,output_words' 'output_words,words,128'; do
    what=${what#'"",'}
    holds "a row $what" grep -q "$what" res/results.csv
done
right train x.ini --row infini --out m.safetensors
eval_on() { wrong "$1" eval summarize --model m.safetensors --most 5 --length 32 --corpus "$WORK/bad"; }
mkdir bad
cp booksum/train.jsonl bad/train.jsonl
sed -i "s,/export/longsum/booksumm,$WORK/booksum,g" bad/train.jsonl
echo '{"id": "a", "text": "x"}' >bad/test.jsonl
eval_on "bad/test.jsonl:1: 'a' has no reference"
printf '{"id": "a", "text": "x\xff", "summary": "s"}\n' >bad/test.jsonl
eval_on "bad/test.jsonl:1: no JSON at byte"
echo '{"id": "a", "text_file": "gone.txt", "summary": "s"}' >bad/test.jsonl
eval_on "bad/test.jsonl:1: text_file = 'gone.txt'"
echo '{"id": "a", "text": "x", "summary": ""}' >bad/test.jsonl
eval_on "summary of 'a' is empty"
echo '{"id": "a", "text": "x", "summary": "s"}' >bad/test.jsonl
cp bad/train.jsonl good.jsonl
echo '{"id": "b", "text": "x", "summary": "\f\u000b"}' >bad/train.jsonl # the control `random` would look in it for a word for ever
eval_on "bad/train.jsonl:1: summary of 'b' is empty"
mv good.jsonl bad/train.jsonl
{ printf '{"id": "a", "summary": "s", "text": "'; head -c 100000000 /dev/zero | tr '\0' x; echo '"}'; } >bad/test.jsonl
eval_on "bad/test.jsonl:1: the line is longer than 67108864 bytes"
rm bad/test.jsonl
eval_on "there is no file .*bad/test.jsonl"
wrong "the nearest known name is 'booksum'" eval summarize --model m.safetensors --corpus boksum
finish
