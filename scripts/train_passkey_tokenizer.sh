#!/bin/sh
# train_passkey_tokenizer.sh [PIECES=640] [OUT] - trains the SentencePiece model of the task passkey; OUT is tasks/data/passkey-PIECES.model
# unless given. The committed model was made by `scripts/train_passkey_tokenizer.sh`: the same sentences, King James text and version of
# SentencePiece (0.1.97) give the same bytes.
#
# It is trained (by train_tokenizer.sh, same options) on the sentences of tasks/passkey_text.c with every name, digit and letter, and on the
# first 16 KB of each book of the King James train split. The task's sentences weigh enough that with 640 pieces each of their words is one
# piece (with 512 they are not): a period of the filler costs 24 tokens, one a word and full stop.
set -eu
. "$(dirname "$0")/train_lib.sh"
begin passkey 16384 "$@"

# The strings between the marks, in their order: introduction (two), key, of, is, remember, again, what, five of filler, names.
strings passkey_text.c >"$work/strings"
awk '
function key(i) { return sprintf("%05d", (i * 7919 + 13) % 100000) }
{ s[NR] = $0 }
END {
    for (i = 1; i <= NR && s[i] !~ /^ What/; i++) if (s[i] !~ /^ /) introduction = introduction s[i]
    at = i + 1 # the first sentence of the filler
    if (NR != at + 36 || s[at + 5] != "north" || s[at + 21] != "gate") {
        print "the strings of tasks/passkey_text.c are not those expected" > "/dev/stderr"
        exit 1
    }
    for (i = 0; i < 5; i++) filler = filler s[at + i]
    for (i = 0; i < 3072; i++) {
        k = key(i); n = " of the " s[at + 5 + i % 16] " " s[at + 21 + int(i / 16) % 16]
        if (i % 3 == 0) n = ""
        print introduction (i % 4 ? "" : filler) " The pass key" n " is " k ". Remember it. " k " is the pass key" n "." \
            " What is the pass key" n "? The pass key" n " is " k "."
    }
    print "a b c d e f g h i j k l m n o p q r s t u v w x y z"
}' "$work/strings" >"$work/lines"
finish
