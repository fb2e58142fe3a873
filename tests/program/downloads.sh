#!/bin/bash
# downloads.sh - the scripts that fetch corpora, against made-up releases in file:// places: what they keep, skip, resume, refuse and say.
# shellcheck source=tests/program/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir tmp
export TMPDIR=$WORK/tmp
script="" status=0
# fetches STATUS ARGUMENTS...: $script ends with STATUS; its output is in out.txt and err.txt.
fetches() {
    local expected=$1
    shift
    checks=$((checks + 1))
    status=0
    timeout 60 "$ROOT/scripts/$script" "$@" >out.txt 2>err.txt || status=$?
    [ "$status" -eq "$expected" ] && return 0
    say_failed "exit status $status, expected $expected: $script $*"
    sed 's/^/    /' err.txt
}
# refuses STATUS PATTERN ARGUMENTS...: it ends with STATUS and one sentence that holds PATTERN.
refuses() {
    local expected=$1 pattern=$2
    shift 2
    fetches "$expected" "$@"
    holds "one sentence with '$pattern', not: $(cat err.txt)" grep -Eq "^$script: .*($pattern)" err.txt
    holds "one sentence: $(cat err.txt)" test "$(wc -l <err.txt)" -eq 1
}
# shellcheck disable=SC2317
tidy() { [ -z "$(ls -A tmp)" ] && [ -z "$(find "$1" -name '.*.part')" ]; }
checksum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# ---- PG-19 ----
script=download_pg19.sh
mkdir -p release/test release/validation release/train lists
for f in test/10 test/11 validation/20 train/30 train/31 train/32; do
    make_text text.txt 3000 "${f#*/}"
    sed 's/$/\r/' text.txt >release/$f.txt
done
printf '%s\n' '10,A,1900,u' '11,"B, C",1900,u' '20,D,1900,u' '30,E,1900,u' '31,F,1900,u' '32,G,1900,u' >release/metadata.csv
for f in test/10 test/11 validation/20; do
    printf '%s\t%s\t%s\t%s\ttitle\n' "${f%/*}" "${f#*/}" "$(wc -c <release/$f.txt)" "$(checksum release/$f.txt)"
done | sed '1i split\tid\tbytes\tsha256\ttitle' >lists/pg19_checksums.tsv
printf '%s\n' 'id	title' '30	E' '31	F' >lists/pg19_train_ids.tsv
export INFINIBENCH_LISTS=$WORK/lists INFINIBENCH_PG19_URL=file://$WORK/release

refuses 2 "no folder" --split test
refuses 2 "no option '--splits'" --splits test pg19
refuses 2 "no split 'tset'" --split tset pg19
refuses 2 "'many'" --books many pg19
fetches 0 --split test --books 1 one
holds "one book" test "$(cd one && find . -name '*.txt')" = ./test/10.txt
fetches 0 pg19
for f in test/10 test/11 validation/20 train/30 train/31; do holds "pg19/$f.txt as in the release" cmp release/$f.txt pg19/$f.txt; done
holds "the listed training books only" test ! -e pg19/train/32.txt
holds "the summary" grep -q '^pg19/test: 2 books, verified' out.txt
holds "checksums recorded where none is official" test "$(cut -f 1 pg19/checksums.tsv | sort | xargs)" = "metadata.csv train/30.txt train/31.txt"
holds "nothing temporary is left" tidy pg19

# what is there and right needs no server
INFINIBENCH_PG19_URL=file://$WORK/nowhere fetches 0 pg19
holds "nothing new" grep -q '^0 new' out.txt
fetches 0 --quiet --all-train pg19
holds "silent when asked" test ! -s out.txt -a ! -s err.txt
holds "all training books, by metadata.csv" test "$(find pg19/train -name '*.txt' | sort | xargs)" = "pg19/train/30.txt pg19/train/31.txt pg19/train/32.txt"

