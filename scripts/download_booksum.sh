#!/bin/sh
# download_booksum.sh [--summaries DIR] [--quiet] DIR - the book level of BookSum (Kryscinski et al. 2021, arXiv 2105.08209) as
# DIR/{train,validation,test}.jsonl, which the task summarize reads, with the texts that it names. Needs curl and unzip.
#
# What is public, by the README of github.com/salesforce/booksum: which summary belongs to which book and split
# (alignments/book-level-summary-alignments), and the books themselves (all_chapterized_books.zip in a public bucket). The summaries belong to
# the sites that wrote them; Salesforce's scripts collect them from a web archive and leave a folder finished_summaries. This script does not
# collect them: run those (their legal note applies), then name the folder in --summaries. Without it the alignments and the books are
# fetched, and no pairs are made. A pair appears in SPLIT.jsonl when both its files are there and hold something; how many are missing is said.
#
# No checksum is official: SHA-256 sums are recorded in DIR/checksums.tsv at first download and compared with from then on. What is there is not
# asked for again; the archive goes on where it was cut off. INFINIBENCH_BOOKSUM_URL names another place of the alignments,
# INFINIBENCH_BOOKSUM_BOOKS one of the archive.
# THIS SCRIPT WAS NEVER RUN AGAINST THE REAL HOSTS (it was written without a network); tests/program/booksum.sh runs it on a made-up release.
# Exit status: 0 fine, 1 a file is not what it was, 2 bad usage or a place that cannot be reached.
# shellcheck disable=SC1091,SC2034,SC2154
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/download_lib.sh
. "$here/download_lib.sh"
url=${INFINIBENCH_BOOKSUM_URL:-https://raw.githubusercontent.com/salesforce/booksum/main/alignments/book-level-summary-alignments}
books=${INFINIBENCH_BOOKSUM_BOOKS:-https://storage.googleapis.com/sfr-books-dataset-chapters-research/all_chapterized_books.zip}
usage="usage: scripts/download_booksum.sh [--summaries DIR] [--quiet] DIR"

summaries='' out=''
while [ $# -gt 0 ]; do
    case $1 in
    --summaries) [ $# -ge 2 ] || die 2 "--summaries needs a folder; $usage"; summaries=$2; shift ;;
    --quiet) quiet=yes ;;
    -h | --help) echo "$usage"; exit 0 ;;
    -*) die 2 "there is no option '$1'; $usage" ;;
    *) [ -z "$out" ] || die 2 "two folders are named, '$out' and '$1'; $usage"; out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || die 2 "no folder is named; $usage"
if [ -n "$summaries" ]; then
    [ -d "$summaries" ] || die 2 "there is no folder $summaries; --summaries names the finished_summaries of Salesforce's scripts"
    summaries=$(cd "$summaries" && pwd)
fi
for tool in curl unzip; do command -v $tool >/dev/null 2>&1 || die 2 "$tool is missing; apt-get install $tool"; done
created=no
[ -e "$out" ] || created=yes
if ! mkdir -p "$out" 2>/dev/null || [ ! -w "$out" ]; then die 2 "cannot write to the folder $out"; fi
out=$(cd "$out" && pwd)
tmp=$(mktemp -d)
# A folder in which nothing came to be is not left behind.
trap 'rm -rf "$tmp"; rmdir "$out/.release" 2>/dev/null || :; [ $created = no ] || rmdir "$out" 2>/dev/null || :' EXIT
trap 'progress_end; echo "$me: stopped; the same command goes on from here" >&2; exit 130' HUP INT TERM
sums=$out/checksums.tsv
mkdir -p "$out/.release"

