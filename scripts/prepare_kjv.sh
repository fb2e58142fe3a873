#!/bin/sh
# prepare_kjv.sh OUT - the embedded corpus: OUT/{train,validation,test}/NN-Name.txt from the King James text of Debian's bible-kjv.
#
# A document is one of the 66 books. Verse labels are dropped, runs of blanks joined, the verses of a chapter are one paragraph (a line),
# chapters are separated by a blank line; no verse numbers, no headings. 4.1 MB of ASCII. The same bytes on every machine; a complete OUT
# is left alone without a word; OUT appears whole (a temporary folder is renamed). It does not download anything.
#
# The split is by book. Held out are books of mixed kind and length whose text the training books do not share (percentages: words that
# lie in a run of 8 words which also occurs in a training book):
#   test        10.5 % of the bytes, 3 books over 64 KB: Judges 4.2 %, Ruth 2.6 %, Job 0.1 %, Daniel 0.9 %, Jonah 5.2 %, John 0.7 %,
#               Romans 1.3 %, James 0.3 %
#   validation  10.1 %, 3 over 64 KB: Joshua 7.9 %, Esther 1.8 %, Proverbs 0.3 %, Hosea 1.9 %, Acts 1.5 %, Hebrews 4.6 % (it quotes the
#               Psalms), 1 John 1.0 %
# Not held out, because they copy each other or the law and the prophets: Samuel, Kings and Chronicles (15 to 25 %), Ezra and Nehemiah
# (9 to 13 %), Matthew, Mark and Luke (13 to 20 %). Known pairs inside the held-out part: Joshua 15 and Judges 1, Joshua 24 and Judges 2
# (validation and test, hence never in training). What remains shared with training is mostly formula ("the word of the LORD came unto").
set -eu
LC_ALL=C
export LC_ALL
version="kjv-1 66 books 31102 verses"

[ $# -eq 1 ] || { echo "usage: scripts/prepare_kjv.sh OUT" >&2; exit 2; }
out=$1
complete() { [ "$(cat "$out/.prepared" 2>/dev/null)" = "$version" ] && [ "$(find "$out" -name '[0-9][0-9]-*.txt' -size +0 | wc -l)" -eq 66 ]; }
complete && exit 0
if [ -d "$out" ] && [ ! -e "$out/.prepared" ] && [ -n "$(ls -A "$out")" ]; then
    echo "prepare_kjv.sh: $out exists and was not made by this script; name another folder or remove it" >&2
    exit 2
fi
bible=$(PATH="$PATH:/usr/games" command -v bible) || {
    echo "prepare_kjv.sh: the 'bible' command is missing; apt-get install bible-kjv (or make deps)" >&2
    exit 2
}

mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d "$out.XXXXXX.tmp")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
mkdir "$work/train" "$work/validation" "$work/test"
# From inside $work: the tool would take a bible.data of the current folder.
(cd "$work" && "$bible" -f 'Gen1:1-Rev22:21' </dev/null) >"$work/verses"
awk -v work="$work" '
BEGIN {
    count = split("Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1-Samuel 2-Samuel 1-Kings 2-Kings 1-Chronicles " \
        "2-Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes Song-of-Solomon Isaiah Jeremiah Lamentations Ezekiel " \
        "Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts " \
        "Romans 1-Corinthians 2-Corinthians Galatians Ephesians Philippians Colossians 1-Thessalonians 2-Thessalonians 1-Timothy " \
        "2-Timothy Titus Philemon Hebrews James 1-Peter 2-Peter 1-John 2-John 3-John Jude Revelation", name, " ")
    n = split("Judges Ruth Job Daniel Jonah John Romans James", held, " ")
    for (i = 1; i <= n; i++) split_of[held[i]] = "test"
    n = split("Joshua Esther Proverbs Hosea Acts Hebrews 1-John", held, " ")
    for (i = 1; i <= n; i++) split_of[held[i]] = "validation"
}
{
    # "1Sm17:4 text": the book is everything up to the digits before the colon.
    label = $1
    if (label !~ /^[0-9]?[A-Za-z]+[0-9]+:[0-9]+$/) { print "line " NR " has no verse label: " $0 > "/dev/stderr"; exit 1 }
    book = label; sub(/[0-9]+:[0-9]+$/, "", book)
    chapter = substr(label, length(book) + 1); sub(/:.*/, "", chapter)
    text = substr($0, length(label) + 1)
    gsub(/[ \t\r]+/, " ", text); sub(/^ /, "", text); sub(/ $/, "", text)
    if (book != last_book) {
        if (file) { printf "\n" > file; close(file) }
        b++
        part = name[b] in split_of ? split_of[name[b]] : "train"
        file = sprintf("%s/%s/%02d-%s.txt", work, part, b, name[b])
        separator = ""
    } else separator = chapter == last_chapter ? " " : "\n\n"
    printf "%s%s", separator, text > file
    last_book = book; last_chapter = chapter
}
END {
    if (file) printf "\n" > file
    if (b != 66 || NR != 31102) { print "expected 66 books of 31102 verses, got " b " of " NR > "/dev/stderr"; exit 1 }
}' "$work/verses" || {
    echo "prepare_kjv.sh: this version of 'bible' prints something else than bible-kjv 4.38; nothing was written to $out" >&2
    exit 2
}
rm "$work/verses"
if LC_ALL=C grep -rlq '[^ -~]' "$work/train" "$work/validation" "$work/test"; then
    echo "prepare_kjv.sh: the text holds bytes other than printable ASCII; nothing was written to $out" >&2
    exit 2
fi
echo "$version" >"$work/.prepared"
chmod 755 "$work"
[ ! -d "$out" ] || rm -rf "$out"
# Another process may have been faster; its folder is as good.
mv -T "$work" "$out" 2>/dev/null || complete