# a transfer that was cut off goes on; the part of another file is no obstacle
rm pg19/test/10.txt pg19/test/11.txt
head -c 1000 release/test/10.txt >pg19/test/.10.txt.part
head -c 4000 /dev/zero >pg19/test/.11.txt.part
fetches 0 --split test pg19
holds "resumed" cmp release/test/10.txt pg19/test/10.txt
holds "started again" cmp release/test/11.txt pg19/test/11.txt
holds "nothing temporary is left after resuming" tidy pg19
rm pg19/test/11.txt
head -c 1000 /dev/zero >pg19/test/.11.txt.part
fetches 0 --split test pg19
holds "started again when the end was wrong" cmp release/test/11.txt pg19/test/11.txt

# wrong checksums: of the release, of a file here, of a training book that has changed
cp -r release changed
echo more >>changed/test/11.txt
echo more >>changed/train/31.txt
rm pg19/test/11.txt pg19/train/31.txt
good=$(checksum release/test/11.txt) bad=$(checksum changed/test/11.txt)
INFINIBENCH_PG19_URL=file://$WORK/changed refuses 1 "pg19/test/11.txt: got SHA-256 $bad, .*expected SHA-256 $good" --split test pg19
holds "the file was not kept" test ! -e pg19/test/11.txt
holds "nothing temporary is left after an error" tidy pg19
INFINIBENCH_PG19_URL=file://$WORK/changed refuses 1 "pg19/train/31.txt: got SHA-256 .*pg19/checksums.tsv" --split train pg19
echo mine >pg19/test/10.txt
refuses 1 "pg19/test/10.txt is not the file of the release" --split test pg19
holds "a file of the user is left alone" test "$(cat pg19/test/10.txt)" = mine
rm pg19/test/10.txt
fetches 0 pg19

# the reader takes the official bytes as they are
mkdir corpus && for s in train validation test; do ln -s "$WORK/pg19/$s" corpus/$s; done
make_experiment x.ini 1
right run x.ini --out res