# take URL NAME: URL as $out/.release/NAME, whole and as recorded.
take() {
    file=$out/.release/$2 part=$out/.release/.$2.part
    if [ ! -e "$file" ]; then
        say "$1"
        rc=0
        resume=''
        [ ! -s "$part" ] || resume="--continue-at -"
        # shellcheck disable=SC2086 # two words or none
        curl --fail --silent --show-error --location --connect-timeout 20 --speed-limit 64 --speed-time 60 $resume --output "$part" "$1" \
            2>"$tmp/error" || rc=$?
        if [ $rc -ne 0 ]; then
            reason=$(sed -e 's/^curl: ([0-9]*) //' -e 1q "$tmp/error")
            case $rc in 22 | 33 | 36) rm -f "$part" ;; esac # no such file, or no part of it
            [ -s "$part" ] || rm -f "$part"
            die 2 "$1 was not reached ($reason); without a network, set INFINIBENCH_DATA to a folder that holds booksum/, or use" \
                "../shared/data where it exists"
        fi
        case $2 in
        *.zip) unzip -tqq "$part" >/dev/null 2>&1 || { rm -f "$part"; die 1 "$1 is no archive; the file was not kept"; } ;;
        *) grep -q '"book_path"' "$part" || { rm -f "$part"; die 1 "$1 has no line with book_path; the file was not kept"; } ;;
        esac
        mv "$part" "$file"
    fi
    sum=$(sha256_of "$file")
    known=$(awk -F '\t' -v f="$2" '$1 == f { print $3 }' "$sums" 2>/dev/null || :)
    [ -z "$known" ] || [ "$known" = "$sum" ] ||
        die 1 "$file: SHA-256 $sum, at first download it was $known ($sums); remove the file to fetch it again, and the line if it may differ"
    [ -n "$known" ] || printf '%s\t%s\t%s\n' "$2" "$(size_of "$file")" "$sum" >>"$sums"
}

for s in train val test; do take "$url/book_summaries_aligned_$s.jsonl" "book_summaries_aligned_$s.jsonl"; done
take "$books" all_chapterized_books.zip
if [ ! -d "$out/all_chapterized_books" ]; then
    say "unpacking the whole books (not their chapters)"
    rm -rf "$out/.unpacked"
    unzip -q "$out/.release/all_chapterized_books.zip" '*/book_clean.txt' -d "$out/.unpacked" ||
        die 1 "$out/.release/all_chapterized_books.zip holds no book_clean.txt"
    # The archive may have the folder or only what is in it.
    if [ -d "$out/.unpacked/all_chapterized_books" ]; then
        mv "$out/.unpacked/all_chapterized_books" "$out/all_chapterized_books"
        rm -rf "$out/.unpacked"
    else
        mv "$out/.unpacked" "$out/all_chapterized_books"
    fi
fi
if [ -z "$summaries" ]; then
    say "$out: $(find "$out/all_chapterized_books" -name book_clean.txt | wc -l) books; no pairs: the summaries are not part of the release." \
        "Collect them with the scripts of github.com/salesforce/booksum and name the folder in --summaries"
    exit 0
fi

# Paths stand as on the machine of their makers; the part from all_chapterized_books or finished_summaries on is kept.
for s in train val test; do
    name=$s
    [ $s = val ] && name=validation
    pairs=0 missing=0
    : >"$tmp/pairs"
    while IFS= read -r line || [ -n "$line" ]; do
        book=$(printf '%s\n' "$line" | sed -n 's/.*"book_path": "[^"]*\(all_chapterized_books\/[^"]*\)".*/\1/p')
        summary=$(printf '%s\n' "$line" | sed -n 's/.*"summary_path": "[^"]*finished_summaries\/\([^"]*\)".*/\1/p')
        # Salesforce's last cleaning leaves an empty list where all was taken for analysis.
        if [ -n "$book" ] && [ -s "$out/$book" ] && [ -n "$summary" ] && [ -s "$summaries/$summary" ] &&
            ! grep -q '"summary": *\[ *\]' "$summaries/$summary"; then
            mkdir -p "$out/finished_summaries/$(dirname "$summary")"
            [ -e "$out/finished_summaries/$summary" ] || cp "$summaries/$summary" "$out/finished_summaries/$summary"
            printf '%s\n' "$line" >>"$tmp/pairs"
            pairs=$((pairs + 1))
        else
            missing=$((missing + 1))
        fi
    done <"$out/.release/book_summaries_aligned_$s.jsonl"
    if [ $pairs -gt 0 ]; then cp "$tmp/pairs" "$out/.$name.part" && mv "$out/.$name.part" "$out/$name.jsonl"; fi
    say "$out/$name.jsonl: $pairs pairs; of $missing the summary (or the book) is not there or empty"
done
