#!/bin/sh
# download_pg19.sh [--split test|validation|train|all] [--books N] [--all-train] [--quiet] DIR - books of the public PG-19 release into
# DIR/{train,validation,test}/ID.txt, and its metadata.csv into DIR. Needs curl.
#
# The bytes are kept as they are in the release (CRLF, masked words). Validation and test (150 books, 59 MB) are compared with the official
# sizes and SHA-256 of scripts/data/pg19_checksums.tsv. For training books no official checksum is at hand: the size is compared with
# what the server says, and the SHA-256 is recorded in DIR/checksums.tsv at first download and compared with from then on. Training books
# are those of scripts/data/pg19_train_ids.tsv; --all-train takes all of the release (28,602 books, about 11 GB).
#
# --books N takes the first N of each split. A book that is there and right is skipped without asking the server; one that was cut off goes
# on where it stopped; a book appears under its name only when it is verified. INFINIBENCH_PG19_URL names another place of the release.
# INFINIBENCH_LISTS names another folder of lists (for tests).
# Exit status: 0 all is there and right, 1 a checksum is wrong, 2 bad usage or a place that cannot be reached.
# shellcheck disable=SC1091,SC2034,SC2154
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/download_lib.sh
. "$here/download_lib.sh"
url=${INFINIBENCH_PG19_URL:-https://storage.googleapis.com/deepmind-gutenberg}
lists=${INFINIBENCH_LISTS:-$here/data}
usage="usage: scripts/download_pg19.sh [--split test|validation|train|all] [--books N] [--all-train] [--quiet] DIR"

split=all books=0 all_train=no out=
while [ $# -gt 0 ]; do
    case $1 in
    --split) [ $# -ge 2 ] || die 2 "--split needs a value; $usage"; split=$2; shift ;;
    --books) [ $# -ge 2 ] || die 2 "--books needs a value; $usage"; books=$2; shift ;;
    --all-train) all_train=yes ;;
    --quiet) quiet=yes ;;
    -h | --help) echo "$usage"; exit 0 ;;
    -*) die 2 "there is no option '$1'; $usage" ;;
    *) [ -z "$out" ] || die 2 "two folders are named, '$out' and '$1'; $usage"; out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || die 2 "no folder is named; $usage"
case $split in
test | validation | train) splits=$split ;;
all) splits="test validation train" ;;
*) die 2 "there is no split '$split'; it is test, validation, train or all" ;;
esac
case $books in '' | *[!0-9]*) die 2 "--books is '$books'; it should be a number of books" ;; esac
command -v curl >/dev/null 2>&1 || die 2 "curl is missing; apt-get install curl (or make deps)"
for list in pg19_checksums.tsv pg19_train_ids.tsv; do [ -r "$lists/$list" ] || die 2 "cannot read $lists/$list"; done

created=no
[ -e "$out" ] || created=yes
if ! mkdir -p "$out" 2>/dev/null || [ ! -w "$out" ]; then die 2 "cannot write to the folder $out"; fi
tmp=$(mktemp -d)
# A folder in which nothing came to be is not left behind.
trap 'rm -rf "$tmp"; [ $created = no ] || rmdir "$out" 2>/dev/null || :' EXIT
trap 'progress_end; echo "$me: stopped; the same command goes on from here" >&2; exit 130' HUP INT TERM
sums=$out/checksums.tsv
retries=0 # until the place has answered: without a network the answer should come at once

