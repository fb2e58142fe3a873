#!/bin/sh
# train_tokenizer.sh CORPUS [PIECES=4096] [OUT] - trains the SentencePiece model that `tokenizer = sentencepiece:NAME-PIECES` finds.
#
# CORPUS is a name as in experiments (kjv, pg19, math) or the path of a folder with train/; OUT is build/data/sentencepiece/NAME-PIECES.model
# unless given. The same corpus gives the same file, byte for byte: one thread, files in the order of their bytes, no path inside. OUT appears
# whole. Prints where it is and its SHA-256. It learns from the train split alone: the first 64 KB (65536 bytes, cut at the last line end) of
# every file; of more than 500 files every second, third, ...
#
# Why these options: BPE packs English and LaTeX tighter than a unigram model of this size (docs/methods.md has the figures). Nothing may be
# lost: no normalisation, no dummy prefix, no removal of white space, bytes for characters that are no piece (so <unk> is never met). Lines are
# what spm_train reads, so it never sees a newline: "\n" and "\n\n" are given as pieces. Rows of blanks may be pieces (verse, source code).
# Digits stand alone. <s> is 0, the token that begins and ends a document.
set -eu
LC_ALL=C
export LC_ALL

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
    echo "usage: scripts/train_tokenizer.sh CORPUS [PIECES=4096] [OUT]" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
pieces=${2:-4096}
case $pieces in '' | *[!0-9]*) echo "train_tokenizer.sh: PIECES is '$pieces', which is no number; give e.g. 4096" >&2; exit 2 ;; esac
name=$(basename "$1")
case $1 in
*/*) corpus=$1 ;;
kjv) corpus=$root/build/data/kjv ;;
*) corpus=$root/../shared/data/$1 ;;
esac
case $1 in */*) ;; *) [ ! -d "${INFINIBENCH_DATA:-}/$1/train" ] || corpus=$INFINIBENCH_DATA/$1 ;; esac
if [ ! -d "$corpus/train" ]; then
    echo "train_tokenizer.sh: there is no folder $corpus/train; set INFINIBENCH_DATA to the folder that holds $name, name a folder by its" \
        "path, or for kjv run scripts/prepare_kjv.sh build/data/kjv" >&2
    exit 2
fi
command -v spm_train >/dev/null 2>&1 || {
    echo "train_tokenizer.sh: the 'spm_train' command is missing; apt-get install sentencepiece (or make deps)" >&2
    exit 2
}
out=${3:-$root/build/data/sentencepiece/$name-$pieces.model}
mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d "$out.XXXXXX.tmp")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

every=$((($(find "$corpus/train" -type f ! -name '*.csv' ! -name '.*' | wc -l) + 499) / 500)) seen=0
for file in "$corpus"/train/*; do
    case $file in *.csv) continue ;; esac
    [ -f "$file" ] || continue
    seen=$((seen + 1))
    [ $((seen % every)) -eq 0 ] || continue
    dd if="$file" bs=65536 count=1 of="$work/head" 2>/dev/null
    if [ "$(wc -c <"$work/head")" -lt 65536 ]; then cat "$work/head"; else sed '$d' "$work/head"; fi
done >"$work/sample"
if [ ! -s "$work/sample" ]; then
    echo "train_tokenizer.sh: $corpus/train holds no text with a line end in its first 64 KB" >&2
    exit 2
fi
newline='
'
# From inside $work and under fixed names: the model keeps the options it was trained with.
cd "$work"
spm_train --input=sample --model_prefix=m --model_type=bpe --vocab_size="$pieces" --num_threads=1 --split_digits=true --byte_fallback=true \
    --normalization_rule_name=identity --add_dummy_prefix=false --remove_extra_whitespaces=false --allow_whitespace_only_pieces=true \
    --user_defined_symbols="$newline,$newline$newline" --character_coverage=0.9995 --max_sentence_length=65536 \
    --bos_id=0 --unk_id=1 --eos_id=-1 --pad_id=-1 >log 2>&1 || {
    tail -n 3 log >&2
    echo "train_tokenizer.sh: spm_train failed; $pieces pieces must be more than 260 and the letters of the text, and the text long enough" >&2
    exit 2
}
mv m.model "$out"
echo "$out: $pieces pieces from $(wc -c <sample) bytes, sha256 $(sha256sum <"$out" | cut -d ' ' -f 1)"
