#!/bin/sh
# train_chronicle_tokenizer.sh [PIECES=640] [OUT] - trains the SentencePiece model of the task chronicle; OUT is tasks/data/chronicle-PIECES.model
# unless given. The committed model was made by `scripts/train_chronicle_tokenizer.sh`: the same sentences, King James text and version of
# SentencePiece (0.1.97) give the same bytes.
#
# It is trained (by train_tokenizer.sh, same options) on the sentences of tasks/chronicle_text.c with every word of the lists, the filler of
# tasks/passkey_text.c, digits, and the first 8 KB of each book of the King James train split. The task's sentences weigh enough that with 640
# pieces each of their words is one piece: an event costs 12 tokens, a period of the filler 24.
set -eu
. "$(dirname "$0")/train_lib.sh"
begin chronicle 8192 "$@"

# The strings between the marks, in their order. Of the chronicle: introduction, marker, rumour, event, 16 ordinals, then 16 each of who, where,
# what. Of the passkey: the filler is what begins with a space and ends with a full stop.
strings chronicle_text.c >"$work/strings"
strings passkey_text.c | grep '^ [A-Z].*\.$' | grep -v Remember >"$work/filler"
awk '
function fill(format, i) {
    sub(/%s/, s[5 + i % 16], format)
    sub(/%s/, s[21 + int(i / 3) % 16], format)
    sub(/%s/, s[37 + int(i / 5) % 16], format)
    sub(/%s/, s[53 + int(i / 7) % 16], format)
    return format
}
FNR == NR { s[NR] = $0; next }
{ filler = filler $0; sentences++ }
END {
    if (!(68 in s) || 69 in s || s[5] != "first" || s[21] != "miller" || s[53] != "ring" || sentences != 5) {
        print "the strings of tasks/chronicle_text.c or tasks/passkey_text.c are not those expected" > "/dev/stderr"
        exit 1
    }
    for (i = 0; i < 5120; i++)
        print s[1] (i % 3 ? "" : filler) fill(s[4], i) fill(s[3], i + 1) s[2] fill(s[4], i + 2) fill(s[4], i + 3) " " i % 10
}' "$work/strings" "$work/filler" >"$work/lines"
finish