# recorded PATH: "bytes sha256" from an earlier download.
recorded() { [ ! -e "$sums" ] || awk -F '\t' -v p="$1" '$1 == p { b = $2; s = $3 } END { if (s) print b, s }' "$sums"; }
# fetch PATH PART: the file into PART, going on where an earlier try stopped. Sets resumed and total (bytes as the server says; empty:
# it did not say).
fetch() {
    resumed=no
    [ -s "$2" ] && resumed=yes
    while :; do
        rc=0
        if [ $resumed = yes ]; then set -- "$1" "$2" --continue-at -; else set -- "$1" "$2"; fi
        : >"$tmp/head"
        # What follows the two names are options.
        path=$1 part=$2
        shift 2
        code=$(curl --fail --silent --show-error --location --connect-timeout 20 --speed-limit 64 --speed-time 60 --retry $retries \
            --dump-header "$tmp/head" --write-out '%{http_code}' --output "$part" "$@" "$url/$path" 2>"$tmp/error") || rc=$?
        set -- "$path" "$part"
        if [ "$rc" -eq 0 ] || [ $resumed = no ]; then break; fi
        # The server may know no ranges, or the part may be no beginning of this file: start again. Otherwise keep it for the next time.
        case $rc in 22 | 33 | 36) ;; *) break ;; esac
        rm -f "$part"
        resumed=no
    done
    said=$(sed -e 's/^curl: ([0-9]*) //' -e 1q "$tmp/error")
    case $rc in
    0) ;;
    18 | 28 | 56)
        if [ -s "$2" ]; then
            die 2 "the transfer of $url/$1 broke off after $(size_of "$2") bytes ($said); the same command goes on from there"
        fi
        ;;
    22)
        rm -f "$2"
        die 2 "$url answered HTTP $code for $1; is that the place of the PG-19 release?"
        ;;
    23) die 2 "cannot write $2 ($said)" ;;
    37) die 2 "there is no file $url/$1" ;;
    esac
    if [ "$rc" -ne 0 ]; then
        [ -s "$2" ] || rm -f "$2"
        die 2 "$(echo "$url" | sed -e 's,^[a-z]*://,,' -e 's,/.*,,') was not reached ($said);" \
            "without a network, set INFINIBENCH_DATA to a folder that holds pg19/, or use ../shared/data where it exists"
    fi
    retries=3
    # Of the last answer, should there have been redirections.
    total=$(tr -d '\r' <"$tmp/head" | awk '
        /^HTTP/ { n = "" }
        tolower($1) == "content-length:" && !ranged { n = $2 }
        tolower($1) == "content-range:" { sub(/.*\//, "", $0); n = $0; ranged = 1 }
        tolower($1) == "content-encoding:" { n = ""; ranged = 1 }
        END { if (n ~ /^[0-9]+$/) print n }')
}
# take PATH BYTES SHA256: makes $out/PATH be there and right; BYTES and SHA256 "-" where nothing official is known. Sets got_bytes and new.
take() {
    file=$out/$1 want_bytes=$2 want_sum=$3 new=no source="the official list"
    if [ "$want_sum" = - ]; then
        known=$(recorded "$1")
        [ -z "$known" ] || { want_bytes=${known% *} want_sum=${known#* } source=$sums; }
    fi
    if [ -e "$file" ] && [ "$want_sum" != - ]; then
        got_bytes=$(size_of "$file")
        [ "$got_bytes" = "$want_bytes" ] && got_sum=$(sha256_of "$file") && [ "$got_sum" = "$want_sum" ] && return 0
        die 1 "$file is not the file of the release: $got_bytes bytes, SHA-256 $(sha256_of "$file"), expected $want_bytes bytes," \
            "$want_sum ($source); remove it or name another folder"
    fi
    part=$(dirname "$file")/.$(basename "$file").part
    mkdir -p "$(dirname "$file")"
    while :; do
        fetch "$1" "$part"
        got_bytes=$(size_of "$part") got_sum=$(sha256_of "$part")
        wrong=
        if [ "$want_sum" != - ]; then
            [ "$got_sum" = "$want_sum" ] || wrong="SHA-256 $want_sum, $want_bytes bytes ($source)"
        elif [ -n "$total" ] && [ "$got_bytes" != "$total" ]; then
            wrong="$total bytes (the server's word)"
        fi
        # A page of a gateway instead of the release shows here, before it could be taken for a book.
        [ "$1" != metadata.csv ] || grep -q '^[0-9][0-9]*,' "$part" || wrong="lines ID,TITLE,DATE,URL"
        [ -n "$wrong" ] || break
        rm -f "$part"
        # What an earlier try left may have been of another file.
        [ $resumed = yes ] && continue
        die 1 "$file: got SHA-256 $got_sum, $got_bytes bytes, expected $wrong; the file was not kept"
    done
    if [ -e "$file" ]; then
        cmp -s "$file" "$part" || { rm -f "$part"; die 1 "$file is there but is not the file of the release; remove it or name another folder"; }
    fi
    # Recorded before it appears: a file without a record would have to be taken on trust.
    [ "$3" != - ] || [ -n "$(recorded "$1")" ] || printf '%s\t%s\t%s\n' "$1" "$got_bytes" "$got_sum" >>"$sums"
    mv "$part" "$file"
    new=yes
}

take metadata.csv - -
for s in $splits; do
    case $s in
    train)
        if [ $all_train = yes ]; then
            # metadata.csv holds all books of the release: training books are those that are in no other list.
            awk -F '\t' 'FNR == NR { if (NR > 1) held[$2] = 1; next } { sub(/,.*/, "") } /^[0-9]+$/ && !($0 in held) { print "train", $0, "-", "-" }' \
                "$lists/pg19_checksums.tsv" "$out/metadata.csv"
        else
            awk -F '\t' 'NR > 1 { print "train", $1, "-", "-" }' "$lists/pg19_train_ids.tsv"
        fi
        ;;
    *) awk -F '\t' -v s="$s" 'NR > 1 && $1 == s { print s, $2, $3, $4 }' "$lists/pg19_checksums.tsv" ;;
    esac | awk -v n="$books" '!n || NR <= n'
done >"$tmp/work"
count=$(($(wc -l <"$tmp/work")))
[ "$count" -gt 0 ] || die 2 "the lists in $lists name no book of $split"
# The progress goes by bytes where all sizes are known, else by books.
bytes=$(awk '$3 == "-" { unknown = 1 } { b += $3 } END { print unknown ? 0 : b }' "$tmp/work")
if [ "$bytes" -gt 0 ]; then progress_begin "$bytes"; else progress_begin "$count"; fi
done_books=0 done_bytes=0 new_books=0 new_bytes=0
while read -r s id want_bytes want_sum; do
    take "$s/$id.txt" "$want_bytes" "$want_sum" </dev/null
    done_books=$((done_books + 1)) done_bytes=$((done_bytes + got_bytes))
    if [ $new = yes ]; then new_books=$((new_books + 1)) new_bytes=$((new_bytes + got_bytes)); fi
    words="$s: $done_books of $count books, $(megabytes $done_bytes)"
    if [ "$bytes" -gt 0 ]; then
        progress $done_bytes $new_bytes "$words of $(megabytes "$bytes")"
    else
        progress $done_books $new_books "$words"
    fi
done <"$tmp/work"
for s in $splits; do
    say "$out/$s: $(awk -v s="$s" '$1 == s { n++ } END { print n + 0 }' "$tmp/work") books, verified" \
        "$([ "$s" = train ] && echo "(SHA-256 as recorded in $sums; none is official)" || echo "(official SHA-256)")"
done
say "$new_books new, $(megabytes $new_bytes)"
