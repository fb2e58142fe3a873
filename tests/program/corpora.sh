#!/bin/bash
# corpora.sh - bad and unusual text: missing, empty, binary, not UTF-8; documents shorter than a segment.
. "$(dirname "$0")/lib.sh"
make_corpus corpus
make_experiment x.ini 2
again() { rm -rf corpus res build && make_corpus corpus; }

rm -rf corpus
wrong "corpus" run x.ini --out res
again
rm -rf corpus/train
wrong "corpus.*train" run x.ini --out res
again
rm corpus/train/*
wrong "corpus/train.*no text" run x.ini --out res
again
: >corpus/train/empty.txt
wrong "corpus/train/empty.txt.*empty" run x.ini --out res
again
printf 'in the \0 beginning' >corpus/train/binary.txt
wrong "corpus/train/binary.txt.*byte 0.*offset 7" run x.ini --out res
again
printf 'caf\351 noir' >corpus/train/latin1.txt
wrong "corpus/train/latin1.txt.*UTF-8.*offset 3" run x.ini --out res
again
printf 'caf\303' >corpus/test/cut.txt
wrong "corpus/test/cut.txt.*UTF-8" run x.ini --out res

# UTF-8 of several bytes, documents of one byte and shorter than a segment (32 at nano) are fine.
again
printf 'x' >corpus/test/one.txt
printf 'na\303\257ve \342\202\254 \360\235\204\236' >corpus/test/utf8.txt
right run x.ini --out res
holds "each document has a sample" test "$(grep -c ',one.txt,all,\|,utf8.txt,all,' res/samples.csv)" -ge 2
bytes=$(cat corpus/test/*.txt | wc -c)
holds "all bytes of the test split are scored" grep -q ",bytes,bytes,[^,]*,all,[^,]*,$bytes," res/results.csv

# a task that names no corpus measures again when the test texts of the training's corpus have changed, and only then
sed '/^corpus = /d' x.ini >own.ini
right run own.ini --out own
right run own.ini --out own
cells() { awk -F, '$8 == "language_modeling" { print $22 }' own/results.csv | sort -u | wc -l; }
holds "nothing is measured twice" test "$(cells)" -eq 2
printf 'one more text' >corpus/test/more.txt
right run own.ini --out own
holds "other texts, other cells" test "$(cells)" -eq 4
rm corpus/test/more.txt

# the same for texts given by hand
right train x.ini --row infini --out m.safetensors
: >empty.txt
wrong "empty.txt.*empty" logits --model m.safetensors --input empty.txt --output o.npy
printf 'a\0b' >binary.txt
wrong "binary.txt.*byte 0" logits --model m.safetensors --input binary.txt --output o.npy
wrong "missing.txt" logits --model m.safetensors --input missing.txt --output o.npy
wrong "cannot write nowhere/o.npy" logits --model m.safetensors --input corpus/test/r.txt --output nowhere/o.npy
wrong "corpus" eval language_modeling --model m.safetensors --corpus ./nowhere
wrong "'split'.*'tset'|split.*tset" eval language_modeling --model m.safetensors --corpus ./corpus --split tset
wrong "'limitt'.*'limit'" eval language_modeling --model m.safetensors --corpus ./corpus --limitt 3

finish