# no network
for place in http://127.0.0.1:9/x http://no-such-host.invalid; do
    host=${place#*//}
    INFINIBENCH_PG19_URL=$place refuses 2 "${host%/x} was not reached .*INFINIBENCH_DATA .*\.\./shared/data" away
done
INFINIBENCH_PG19_URL=file://$WORK/nowhere refuses 2 "no file file://.*/nowhere/metadata.csv" away
holds "no folder is left" test ! -e away
mkdir gateway && echo '<html>please log in</html>' >gateway/metadata.csv
INFINIBENCH_PG19_URL=file://$WORK/gateway refuses 1 "away/metadata.csv: got .*expected lines ID,TITLE" away
holds "no file is left" test -z "$(find away -type f 2>/dev/null)"

# ---- mathematics ----
script=download_math.sh
repository() { # name: the files of folder new become a commit
    mkdir -p "$(dirname "git/$1")"
    mv new "git/$1"
    (cd "git/$1" && git init -q . && git add -A && git -c user.name=t -c user.email=t@t commit -q -m text) >/dev/null 2>&1
    printf '%s\t%s\tT\tA\tL\n' "$1" "$(git -C "git/$1" rev-parse --short=12 HEAD)" >>lists/math_sources.tsv
}
document() { # split, name, preparation, repository, path; the expected text on standard input
    cat >"expected.$2"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$(wc -c <"expected.$2")" "$(checksum "expected.$2")" "$3" "$4" "$5" >>lists/math_documents.tsv
}
echo 'repository	commit	title	authors	licence' >lists/math_sources.tsv
echo 'split	name	bytes	sha256	preparation	repository	path' >lists/math_documents.tsv

mkdir new
printf '%s\n' '\input{preamble}' '' '% OK, start here.' '%' '\begin{document}' 'blanks   ' '' '' '' 'a \% b % kept' '' '  % dropped' '' 'end' '' >new/a.tex
echo x >new/picture.png
repository plain/plain
printf '%s\n' '\input{preamble}' '' '\begin{document}' 'blanks' '' 'a \% b % kept' '' '' 'end' | document train plain-a plain plain/plain a.tex

mkdir -p new/tex/deep
printf '%s\n' '\documentclass{x}' '\input{tex/one}' '%\include{tex/two}' '\include{tex/two} % note' '\input{none.out} \input three' >new/Main.tex
printf '%s\n' 'one' '' 'Text licensed under' 'the Creative' 'Commons' '' '\input{tex/deep/three.tex}' >new/tex/one.tex
printf '%s\n' '%% header' '' 'two' >new/tex/two.tex
printf '%s\n' 'three' >new/tex/deep/three.tex
repository books/expand
printf '%s\n' '\documentclass{x}' 'one' '' 'three' '' '' 'two' '\input{none.out} \input three' | document test book expand books/expand Main.tex

mkdir new
printf '%s\n' 'preamble' '\input{macros}' '\include{front} %%% title' '\include{c1}' 'between' '\include{c2}' >new/main.tex
printf '%s\n' '\chapter{1}' '\input{inner}' '' '% Local Variables:' >new/c1.tex
printf '%s\n' '\chapter{2}' >new/c2.tex
echo macros >new/macros.tex
echo front >new/front.tex
echo inner >new/inner.tex
repository books/join
printf '%s\n' '\chapter{1}' '\input{inner}' '' '' '\chapter{2}' | document train joined join books/join main.tex

mkdir -p new/content/part/chapter
printf '%s\n' '% Part' '' '\begin{document}' '\olimport[chapter]{chapter}' '' '\end{document}' >new/content/part/part.tex
printf '%s\n' '% Chapter' '' 'chapter' '' '\olimport{s1}' '\olimport{s2}' >new/content/part/chapter/chapter.tex
printf '%s\n' '% Section' '' 's1' >new/content/part/chapter/s1.tex
printf '%s\n' '% Section' '' 's2' >new/content/part/chapter/s2.tex
repository logic/olimport
printf '%s\n' '\begin{document}' '' 'chapter' '' '' 's1' '' '' 's2' '' '\end{document}' |
    document validation part olimport logic/olimport content/part/part.tex

export INFINIBENCH_MATH_URL=file://$WORK/git
refuses 2 "no option" --split test math
mkdir -p math/.sources/join.part # of a clone that was cut off
fetches 0 math
for f in train/plain-a test/book train/joined validation/part; do holds "math/$f.tex as expected" diff "expected.${f#*/}" math/$f.tex; done
holds "attribution goes with the documents" grep -q '^train	plain-a	.*	plain/plain	a.tex	[0-9a-f]\{12\}	T	A	L$' math/documents.tsv
holds "sources are removed" test ! -e math/.sources
holds "nothing temporary is left of math" tidy math
INFINIBENCH_MATH_URL=file://$WORK/nowhere fetches 0 math
holds "nothing new in math" grep -q '4 documents.*; 0 new' out.txt

rm math/train/joined.tex
fetches 0 --quiet --keep-sources math
holds "silent math" test ! -s out.txt -a ! -s err.txt
holds "the one repository that was needed" test "$(ls math/.sources)" = join
rm math/train/joined.tex
INFINIBENCH_MATH_URL=file://$WORK/nowhere fetches 0 math
holds "made of the source that was kept" cmp expected.joined math/train/joined.tex

# a difference is named, and the document kept
sed -i "s/$(checksum expected.joined)/$(checksum expected.book)/" lists/math_documents.tsv
rm math/train/joined.tex
fetches 1 math
holds "the document that differs is named" grep -q "math/train/joined.tex differs: got .*$(checksum expected.joined), expected .*$(checksum expected.book)" err.txt
holds "the document that differs is kept" cmp expected.joined math/train/joined.tex
rm -rf math
INFINIBENCH_MATH_URL=file://$WORK/nowhere refuses 2 "nowhere/plain/plain was not reached .*INFINIBENCH_DATA .*\.\./shared/data" math
holds "no folder of math is left" test ! -e math
sed -i 's/^\(plain.plain\t\)[0-9a-f]*/\10123456789ab/' lists/math_sources.tsv
refuses 2 "plain/plain has no commit 0123456789ab" --quiet math
holds "nothing of math is left" test ! -e math
holds "the temporary folder is empty" test -z "$(ls -A tmp)"

finish
